"""Credit notes: take back part of an issued statement, in lines, exactly; nothing of the statement changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import psycopg

from billing import numbers, rails
from billing.books import accounting, deferred, ledger
from billing.books.ledger import Posting
from billing.claims import credit_note_record
from billing.claims.credit import Credited, Share, share_out
from billing.claims.credit_note_record import CreditNote, CreditNoteLine
from billing.contracts import store
from billing.guarding import wallet_books as wallets
from billing.money import Money
from billing.queries import Row, execute, execute_many, one_row, rows
from billing.rating.tax import TaxLine
from billing.splits import accrual
from billing.statements import statement_record
from billing.statements.document_errors import ApprovalNeeded, CreditNoteNotFound, CreditNotPossible
from billing.statements.statement_record import Statement, StatementLine

Connection = psycopg.Connection[Any]
REASON_LENGTH_MAX = 500


def issue(
    conn: Connection,
    tenant: str,
    statement_id: int,
    lines: Sequence[tuple[int, Share]] | None,
    *,
    reason: str,
    by: str,
    now: datetime,
    approved_by: str | None = None,
) -> CreditNote:
    """Credit lines of a statement: number, lines and journal entry in one transaction.

    lines: line number and what to take back of it: a Fraction of the whole line, an int of minor units before
        tax, or None for the rest. None instead of a list: all that is left of the whole statement.
    Raises `StatementNotFound`, `CreditNotPossible`, `CreditExceedsLine`, `ApprovalNeeded`.
    """
    statement, before = _begin(conn, tenant, statement_id)
    if lines is None:
        lines = [(number, None) for number, line in before.items() if line.rest]
    if len({number for number, _ in lines}) != len(lines) or not {n for n, _ in lines} <= before.keys():
        raise CreditNotPossible(f"{statement.number} has lines 1 to {len(before)}; name each at most once")
    after = [before[number].by(share) for number, share in sorted(lines, key=lambda item: item[0])]
    return _issue(conn, statement, before, after, reason, by, approved_by, now)


def issue_amount(
    conn: Connection,
    tenant: str,
    statement_id: int,
    amount: Money,
    *,
    reason: str,
    by: str,
    now: datetime,
    approved_by: str | None = None,
) -> CreditNote:
    """Credit an amount, tax included, shared out over what is left of the statement's charges.

    Raises what `issue` raises, and `CurrencyMismatch`.
    """
    statement, before = _begin(conn, tenant, statement_id)
    amount_minor = (Money.zero(statement.currency) + amount).amount_minor
    after = share_out(list(before.values()), amount_minor)
    return _issue(conn, statement, before, after, reason, by, approved_by, now)


def get_credit_note(conn: Connection, tenant: str, credit_note_id: int) -> CreditNote:
    """As it was issued; raises `CreditNoteNotFound`."""
    found = rows(conn, "credit_note_by_id", {"tenant": tenant, "credit_note_id": credit_note_id})
    if not found:
        raise CreditNoteNotFound(f"no credit note {credit_note_id}")
    return _note(found[0])


def of_statement(conn: Connection, tenant: str, statement_id: int) -> list[CreditNote]:
    """Credit notes of a statement, first issued first."""
    values = {"tenant": tenant, "statement_id": statement_id}
    return [_note(row) for row in rows(conn, "credit_notes_of_statement", values)]


def list_credit_notes(conn: Connection, tenant: str, limit: int = 1000) -> list[CreditNote]:
    """Latest first."""
    return [_note(row) for row in rows(conn, "credit_notes", {"tenant": tenant, "limit": limit})]


def credited_so_far(conn: Connection, statement: Statement) -> dict[int, Credited]:
    """Every line of an issued statement with what was taken back of it, by line number."""
    values = {"tenant": statement.tenant, "statement_id": statement.statement_id}
    known = {row["line_number"]: row for row in rows(conn, "credited_lines", values)}
    return {line.number: _credited(line, known.get(line.number)) for line in statement.lines}


def lock(conn: Connection, tenant: str, statement_id: int) -> None:
    """One at a time credits or disputes a statement; ends with the transaction. Needs READ COMMITTED."""
    rows(conn, "lock_credits", {"tenant": tenant, "statement_id": statement_id})


def _begin(conn: Connection, tenant: str, statement_id: int) -> tuple[Statement, dict[int, Credited]]:
    statement = store.get_statement(conn, tenant, statement_id)
    lock(conn, tenant, statement_id)
    return statement, credited_so_far(conn, statement)


def _issue(
    conn: Connection,
    statement: Statement,
    before: dict[int, Credited],
    after: Sequence[Credited],
    reason: str,
    by: str,
    approved_by: str | None,
    now: datetime,
) -> CreditNote:
    assert statement.number is not None
    assert statement.statement_id is not None
    reason = reason.strip()
    if not after:
        raise CreditNotPossible(f"nothing of {statement.number} is left to credit")
    if not 0 < len(reason) <= REASON_LENGTH_MAX:
        raise CreditNotPossible(f"a credit note needs a reason of at most {REASON_LENGTH_MAX} characters")
    by_number = {line.number: line for line in statement.lines}
    lines = tuple(_line(by_number[line.number], before[line.number], line) for line in after)
    total = sum((line.amount + line.tax for line in lines), Money.zero(statement.currency))
    if total.amount_minor < 0:
        raise CreditNotPossible(
            "a credit note gives money back: credit a positive line together with a negative one"
        )
    limit = _approval_limit(conn, statement)
    _require_approval(total, limit, by, approved_by)
    note = CreditNote(
        tenant=statement.tenant,
        credit_note_id=one_row(conn, "next_credit_note_id", {})["credit_note_id"],
        number=_number(conn, statement),
        statement_id=statement.statement_id,
        statement_number=statement.number,
        contract_id=statement.contract_id,
        contract_name=statement.contract_name,
        seller=statement.seller,
        buyer=statement.payer,
        currency=statement.currency,
        time_zone=statement.period.time_zone,
        lines=lines,
        taxes=_taxes(lines, statement.currency),
        reason=reason,
        requested_by=by,
        approved_by=approved_by,
        issued_at=now.astimezone(UTC),
    )
    _store(conn, note, limit)
    rails.credit_note_issued(conn, note, now=now)
    return note


def _require_approval(total: Money, limit: Money | None, by: str, approved_by: str | None) -> None:
    if approved_by == by:
        raise ApprovalNeeded(f"{by} asked for this credit; another person approves it")
    if limit is not None and total.amount_minor > limit.amount_minor and approved_by is None:
        raise ApprovalNeeded(
            f"a credit of more than {limit} {limit.currency} needs a second person's approval"
        )


def _approval_limit(conn: Connection, statement: Statement) -> Money | None:
    stored = store.contract_at(conn, statement.tenant, statement.contract_id, statement.period.start_at)
    return stored.contract.documents.approval_limit(statement.currency)


def _number(conn: Connection, statement: Statement) -> str:
    seller = statement.seller
    number = numbers.next(conn, statement.tenant, seller.id, numbers.CREDIT_NOTE)
    return numbers.text(seller.number_prefix, statement.tenant, numbers.CREDIT_NOTE, number)


def _line(line: StatementLine, before: Credited, after: Credited) -> CreditNoteLine:
    rated, currency = line.rated, line.rated.amount.currency
    return CreditNoteLine(
        number=line.number,
        key=rated.key,
        product=rated.product,
        title=rated.title,
        service_start=rated.service_start,
        service_end=rated.service_end,
        line_amount=rated.amount,
        amount=Money(after.credited_amount - before.credited_amount, currency),
        tax=Money(after.credited_tax - before.credited_tax, currency),
        tax_name=rated.tax_name,
        tax_rate=rated.tax_rate,
        fraction=after.fraction,
    )


def _taxes(lines: Sequence[CreditNoteLine], currency: str) -> tuple[TaxLine, ...]:
    """The lines' stored tax by name and rate; nothing is computed again."""
    groups: dict[tuple[str, Decimal], list[CreditNoteLine]] = defaultdict(list)
    for line in lines:
        groups[line.tax_name, line.tax_rate].append(line)
    zero = Money.zero(currency)
    return tuple(
        TaxLine(name, rate, sum((x.amount for x in group), zero), sum((x.tax for x in group), zero))
        for (name, rate), group in sorted(groups.items())
    )


def _store(conn: Connection, note: CreditNote, limit: Money | None) -> None:
    text = credit_note_record.to_text(note)
    key = {"tenant": note.tenant, "credit_note_id": note.credit_note_id, "statement_id": note.statement_id}
    execute_many(conn, "insert_credit_note_line", [{**key, **_line_columns(line)} for line in note.lines])
    header = {
        "seller_id": note.seller.id,
        "sequence_number": int(note.number.rsplit("-", 1)[1]),
        "number": note.number,
        "currency": note.currency,
        "line_count": len(note.lines),
        "subtotal_minor": note.subtotal.amount_minor,
        "tax_minor": note.tax.amount_minor,
        "total_minor": note.total.amount_minor,
        "reason": note.reason,
        "requested_by": note.requested_by,
        "approved_by": note.approved_by,
        "approval_above_minor": None if limit is None else limit.amount_minor,
        "document": text,
        "document_sha256": statement_record.digest(text),
        "issued_at": note.issued_at,
    }
    execute(conn, "insert_credit_note", {**key, **header})
    effective_at = accounting.posting_time(conn, note.tenant, note.issued_at)
    prepaid = wallets.credit(conn, note, effective_at=effective_at)
    postings = entry_of_credit_note(note, deferred.credited(conn, note), prepaid)
    if postings:
        ledger.post(
            conn,
            note.tenant,
            template="credit_note_issued",
            idempotency_key=f"credit_note:{note.number}",
            reference=note.number,
            postings=postings,
            effective_at=effective_at,
            booked_at=note.issued_at,
        )
    accrual.reverse(conn, note, now=note.issued_at)


def entry_of_credit_note(
    note: CreditNote, still_deferred: Money | None = None, prepaid: Money | None = None
) -> tuple[Posting, ...]:
    """Revenue and tax against the receivable: the statement's entry mirrored for what is taken back.

    still_deferred: billed ahead and no revenue yet; see `deferred`. prepaid: for uses to come; see `wallet_books`.
    """
    still_deferred = still_deferred or Money.zero(note.currency)
    prepaid = prepaid or Money.zero(note.currency)
    taxes: dict[str, Money] = defaultdict(lambda: Money.zero(note.currency))
    for tax in note.taxes:
        taxes[ledger.tax_account(tax.name)] += tax.tax
    postings = [
        Posting(f"{ledger.RECEIVABLE}:{note.buyer.id}", -note.total),
        Posting(ledger.REVENUE, note.subtotal - still_deferred - prepaid),
        Posting(f"{ledger.DEFERRED_REVENUE}:{note.contract_name}", still_deferred),
        Posting(f"{ledger.PREPAID}:{note.contract_name}", prepaid),
        *(Posting(account, amount) for account, amount in taxes.items()),
    ]
    return tuple(posting for posting in postings if posting.amount)


def _line_columns(line: CreditNoteLine) -> dict[str, object]:
    return {
        "line_number": line.number,
        "credited_fraction": str(line.fraction),
        "amount_minor": line.amount.amount_minor,
        "tax_minor": line.tax.amount_minor,
    }


def _credited(line: StatementLine, row: Row | None) -> Credited:
    whole = Credited(line.number, line.rated.amount.amount_minor, line.tax.amount_minor)
    if row is None:
        return whole
    fraction = Fraction(row["credited_fraction"])
    amount, tax = int(row["amount_minor"]), int(row["tax_minor"])
    return Credited(whole.number, whole.amount_minor, whole.tax_minor, fraction, amount, tax)


def _note(row: Row) -> CreditNote:
    return credit_note_record.from_text(row["document"], row["credit_note_id"], row["statement_id"])
