"""The heartbeat as metrics, asked of the database at each scrape: the same from every process, true after restarts."""

from __future__ import annotations

from collections.abc import Iterable

import psycopg
import psycopg_pool
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline import heartbeat
from pipeline.database import Database
from pipeline.heartbeat import STAGES
from pipeline.heartbeat_pulse import Pulse, pulse


class Heartbeat(Collector):
    """When a made-up study was last well, how long it took, where others failed. Nothing where none is installed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> Iterable[Metric]:
        return _families(Pulse(is_installed=True))

    def collect(self) -> Iterable[Metric]:
        try:
            with self._database.transaction(heartbeat.TENANT) as conn:
                found = pulse(conn)
        except (psycopg.Error, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed):
            return []
        return _families(found) if found.is_installed else []


def _families(found: Pulse) -> list[Metric]:
    seconds = GaugeMetricFamily(
        "radmeter_heartbeat_seconds",
        "From the first byte to the acknowledged result, of the last one that was well.",
    )
    success = GaugeMetricFamily(
        "radmeter_heartbeat_last_success_timestamp_seconds",
        "When the last one was well, seconds since 1970; 0: never.",
    )
    failures = CounterMetricFamily(
        "radmeter_heartbeat_failures_total", "Those that failed, by the stage of the path.", labels=["stage"]
    )
    if found.seconds is not None:
        seconds.add_metric([], found.seconds)
    success.add_metric([], found.last_success_at.timestamp() if found.last_success_at else 0.0)
    counts = dict(found.failures)
    for stage in STAGES:
        failures.add_metric([stage], counts.get(stage, 0))
    return [seconds, success, failures]
