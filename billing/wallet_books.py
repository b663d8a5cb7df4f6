"""The money of wallets: paid with a statement, revenue with each use, breakage at expiry."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

import psycopg

from billing import ledger, store
from billing.ledger import BREAKAGE, PREPAID, REVENUE, Posting
from billing.money import Money, allocate, round_half_away_from_zero
from billing.period import Period
from billing.queries import Row, execute, rows
from billing.statement_record import Statement

Connection = psycopg.Connection[Any]
USED, EXPIRED = "prepaid_used", "prepaid_expired"


@dataclass(frozen=True)
class RollForward:
    """What customers have paid for and not yet used, over [start, end): the closing is the account `prepaid:<name>`."""

    contract_id: int
    contract_name: str
    opening: Money
    bought: Money
    used: Money
    expired: Money

    @property
    def closing(self) -> Money:
        return self.opening + self.bought - self.used - self.expired


def statement_issued(conn: Connection, statement: Statement, *, now: datetime) -> None:
    """What the statement sold becomes the value of its lots; uses up to its end become revenue.

    In the transaction that issues, after the statement was booked.
    """
    stored = store.contract_at(conn, statement.tenant, statement.contract_id, statement.period.start_at)
    for line in statement.lines:
        if line.rated.product in stored.contract.limits.prepaid_products and line.rated.amount:
            _value_lots(conn, statement, line.number, stored.first_day, now)
    recognise(conn, statement.tenant, statement.contract_id, until=statement.period.end_at, now=now)


def recognise(conn: Connection, tenant: str, contract_id: int, *, until: datetime, now: datetime) -> tuple[Money, Money]:
    """Book the uses and expiries that occurred before `until` and are not booked yet: (revenue, breakage).

    A use is worth its share of what the lot's value has left, so the last one takes the rest, to the minor unit.
    """
    contract = store.contract_at(conn, tenant, contract_id, now).contract
    rows(conn, "lock_lots", {"tenant": tenant, "contract_id": contract_id})
    values = {"tenant": tenant, "contract_id": contract_id, "until": until}
    found: list[Row] = []
    for lot in rows(conn, "lots_to_recognise", values):
        entries = rows(conn, "entries_to_recognise", {"tenant": tenant, "lot_id": lot["lot_id"]})
        found += _recognitions(lot, entries, until)
    sums: dict[str, int] = defaultdict(int)
    for one in found:
        sums[one["template"]] += one["amount_minor"]
    for template in (USED, EXPIRED):
        of_template = [one for one in found if one["template"] == template]
        if not of_template:
            continue
        first = min((one["lot_id"], one["entry_id"] or 0) for one in of_template)
        key = f"{template}:{contract_id}:{first[0]}-{first[1]}:{now.isoformat()}"
        if sums[template]:
            amount = Money(sums[template], contract.currency)
            other = REVENUE if template == USED else BREAKAGE
            ledger.post(
                conn,
                tenant,
                template=template,
                idempotency_key=key,
                reference=f"contract:{contract_id}",
                postings=[Posting(account_of(contract.name), amount), Posting(other, -amount)],
                effective_at=now,
                booked_at=now,
            )
        for one in of_template:
            values = {**one, "tenant": tenant, "journal_key": key, "recognised_at": now}
            execute(conn, "insert_recognition", values)
    return Money(sums[USED], contract.currency), Money(sums[EXPIRED], contract.currency)


def roll_forward(conn: Connection, tenant: str, *, start: datetime, end: datetime) -> list[RollForward]:
    """One for each contract that ever sold a package before `end`."""
    found = rows(conn, "prepaid_roll_forward", {"tenant": tenant, "start": start, "end": end})
    return [
        RollForward(
            row["contract_id"],
            row["name"],
            *(
                Money(row[f"{name}_minor"], row["currency"])
                for name in ("opening", "bought", "used", "expired")
            ),
        )
        for row in found
    ]


def find_problems(conn: Connection, tenant: str) -> list[str]:
    """Lots that do not add up, one sentence each; for `ledger check`."""
    return [
        f"wallet lot {row['lot_id']}: its balance or its revenue is not what its entries say"
        for row in rows(conn, "wallet_unsound", {"tenant": tenant})
    ]


def account_of(contract_name: str) -> str:
    return f"{PREPAID}:{contract_name}"


def _value_lots(conn: Connection, statement: Statement, number: int, first_day: Any, now: datetime) -> None:
    """Share a line's amount out over the lots that its service period sold, by their quantity.

    A correction goes to the lots that have no value yet: it is for purchases that came late.
    """
    line = statement.lines[number - 1].rated
    period = Period(
        line.service_start,
        line.service_end,
        statement.period.time_zone,
        max(statement.period.full_days, (line.service_end - line.service_start).days),
    )
    values = {
        "tenant": statement.tenant,
        "contract_id": statement.contract_id,
        "product": line.product,
        "start_at": period.start_at,
        "end_at": period.end_at,
        "cutoff": statement.cutoff_sequence,
    }
    lots = rows(conn, "lots_sold", values)
    if line.kind == "correction":
        lots = [lot for lot in lots if not lot["is_valued"]] or lots
    weights = [Fraction(lot["quantity"]) for lot in lots]
    amounts = allocate(line.amount.amount_minor, weights, [f"{lot['lot_id']:020d}" for lot in lots])
    for lot, amount_minor in zip(lots, amounts, strict=True):
        values = {
            "tenant": statement.tenant,
            "lot_id": lot["lot_id"],
            "document": statement.number,
            "line_number": number,
            "amount_minor": amount_minor,
            "valued_at": now,
        }
        execute(conn, "insert_wallet_value", values)


def _recognitions(lot: Row, entries: list[Row], until: datetime) -> list[Row]:
    """What each new entry of a lot is worth. A use that was returned before it was booked is worth nothing."""
    left = Fraction(lot["quantity"])
    value = int(lot["value_minor"]) - int(lot["recognised_minor"])
    returned = {one["ingest_sequence"] for one in entries if one["kind"] == "returned"}
    fresh = []
    for one in entries:
        if one["kind"] == "returned":
            left += Fraction(one["quantity"])
        elif one["amount_minor"] is not None or one["ingest_sequence"] in returned:
            left -= Fraction(one["quantity"])
        elif one["occurred_at"] < until:
            fresh.append(one)
    found = []
    for one in fresh:
        amount = round_half_away_from_zero(value * Fraction(one["quantity"]) / left)
        left, value = left - Fraction(one["quantity"]), value - amount
        found.append(_recognition(lot, one["entry_id"], USED if one["kind"] == "used" else EXPIRED, amount))
    if left == 0 and value > 0:
        found.append(_recognition(lot, None, USED, value))
    return found


def _recognition(lot: Row, entry_id: int | None, template: str, amount_minor: int) -> Row:
    return {"lot_id": lot["lot_id"], "entry_id": entry_id, "template": template, "amount_minor": amount_minor}
