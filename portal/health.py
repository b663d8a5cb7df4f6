"""For machines that watch: is the process alive, is it ready, what does it measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.database import Database
from pipeline.readiness import (
    DATABASE_ERRORS,
    WAIT_S,
    database_problem,
    folder_problem,
    migrations_problem,
)
from pipeline.status import StudyStatus
from portal.cached import Cached
from portal.heartbeat_metrics import Heartbeat
from portal.observed import Installation
from portal.requests import Context

# Only portals ask the database for figures, and each at most this often.
_KEPT_S = 5.0
_COUNT_KEPT_S = 60.0  # counting every study takes longer the more there are

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
def readyz(context: Context) -> Response:
    """200 when studies can be taken in and shown, else 503; either way each check and notice by name."""
    checks: dict[str, Callable[[], str | None]] = {
        "database": lambda: database_problem(context.database),
        "migrations": lambda: migrations_problem(context.database.url),
        "data_folder": lambda: folder_problem(context.data_root),
        **context.readiness_checks,
    }
    problems = {name: check() for name, check in checks.items()}
    is_ready = not any(problems.values())
    problems |= {name: check() for name, check in context.notices.items()}
    body = {
        "status": "ready" if is_ready else "not ready",
        "checks": {name: problem or "ok" for name, problem in problems.items()},
    }
    return JSONResponse(body, 200 if is_ready else 503, headers={} if is_ready else {"Retry-After": "5"})


@router.get("/metrics")
def metrics(context: Context) -> Response:
    """Prometheus text. Nothing in it names a patient, a user or a UID."""
    return PlainTextResponse(
        exposition.generate_latest(context.registry), headers={"Content-Type": exposition.CONTENT_TYPE_LATEST}
    )


class StudiesByStatus(Collector):
    """Gauge of studies by status over all tenants, asked of the database at each scrape."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> Iterable[Metric]:
        return [GaugeMetricFamily("radmeter_studies", "Studies by status.", labels=["status"])]

    def collect(self) -> Iterable[Metric]:
        gauge = GaugeMetricFamily("radmeter_studies", "Studies by status.", labels=["status"])
        try:
            with self._database.system_transaction(WAIT_S) as conn:
                rows = conn.execute("SELECT status, study_count FROM count_studies_by_status()").fetchall()
        except DATABASE_ERRORS:
            return []  # the other measurements are worth most when the database is away
        counts = {row["status"]: row["study_count"] for row in rows}
        for status in StudyStatus:
            gauge.add_metric([status.value], counts.get(status.value, 0))
        return [gauge]


class ModelFigures(Collector):
    """Figures, open alarms and pauses of models by version and site; docs/monitoring.md tells what they mean."""

    LABELS = ("tenant", "product", "version", "site", "of")
    WORDS: ClassVar[dict[str, str]] = {
        "completed": "Results in the present window (a week, or four with few studies).",
        "refused_share": "Share of studies that were refused.",
        "failed_share": "Share of studies that failed.",
        "positive_share": "Share of results with a finding.",
        "accepted_share": "Share of verdicts that accept the result.",
        "verdicts": "Verdicts in the present window.",
        "calibration_gap": "Mean score of positive results minus the share that verdicts accepted.",
        "latency_p50_s": "Seconds that half of the runs of a step did not exceed.",
        "latency_p95_s": "Seconds that 95 % of the runs of a step did not exceed.",
        "psi": "Population stability index against the reference, of scores or of an input.",
        "alarm": "1 while a rule's alarm is open.",
        "paused": "1 while the product is paused at the site; an empty site is all of them.",
    }

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> Iterable[Metric]:
        return self._gauges().values()

    def collect(self) -> Iterable[Metric]:
        gauges = self._gauges()
        try:
            with self._database.system_transaction(WAIT_S) as conn:
                rows = conn.execute("SELECT * FROM every_model_figure()").fetchall()
        except DATABASE_ERRORS:
            return []
        for row in rows:
            labels = [row["tenant"], row["product"], row["model_version"], row["site"], row["of_what"]]
            gauges[row["metric"]].add_metric(labels, row["value"])
        return gauges.values()

    def _gauges(self) -> dict[str, GaugeMetricFamily]:
        return {
            name: GaugeMetricFamily(f"radmeter_model_{name}", words, labels=self.LABELS)
            for name, words in self.WORDS.items()
        }


def register_studies(registry: CollectorRegistry, database: Database) -> None:
    registry.register(Cached(StudiesByStatus(database), _COUNT_KEPT_S))
    registry.register(Cached(Installation(database), _KEPT_S))
    registry.register(Cached(ModelFigures(database), _KEPT_S))
    registry.register(Heartbeat(database))
