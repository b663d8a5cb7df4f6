"""Safety: figures beyond a bound park the account, and nothing of it is issued until a person has looked.

Nothing is clamped and nothing is dropped: what was metered stays, and is issued once the person says why it is right.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import psycopg

from billing.contracts import store
from billing.contracts.contract import Contract
from billing.errors import AccountNotParked, AccountParked, OutOfBounds, StatementIsNegative
from billing.queries import Row, execute, first_row, rows
from billing.statements.statement_record import Statement

Connection = psycopg.Connection[Any]
log = logging.getLogger("radmeter.billing")
TRAILING_PERIODS = 6
"""How many earlier periods the variance is measured against, at most."""
TRAILING_PERIODS_MIN = 3
"""With fewer there is no mean to differ from."""


def require_within(conn: Connection, contract: Contract, statements: Sequence[Statement]) -> None:
    """Raise `OutOfBounds` where the statements of a period break a bound that nobody has released for it."""
    first = statements[0]
    for statement in statements:
        if statement.total.amount_minor < 0:
            raise StatementIsNegative(f"the statement would total {statement.total} {statement.currency}")
    values = store.period_values(first.tenant, first.contract_id, first.period, first.cutoff_sequence)
    released = {row["bound"] for row in rows(conn, "released_bounds", values)}
    most = max(len(one.lines) for one in statements)
    subtotal = sum(one.subtotal.amount_minor for one in statements)
    before = rows(conn, "trailing_subtotals", {**values, "limit": TRAILING_PERIODS})
    for bound, problem in (
        ("lines", _lines(contract, most)),
        ("events_per_day", _events_per_day(conn, contract, first.charged_event_count, values)),
        ("variance", _variance(contract, subtotal, [row["subtotal_minor"] for row in before])),
    ):
        if problem and bound not in released:
            raise OutOfBounds(problem, bound)


def find_problems(conn: Connection, tenant: str) -> Iterator[str]:
    """Issued periods beyond a bound that nobody released, and what was issued of a parked account."""
    earlier: dict[int, dict[date, int]] = defaultdict(dict)
    for row in rows(conn, "issued_within_bounds", {"tenant": tenant}):
        contract = store.contract_at(conn, tenant, row["contract_id"], row["start_at"]).contract
        known = sorted(earlier[row["contract_id"]].items(), reverse=True)
        before = [amount for start, amount in known if start < row["starts_on"]][:TRAILING_PERIODS]
        for bound, problem in (
            ("negative", "it totals less than zero" if row["total_minor"] < 0 else ""),
            ("lines", _lines(contract, row["line_count"])),
            (
                "events_per_day",
                _events_per_day(conn, contract, row["event_count"], {**row, "tenant": tenant}),
            ),
            ("variance", _variance(contract, row["subtotal_minor"], before)),
        ):
            if problem and bound not in row["released"]:
                yield f"statement {row['number']}: issued beyond a bound that nobody released: {problem}"
        earlier[row["contract_id"]][row["starts_on"]] = row["subtotal_minor"]
    for row in rows(conn, "issued_while_parked", {"tenant": tenant}):
        yield f"statement {row['number']}: issued while its account was parked, since {row['parked_at'].isoformat()}"


def require_not_parked(conn: Connection, tenant: str, contract_id: int) -> None:
    """Raise `AccountParked` while a person has not looked."""
    for row in parked(conn, tenant, contract_id):
        raise AccountParked(f"the account of contract {row['name']} is parked: {row['explanation']}")


def park(
    conn: Connection, tenant: str, contract_id: int, period_start: date, found: OutOfBounds, *, now: datetime
) -> None:
    """Stop issuing for a contract; once, whoever finds it."""
    if parked(conn, tenant, contract_id):
        return
    values = {"tenant": tenant, "contract_id": contract_id, "period_start": period_start, "now": now}
    execute(conn, "park_account", {**values, "bound": found.bound, "explanation": str(found)})
    log.error("account_parked", extra={"tenant": tenant, "contract": contract_id, "bound": found.bound})


def release(conn: Connection, tenant: str, contract_id: int, *, by: str, reason: str, now: datetime) -> None:
    """Let a parked account go on, on a person's word: its period may break the bound that it was parked for.

    A negative statement is never issued; released, it is tried again. Raises `AccountNotParked`.
    """
    if not by.strip() or not reason.strip():
        raise AccountNotParked("a name and a reason are needed")
    values = {"tenant": tenant, "contract_id": contract_id, "by": by, "reason": reason, "now": now}
    if first_row(conn, "release_account", values) is None:
        raise AccountNotParked(f"the account of contract {contract_id} is not parked")


def parked(conn: Connection, tenant: str, contract_id: int | None = None) -> list[Row]:
    """Accounts that wait for a person: contract_id, name, period_start, bound, explanation, parked_at."""
    return rows(conn, "parked_accounts", {"tenant": tenant, "contract_id": contract_id})


def _lines(contract: Contract, most: int) -> str:
    bound = contract.safety.lines_max
    return f"the statement has {most} lines, at most {bound} are expected" if most > bound else ""


def _events_per_day(
    conn: Connection, contract: Contract, event_count: int, values: Mapping[str, object]
) -> str:
    bound = contract.safety.events_per_day_max
    if event_count <= bound:
        return ""
    busiest = first_row(conn, "busiest_day", {**values, "time_zone": contract.time_zone})
    if busiest is None or busiest["event_count"] <= bound:
        return ""
    return f"{busiest['day']} has {busiest['event_count']} billable events, at most {bound} are expected"


def _variance(contract: Contract, now: int, before: Sequence[int]) -> str:
    """now, before: minor units of the period and of those before it."""
    percent = contract.safety.variance_percent_max
    if percent is None or len(before) < TRAILING_PERIODS_MIN:
        return ""
    # |now - mean| > percent % of the mean, in integers
    if abs(now * len(before) - sum(before)) * 100 <= percent * sum(before):
        return ""
    return (
        f"the period comes to {now} minor units, the {len(before)} before it to {sum(before) // len(before)} "
        f"on average; up to {percent} % of difference is expected"
    )
