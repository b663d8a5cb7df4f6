"""Register of fiscal documents (fapiao): what the tax system is asked to issue, and the numbers it gave.

A statement (账单) is not a tax document (发票). Here is kept which tax documents cover which statements and credit
notes, in parts if need be: requested → cleared → red_requested → red_issued, or requested → failed. A red document
cancels the whole of one; what it covered can be requested again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg

from billing.claims import credit_notes
from billing.claims.credit import Credited
from billing.claims.credit_note_record import CreditNote
from billing.contracts import store
from billing.money import Money
from billing.queries import Row, execute, execute_many, one_row, rows
from billing.statements.document_errors import FiscalNotFound, FiscalNotPossible
from billing.statements.statement_record import Statement

Connection = psycopg.Connection[Any]
REMARK_LENGTH_MAX = 500


@dataclass(frozen=True)
class FiscalDocument:
    """numbers: of the statements and credit notes it covers. number, red_number: the tax system's."""

    fiscal_id: int
    state: str
    seller_id: str
    buyer_id: str
    numbers: tuple[str, ...]
    statement_id: int
    amount: Money
    tax: Money
    number: str | None
    issued_on: date | None
    red_number: str | None
    red_on: date | None
    remark: str
    requested_at: datetime

    @property
    def total(self) -> Money:
        return self.amount + self.tax


def request(
    conn: Connection,
    tenant: str,
    statement_ids: Sequence[int],
    *,
    by: str,
    now: datetime,
    total: Money | None = None,
) -> FiscalDocument:
    """Ask for one document over what is not covered yet of these statements, less their credit notes.

    total: only so much of one statement, tax included; its credit notes wait for another document.
    Raises `StatementNotFound`, `FiscalNotPossible`, `CurrencyMismatch`, `CreditExceedsLine`.
    """
    if (
        not statement_ids
        or len(set(statement_ids)) != len(statement_ids)
        or (total and len(statement_ids) > 1)
    ):
        raise FiscalNotPossible("name each statement once, and only one where an amount is given")
    rows(conn, "lock_fiscal", {"tenant": tenant})
    statements = [store.get_statement(conn, tenant, one) for one in statement_ids]
    first = statements[0]
    if any(
        (s.seller.id, s.payer.id, s.currency) != (first.seller.id, first.payer.id, first.currency)
        for s in statements
    ):
        raise FiscalNotPossible("the statements of one document have one seller, one buyer and one currency")
    items = _items(conn, tenant, statements, total)
    amount, tax = (sum(item[name] for item in items) for name in ("amount_minor", "tax_minor"))
    if amount + tax <= 0:
        numbers = ", ".join(str(statement.number) for statement in statements)
        raise FiscalNotPossible(f"nothing of {numbers} is left to document")
    fiscal_id = one_row(conn, "next_fiscal_id", {})["fiscal_id"]
    key = {"tenant": tenant, "fiscal_id": fiscal_id}
    numbered = enumerate(items, start=1)
    execute_many(conn, "insert_fiscal_item", [{**key, "item_number": n, **item} for n, item in numbered])
    header = {
        "seller_id": first.seller.id,
        "buyer_id": first.payer.id,
        "currency": first.currency,
        "item_count": len(items),
        "amount_minor": amount,
        "tax_minor": tax,
        "total_minor": amount + tax,
        "requested_by": by,
        "requested_at": now,
    }
    execute(conn, "insert_fiscal_document", {**key, **header})
    return get_fiscal(conn, tenant, fiscal_id)


def request_red(
    conn: Connection, tenant: str, fiscal_id: int, *, reason: str, by: str, now: datetime
) -> FiscalDocument:
    """Ask for a red document that cancels a cleared one. Raises `FiscalNotFound`, `FiscalNotPossible`."""
    return move(conn, tenant, fiscal_id, "red_requested", by=by, now=now, remark=reason)


def move(
    conn: Connection,
    tenant: str,
    fiscal_id: int,
    state: str,
    *,
    by: str,
    now: datetime,
    number: str | None = None,
    on: date | None = None,
    remark: str = "",
) -> FiscalDocument:
    """Take a document to its next state; `number` and `on` are the tax system's, of a new (red) document."""
    rows(conn, "lock_fiscal", {"tenant": tenant})
    document = get_fiscal(conn, tenant, fiscal_id)
    needed = {"cleared": ("requested", "red_requested"), "failed": ("requested",), "red_requested": ("cleared",),
              "red_issued": ("red_requested",)}[state]  # fmt: skip
    if document.state not in needed:
        raise FiscalNotPossible(f"fiscal document {fiscal_id} is {document.state}, not {' or '.join(needed)}")
    is_red, is_first = state == "red_issued", document.state == "requested" and state == "cleared"
    values = {
        "tenant": tenant,
        "fiscal_id": fiscal_id,
        "state": state,
        "number": number if is_first else document.number,
        "issued_on": on if is_first else document.issued_on,
        "red_number": number if is_red else None,
        "red_on": on if is_red else None,
        "remark": remark[:REMARK_LENGTH_MAX],
        "changed_by": by,
        "changed_at": now,
    }
    execute(conn, "move_fiscal", values)
    return get_fiscal(conn, tenant, fiscal_id)


def get_fiscal(conn: Connection, tenant: str, fiscal_id: int) -> FiscalDocument:
    """Raises `FiscalNotFound`."""
    found = rows(conn, "fiscal_documents", {"tenant": tenant, "fiscal_id": fiscal_id, "states": None})
    if not found:
        raise FiscalNotFound(f"no fiscal document {fiscal_id}")
    return _document(found[0])


def list_fiscal(conn: Connection, tenant: str, states: Sequence[str] | None = None) -> list[FiscalDocument]:
    """All, or those in `states`; first requested first."""
    values = {"tenant": tenant, "fiscal_id": None, "states": None if states is None else list(states)}
    return [_document(row) for row in rows(conn, "fiscal_documents", values)]


def _items(
    conn: Connection, tenant: str, statements: Sequence[Statement], total: Money | None
) -> list[dict[str, Any]]:
    """What the document covers: the rest of each statement, then of each of their credit notes."""
    notes = [] if total else [
        note for statement in statements for note in credit_notes.of_statement(conn, tenant, _id(statement))
    ]  # fmt: skip
    values = {
        "tenant": tenant,
        "statements": [_id(statement) for statement in statements],
        "credit_notes": [note.credit_note_id for note in notes],
    }
    covered = {
        (row["statement_id"], row["credit_note_id"]): (int(row["amount_minor"]), int(row["tax_minor"]))
        for row in rows(conn, "fiscal_covered", values)
    }
    items = []
    for statement in statements:
        amount, tax = _rest(statement, covered.get((statement.statement_id, None), (0, 0)), total)
        items.append(_item(statement.statement_id, None, amount, tax))
    for note in notes:
        amount, tax = _rest(note, covered.get((None, note.credit_note_id), (0, 0)), None)
        items.append(_item(None, note.credit_note_id, -amount, -tax))
    return [item for item in items if item["amount_minor"] or item["tax_minor"]]


def _rest(document: Statement | CreditNote, covered: tuple[int, int], total: Money | None) -> tuple[int, int]:
    """What is not covered yet of amount and tax; of a part of it the two are exact together, as in a credit."""
    rest = Credited(
        0, document.subtotal.amount_minor - abs(covered[0]), document.tax.amount_minor - abs(covered[1])
    )
    if total is None:
        return rest.amount_minor, rest.tax_minor
    asked = (Money.zero(document.currency) + total).amount_minor
    if not 0 < asked <= rest.rest:
        left = Money(rest.rest, document.currency)
        raise FiscalNotPossible(f"of {document.number} {left} {left.currency} can still be documented")
    part = rest.by_total(asked)
    return part.credited_amount, part.credited_tax


def _item(statement_id: int | None, credit_note_id: int | None, amount: int, tax: int) -> dict[str, Any]:
    return {
        "statement_id": statement_id,
        "credit_note_id": credit_note_id,
        "amount_minor": amount,
        "tax_minor": tax,
    }


def _id(statement: Statement) -> int:
    assert statement.statement_id is not None
    return statement.statement_id


def _document(row: Row) -> FiscalDocument:
    amount, tax = (Money(row[name], row["currency"]) for name in ("amount_minor", "tax_minor"))
    names = ("fiscal_id", "state", "seller_id", "buyer_id", "statement_id", "number", "issued_on", "red_number",
             "red_on", "remark", "requested_at")  # fmt: skip
    return FiscalDocument(
        numbers=tuple(row["numbers"]), amount=amount, tax=tax, **{name: row[name] for name in names}
    )
