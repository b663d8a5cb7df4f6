"""Outcomes: what stands where nobody judged a result within the contract's window."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

from billing.contracts import contract as contracts
from billing.contracts.outcome_terms import OutcomeTerms
from billing.metering import meter
from billing.metering.usage import Kind, UsageEvent, Verdict
from billing.queries import Row, rows

Connection = psycopg.Connection[Any]
TransactAs = Callable[[str], AbstractContextManager[Connection]]
SOURCE = "settlement"
NO_TENANT = "*"
_BATCH = 1000


def settle_outcomes(conn: Connection, tenant: str, *, now: datetime) -> int:
    """Write the verdict `none` for every case whose window has passed by `now`; how many were written.

    Safe to repeat and to stop at any point: an event's id and instant follow from its case.
    """
    written = 0
    for version in rows(conn, "versions_of_contracts", {"tenant": tenant}):
        terms = contracts.load(version["source_text"]).outcome
        if terms is None:
            continue
        while due := _due(conn, tenant, version, terms, now):
            for case in due:
                meter.record(conn, _no_verdict(tenant, case, terms), received_at=now)
            written += len(due)
    return written


def settle_every_tenant(transact: TransactAs, *, now: datetime) -> int:
    """`settle_outcomes` for each tenant, in a transaction of its own."""
    with transact(NO_TENANT) as conn:
        tenants = [row["tenant"] for row in rows(conn, "every_tenant", {})]
    written = 0
    for tenant in tenants:
        with transact(tenant) as conn:
            written += settle_outcomes(conn, tenant, now=now)
    return written


def _due(conn: Connection, tenant: str, version: Row, terms: OutcomeTerms, now: datetime) -> list[Row]:
    values = {
        "tenant": tenant,
        "contract_id": version["contract_id"],
        "version": version["version"],
        "products": list(terms.products),
        "window": terms.window,
        "now": now,
        "limit": _BATCH,
    }
    return rows(conn, "cases_without_verdict", values)


def _no_verdict(tenant: str, case: Row, terms: OutcomeTerms) -> UsageEvent:
    return UsageEvent(
        tenant=tenant,
        source=SOURCE,
        event_id=f"no-verdict:{case['ingest_sequence']}",
        kind=Kind.OUTCOME,
        product=case["product"],
        quantity=Decimal(1),
        occurred_at=case["occurred_at"] + terms.window,
        study_ref=case["study_ref"],
        case_key=case["case_key"],
        dimensions={"verdict": Verdict.NONE},
    )
