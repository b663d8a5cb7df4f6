"""Saturation: more and more senders against one receiver; images/s, latency of an image, drops."""

from __future__ import annotations

from typing import Any

from benchmarks.receive import OBJECTS
from benchmarks.receiving import remove_folders, running
from benchmarks.senders import send_all
from benchmarks.store_sender import PIXEL_BYTES

RECEIVERS = ("radmeter_database", "radmeter_no_fsync")
SENDERS = (1, 2, 4, 8, 16, 32)
IMAGES = {"ct_512kib": 320, "small_8kib": 1600}


def run() -> dict[str, Any]:
    """receiver → object → senders → images/s, p50, p95, p99 in ms, dropped images."""
    try:
        return {name: _receiver(name) for name in RECEIVERS}
    finally:
        remove_folders()


def _receiver(name: str) -> dict[str, Any]:
    with running(name) as receiver:
        send_all(receiver.port, 2, 10, PIXEL_BYTES)
        return {
            kind: {f"senders_{count}": _row(receiver.port, count, IMAGES[kind], size) for count in SENDERS}
            for kind, (size, _) in OBJECTS.items()
        }


def _row(port: int, sender_count: int, image_count: int, pixel_bytes: int) -> dict[str, float]:
    load = send_all(port, sender_count, image_count, pixel_bytes)
    latency = {f"latency_ms_{name}": value for name, value in load.latency_ms.items()}
    return {"images_per_s": load.images_per_s, **latency, "dropped": load.dropped_count}
