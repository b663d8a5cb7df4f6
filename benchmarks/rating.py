"""Usage to money on the embedded PostgreSQL: recording, rating, issuing; beside the bare sum in SQL."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.billing_data import NOVEMBER, TENANT, database, durability, generate, seconds
from billing.contracts import contract, store
from billing.metering import meter
from billing.metering.usage import UsageEvent
from billing.rating import rate
from billing.statements import statement
from pipeline.database import Database

RATED_EVENT_COUNT = 200_000
RECORDED_EVENT_COUNT = 1_000
BATCH_SIZE = 100
ROUNDS = 3
CONTRACT = Path(__file__).resolve().parents[1] / "examples/contract_graduated.yaml"

# What a rating has to sum, with nothing else: no digest, no prices, no statement.
_SAME_SUM = """
SELECT e.product, sum(e.quantity), count(*) FROM billing.event_decision d
JOIN billing.usage_event e USING (tenant, ingest_sequence)
WHERE d.tenant = %s AND d.outcome = 'billable' AND e.occurred_at >= '2026-11-01' AND e.occurred_at < '2026-12-01'
GROUP BY e.product
"""


def run(
    rated_event_count: int = RATED_EVENT_COUNT, recorded_event_count: int = RECORDED_EVENT_COUNT
) -> dict[str, Any]:
    """Events per second: recorded durably, rated from the database into a statement, rated in memory."""
    with database() as (opened, url):
        with opened.transaction(TENANT) as conn:
            contract_id = store.add_contract(conn, TENANT, CONTRACT.read_text())
        settings = durability(url)
        recorded = _recorded(opened, recorded_event_count)
        generate(url, contract_id, 1, rated_event_count, product="lung_nodule_ct")
        rated = _rated(opened, contract_id, rated_event_count + recorded_event_count * 2)
    return {**settings, "record": recorded, "rate": rated, "rate_in_memory": _rated_in_memory()}


def _recorded(opened: Database, count: int) -> dict[str, float]:
    """One connection; a commit for each event, and a commit for each batch."""

    def record(first: int, batch: int) -> None:
        for start in range(first, first + count, batch):
            with opened.transaction(TENANT) as conn:
                for number in range(start, start + batch):
                    meter.record(conn, _event(number), received_at=NOVEMBER + timedelta(days=9))

    return {
        "events_per_s_one_per_commit": count / seconds(lambda: record(0, 1)),
        f"events_per_s_{BATCH_SIZE}_per_commit": count / seconds(lambda: record(count, BATCH_SIZE)),
    }


def _rated(opened: Database, contract_id: int, count: int) -> dict[str, float]:
    """A draft and the issue of one month with all events, against the bare sum in one SQL statement."""
    sums, drafts = [], []
    for _ in range(ROUNDS):
        with opened.transaction(TENANT) as conn:
            sums.append(seconds(lambda: conn.execute(_SAME_SUM, (TENANT,)).fetchall()))
            drafts.append(seconds(lambda: statement.draft(conn, TENANT, contract_id, NOVEMBER)))
    with opened.transaction(TENANT) as conn:
        now = NOVEMBER + timedelta(days=40)
        issue_s = seconds(lambda: statement.issue(conn, TENANT, contract_id, NOVEMBER, now=now))
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
    return {"event_count": count, "events_per_s": count / seconds(lambda: rate.simulate(terms, events))}


def _event(number: int) -> UsageEvent:
    return UsageEvent(
        tenant=TENANT, source="bench", event_id=f"delivery:{number}", kind="result_delivered",
        product="lung_nodule_ct", quantity=Decimal(1), occurred_at=NOVEMBER + timedelta(seconds=number),
        study_ref=f"study-{number}", case_key=f"case-{number}", dimensions={"sending_peer": "PACS"},
        evidence={"revision": 1},
    )  # fmt: skip
