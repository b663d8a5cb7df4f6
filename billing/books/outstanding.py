"""What is not settled yet: usage that no statement has billed, and lines that customers dispute."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from billing.claims import disputes
from billing.contracts import store
from billing.errors import ContractNotFound
from billing.money import Money
from billing.period import Period
from billing.queries import rows
from billing.statements import statement

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Unbilled:
    """What the statement of a period would come to now, before tax. is_over: the period has ended."""

    contract_name: str
    payer_id: str
    period: Period
    amount: Money
    is_over: bool


def accrued_unbilled(conn: Connection, tenant: str, now: datetime) -> list[Unbilled]:
    """Every period of every contract without a statement, the running one included, as a draft would rate it."""
    found = []
    for one in store.list_contracts(conn, tenant):
        try:
            periods = statement.unissued_periods(conn, tenant, one.contract_id, now)
        except ContractNotFound:  # it begins later
            continue
        running = one.period_of(now.astimezone(UTC))
        for period in [*periods, *([running] if running and running not in periods else [])]:
            drafts = statement.drafts(conn, tenant, one.contract_id, period)
            found += [
                Unbilled(draft.contract_name, draft.payer.id, period, draft.subtotal, period.end_at <= now)
                for draft in drafts
                if draft.number is None and draft.lines
            ]
    return found


@dataclass(frozen=True)
class Disputed:
    """What of a statement is in open disputes, tax included."""

    number: str
    amount: Money


def disputed(conn: Connection, tenant: str) -> list[Disputed]:
    """Statements with an open dispute, by number."""
    return [
        Disputed(row["number"], disputes.disputed_amount(conn, tenant, row["statement_id"]))
        for row in rows(conn, "statements_in_dispute", {"tenant": tenant})
    ]
