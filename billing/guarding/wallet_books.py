"""The money of wallets: paid with a statement, revenue with each use, breakage at expiry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import psycopg

from billing.books import ledger
from billing.books.ledger import BREAKAGE, PREPAID, REVENUE, Posting
from billing.claims.credit_note_record import CreditNote
from billing.contracts import store
from billing.money import Money, allocate, round_half_away_from_zero
from billing.period import local_midnight
from billing.queries import Row, execute_many, one_row, rows
from billing.rating.rate import RatedLine
from billing.statements.statement_record import Statement, StatementLine

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


def prepaid_amount(conn: Connection, statement: Statement) -> Money:
    """How much of the statement's subtotal pays for lots, which is not revenue yet."""
    amounts = (line.rated.amount for line, lots in _lines_with_lots(conn, statement) if lots)
    return sum(amounts, Money.zero(statement.currency))


def statement_issued(conn: Connection, statement: Statement, *, effective_at: datetime) -> None:
    """What the statement sold becomes the value of its lots.

    In the transaction that issues, after the statement was booked. effective_at: of its journal entry.
    """
    for line, lots in _lines_with_lots(conn, statement):
        if lots:
            _value_lots(conn, statement, line, lots, effective_at)


def period_issued(conn: Connection, statement: Statement, *, effective_at: datetime) -> None:
    """Uses up to the period's end become revenue, after every payer's statement has given the lots their value."""
    booked_at = statement.issued_at or effective_at
    recognise(
        conn,
        statement.tenant,
        statement.contract_id,
        until=statement.period.end_at,
        effective_at=effective_at,
        booked_at=booked_at,
    )


def recognise(
    conn: Connection,
    tenant: str,
    contract_id: int,
    *,
    until: datetime,
    effective_at: datetime,
    booked_at: datetime,
) -> tuple[Money, Money]:
    """Book the uses and expiries that occurred before `until` and are not booked yet: (revenue, breakage).

    A use is worth its share of what the lot's value has left, so the last one takes the rest, to the minor unit.
    """
    contract = store.contract_at(conn, tenant, contract_id, until - timedelta(microseconds=1)).contract
    rows(conn, "lock_lots", {"tenant": tenant, "contract_id": contract_id})
    found: list[Row] = []
    for lot in rows(
        conn, "lots_to_recognise", {"tenant": tenant, "contract_id": contract_id, "until": until}
    ):
        entries = rows(conn, "entries_to_recognise", {"tenant": tenant, "lot_id": lot["lot_id"]})
        found += _recognitions(lot, entries, until)
    sums = {}
    for template, other in ((USED, REVENUE), (EXPIRED, BREAKAGE)):
        of_template = [one for one in found if one["template"] == template]
        amount = Money(sum(one["amount_minor"] for one in of_template), contract.currency)
        sums[template] = amount
        if not of_template:
            continue
        number = one_row(conn, "recognition_count", {"tenant": tenant})["count"]
        key = f"{template}:{contract_id}:{number}"
        if amount:
            ledger.post(
                conn,
                tenant,
                template=template,
                idempotency_key=key,
                reference=f"contract:{contract_id}",
                postings=[Posting(f"{PREPAID}:{contract.name}", amount), Posting(other, -amount)],
                effective_at=effective_at,
                booked_at=booked_at,
            )
        values = {"tenant": tenant, "journal_key": key, "recognised_at": effective_at}
        execute_many(conn, "insert_recognition", [{**one, **values} for one in of_template])
    return sums[USED], sums[EXPIRED]


def credit(conn: Connection, note: CreditNote, *, effective_at: datetime) -> Money:
    """How much of a credit note takes back what lots have left; the rest was revenue already.

    The lots that the credited lines paid for are worth that much less, each by its part of what they have left.
    """
    total = 0
    rows(conn, "lock_lots", {"tenant": note.tenant, "contract_id": note.contract_id})
    for line in note.lines:
        values = {"tenant": note.tenant, "document": note.statement_number, "line_number": line.number}
        lots = [lot for lot in rows(conn, "lots_of_line", values) if lot["left_minor"] > 0]
        amount = min(line.amount.amount_minor, sum(lot["left_minor"] for lot in lots))
        if amount <= 0:
            continue
        weights = [Fraction(lot["left_minor"]) for lot in lots]
        parts = allocate(amount, weights, [f"{lot['lot_id']:020d}" for lot in lots])
        key = {
            "tenant": note.tenant,
            "document": note.number,
            "line_number": line.number,
            "valued_at": effective_at,
        }
        taken = [
            {**key, "lot_id": lot["lot_id"], "amount_minor": -part}
            for lot, part in zip(lots, parts, strict=True)
            if part
        ]
        execute_many(conn, "insert_wallet_value", taken)
        total += amount
    return Money(total, note.currency)


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


def _lines_with_lots(conn: Connection, statement: Statement) -> list[tuple[StatementLine, list[Row]]]:
    """The lines that sell packages, each with the lots that its service period brought."""
    stored = store.contract_at(conn, statement.tenant, statement.contract_id, statement.period.start_at)
    products = stored.contract.limits.prepaid_products
    return [
        (line, _lots_sold(conn, statement, line.rated))
        for line in statement.lines
        if line.rated.product in products and line.rated.amount
    ]


def _lots_sold(conn: Connection, statement: Statement, line: RatedLine) -> list[Row]:
    zone = statement.period.time_zone
    values = {
        "tenant": statement.tenant,
        "contract_id": statement.contract_id,
        "product": line.product,
        "start_at": local_midnight(line.service_start, zone),
        "end_at": local_midnight(line.service_end, zone),
        "cutoff": statement.cutoff_sequence,
    }
    return rows(conn, "lots_sold", values)


def _value_lots(
    conn: Connection, statement: Statement, line: StatementLine, lots: list[Row], valued_at: datetime
) -> None:
    """Share a line's amount out over its lots by their quantity.

    A correction goes to the lots that have no value yet: it is for purchases that came late.
    """
    if line.rated.kind == "correction":
        lots = [lot for lot in lots if not lot["is_valued"]] or lots
    weights = [Fraction(lot["quantity"]) for lot in lots]
    amounts = allocate(line.rated.amount.amount_minor, weights, [f"{lot['lot_id']:020d}" for lot in lots])
    key = {
        "tenant": statement.tenant,
        "document": statement.number,
        "line_number": line.number,
        "valued_at": valued_at,
    }
    shares = zip(lots, amounts, strict=True)
    execute_many(
        conn,
        "insert_wallet_value",
        [{**key, "lot_id": lot["lot_id"], "amount_minor": one} for lot, one in shares],
    )


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
