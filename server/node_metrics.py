"""What a process knows of its own node: room on the disk, how long its certificate lasts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dicom_gateway.errors import TLSFilesUnusable
from dicom_gateway.tls import TLSFiles, days_left
from server.settings import Settings

_DAY_S = 86400


class Node(Collector):
    """Asked at each scrape: files and disks change without telling anybody."""

    def __init__(self, folder: Path, certificates: TLSFiles | None) -> None:
        self._folder = folder
        self._certificates = certificates

    def describe(self) -> Iterable[Metric]:
        return _families()

    def collect(self) -> Iterable[Metric]:
        free, size, expiry = _families()
        try:
            space = os.statvfs(self._folder)
            free.add_metric([], space.f_bavail * space.f_frsize)
            size.add_metric([], space.f_blocks * space.f_frsize)
        except OSError:
            pass  # readiness says that the folder is away
        if self._certificates is not None:
            try:
                expiry.add_metric(["dicom"], time.time() + days_left(self._certificates) * _DAY_S)
            except TLSFilesUnusable:
                expiry.add_metric(["dicom"], 0)
        return [free, size, expiry]


def _families() -> list[GaugeMetricFamily]:
    return [
        GaugeMetricFamily("radmeter_disk_free_bytes", "Free bytes on the disk of the data folder."),
        GaugeMetricFamily("radmeter_disk_size_bytes", "Bytes of the disk of the data folder."),
        GaugeMetricFamily(
            "radmeter_certificate_expiry_timestamp_seconds",
            "When our certificate ends, to the day; 0 where it cannot be used.",
            labels=["certificate"],
        ),
    ]


def register_node(
    registry: CollectorRegistry, settings: Settings, certificates: TLSFiles | None
) -> CollectorRegistry:
    """Add the node's own figures to what a process shows; returns the registry."""
    registry.register(Node(settings.data_directory, certificates))
    return registry
