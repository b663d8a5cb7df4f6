"""Gauges of the whole installation, asked of the database. Only portals ask, and each at most every few seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.database import Database
from pipeline.readiness import DATABASE_ERRORS, WAIT_S
from pipeline.schema_state import schema_state

# The question is cheap; where it is not, a scrape that fails is better than a database that is busy with them.
_TIMEOUT = "SET LOCAL statement_timeout = '3s'"


@dataclass(frozen=True)
class Gauge:
    """One metric of `observe_installation()`. combine: what several rows with the same labels come to."""

    words: str
    labels: tuple[str, ...] = ()
    combine: Callable[[float, float], float] = max


def _sum(one: float, other: float) -> float:
    return one + other


GAUGES = {
    "queue_jobs": Gauge("Jobs that could run now.", ("queue", "step", "priority")),
    "queue_scheduled_jobs": Gauge("Jobs that wait for their time.", ("queue", "step", "priority")),
    "queue_running_jobs": Gauge("Jobs that run.", ("queue", "step", "priority")),
    "queue_oldest_seconds": Gauge(
        "How long the oldest job could have run and did not.", ("queue", "step", "priority")
    ),
    "jobs_failed": Gauge("Jobs that were given up (dead letters), by task.", ("task",)),
    "jobs_stalled": Gauge("Jobs of workers that have been silent for 30 s."),
    "workers": Gauge("Queue workers that gave a sign of life in the last 10 s; three for each process."),
    "maintenance_last_success_timestamp_seconds": Gauge(
        "When a scheduled run last went well, of several tenants the one that is longest ago.", ("run",), min
    ),
    "maintenance_failing": Gauge("Scheduled runs whose last one failed, by run.", ("run",), _sum),
    "deliveries_waiting": Gauge("Result objects that wait for a destination, by its kind.", ("kind",), _sum),
    "delivery_oldest_seconds": Gauge("How long the oldest of them has waited.", ("kind",)),
    "deliveries": Gauge(
        "Result objects that a destination refused or that were given up; they need a person.",
        ("state",),
        _sum,
    ),
    "study_oldest_open_seconds": Gauge(
        "How long the study that has stood longest in a status has stood there.", ("status", "priority")
    ),
    "studies_asking": Gauge("Studies that stand still until a person says process or discard.", (), _sum),
    "studies_without_job": Gauge(
        "Studies that were acknowledged, are not at an end, and for which no job waits or runs.",
        ("status",),
        _sum,
    ),
    "usage_events_quarantined": Gauge("Usage events that wait for a person's decision.", (), _sum),
    "money_unbilled_minor": Gauge(
        "What usage without a statement would come to, before tax, in minor units; rated once an hour.",
        ("currency", "period"),
        _sum,
    ),
    "money_unbilled_oldest_seconds": Gauge(
        "How long ago the oldest period without a statement ended.", ("currency", "period")
    ),
}
# Always there, so that an alert can tell “none” from “nobody asked”.
_ZERO: dict[str, tuple[tuple[str, ...], ...]] = {
    "deliveries": (("refused",), ("dead",)),
    "jobs_stalled": ((),),
    "studies_asking": ((),),
    "workers": ((),),
    "usage_events_quarantined": ((),),
}


class Installation(Collector):
    """What the database knows of queue, studies, deliveries and money."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> Iterable[Metric]:
        return [*_families({}).values(), *_state(False, None)]

    def collect(self) -> Iterable[Metric]:
        try:
            with self._database.system_transaction(WAIT_S) as conn:
                conn.execute(_TIMEOUT)
                rows = conn.execute("SELECT metric, labels, value FROM observe_installation()").fetchall()
            missing = len(schema_state(self._database.url).missing)
        except (*DATABASE_ERRORS, psycopg.Error):
            return _state(False, None)  # the other measurements are worth most when the database is away
        return [*_families(combined(rows)).values(), *_state(True, missing)]


Figures = dict[str, dict[tuple[str, ...], float]]


def combined(rows: Iterable[dict[str, Any]]) -> Figures:
    """Metric → labels → value, of rows that may name the same more than once."""
    figures: Figures = {name: dict.fromkeys(labels, 0.0) for name, labels in _ZERO.items()}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for row in rows:
        labels = tuple(row["labels"])
        of_metric = figures.setdefault(row["metric"], {})
        is_known = (row["metric"], labels) in seen
        combine = GAUGES[row["metric"]].combine
        of_metric[labels] = combine(of_metric[labels], row["value"]) if is_known else row["value"]
        seen.add((row["metric"], labels))
    return figures


def _families(figures: Figures) -> dict[str, GaugeMetricFamily]:
    families = {
        name: GaugeMetricFamily(f"radmeter_{name}", gauge.words, labels=gauge.labels)
        for name, gauge in GAUGES.items()
    }
    for name, of_metric in figures.items():
        for labels, value in of_metric.items():
            families[name].add_metric(labels, value)
    return families


def _state(is_up: bool, missing: int | None) -> list[Metric]:
    up = GaugeMetricFamily("radmeter_database_up", "1 while the database answers the portal.", float(is_up))
    words = "Migrations that this version knows and the database lacks."
    schema = GaugeMetricFamily("radmeter_schema_migrations_missing", words)
    if missing is not None:
        schema.add_metric([], missing)
    return [up, schema]
