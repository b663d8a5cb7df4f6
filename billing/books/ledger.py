"""Ledger: double entry, append-only, one hash chain per tenant."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from billing.books.accounting import closed_until
from billing.books.books_errors import MonthIsClosed
from billing.errors import EntryNotAllowed
from billing.money import Money
from billing.queries import execute, one_row, rows
from billing.statements.statement_record import Statement

Connection = psycopg.Connection[Any]
GENESIS = bytes(32)

RECEIVABLE, REVENUE, TAX_PAYABLE = "receivable", "revenue", "tax_payable"
DEFERRED_REVENUE, PREPAID, BREAKAGE = "deferred_revenue", "prepaid", "breakage"
CASH, UNAPPLIED_CASH, RAIL_FEE, BAD_DEBT = "cash", "unapplied_cash", "rail_fee", "bad_debt"
SPLIT_COST, SPLIT_ACCRUED, SPLIT_PAYABLE, ADVANCE = "split_cost", "split_accrued", "split_payable", "advance"
RESERVE_COST, RESERVE = "reserve_cost", "reserve"
TEMPLATES: dict[str, dict[str, int]] = {
    # account → the sign its postings must have: debit +1, credit -1, 0 either. A statement may take more back than it
    # earns, where it sells ahead of use too.
    "statement_issued": {RECEIVABLE: 1, REVENUE: 0, TAX_PAYABLE: -1, DEFERRED_REVENUE: -1, PREPAID: -1},
    "credit_note_issued": {RECEIVABLE: -1, REVENUE: 1, TAX_PAYABLE: 1, DEFERRED_REVENUE: 1, PREPAID: 1},
    "revenue_recognised": {DEFERRED_REVENUE: 1, REVENUE: -1},
    "prepaid_used": {PREPAID: 1, REVENUE: -1},
    "prepaid_expired": {PREPAID: 1, BREAKAGE: -1},
    "payment_received": {CASH: 1, RECEIVABLE: -1, UNAPPLIED_CASH: -1},
    "payment_applied": {UNAPPLIED_CASH: 1, RECEIVABLE: -1},
    "payment_unapplied": {RECEIVABLE: 1, UNAPPLIED_CASH: -1},
    "payment_refunded": {UNAPPLIED_CASH: 1, RECEIVABLE: 1, CASH: -1},
    "rail_fee_paid": {RAIL_FEE: 1, CASH: -1},
    "written_off": {BAD_DEBT: 1, TAX_PAYABLE: 1, RECEIVABLE: -1},
    "split_accrued": {SPLIT_COST: 1, SPLIT_ACCRUED: -1},
    "split_reversed": {SPLIT_ACCRUED: 1, SPLIT_COST: -1},
    "split_released": {SPLIT_ACCRUED: 1, SPLIT_PAYABLE: -1},
    "split_withheld": {SPLIT_PAYABLE: 1, SPLIT_ACCRUED: -1},
    "guarantee_topped_up": {SPLIT_COST: 1, SPLIT_PAYABLE: -1},
    "advance_paid": {ADVANCE: 1, CASH: -1},
    "advance_recouped": {SPLIT_PAYABLE: 1, ADVANCE: -1},
    "payout_sent": {SPLIT_PAYABLE: 1, CASH: -1},
    "payout_returned": {CASH: 1, SPLIT_PAYABLE: -1},
    "reserve_accrued": {RESERVE_COST: 1, RESERVE: -1},
    "reserve_released": {RESERVE: 1, RESERVE_COST: -1},
}
"""The only shapes an entry may have: an entry that balances but books the wrong way round is refused."""


@dataclass(frozen=True)
class Posting:
    """account: `name` or `name:detail`. amount: debit positive, credit negative."""

    account: str
    amount: Money


@dataclass(frozen=True)
class Entry:
    """sequence: from 1 within the tenant. hash: SHA-256 over `prev_hash` and everything the entry says."""

    sequence: int
    hash: bytes


def entry_of_statement(
    statement: Statement, prepaid: Money | None = None, deferred: Money | None = None
) -> tuple[Posting, ...]:
    """Receivable against revenue, prepaid packages and tax; nothing for a statement of zero.

    prepaid: how much of the subtotal is paid ahead of its use; see `wallet_books`. deferred: how much is billed
    ahead of the days that earn it; see `billing.deferred`.
    """
    prepaid = prepaid or Money.zero(statement.currency)
    deferred = deferred or Money.zero(statement.currency)
    taxes: dict[str, Money] = {}
    for tax in statement.taxes:
        account = tax_account(tax.name)
        taxes[account] = taxes.get(account, Money.zero(statement.currency)) - tax.tax
    postings = [
        Posting(f"{RECEIVABLE}:{statement.payer.id}", statement.total),
        Posting(REVENUE, prepaid + deferred - statement.subtotal),
        Posting(f"{PREPAID}:{statement.contract_name}", -prepaid),
        Posting(f"{DEFERRED_REVENUE}:{statement.contract_name}", -deferred),
        *(Posting(account, amount) for account, amount in taxes.items()),
    ]
    return tuple(posting for posting in postings if posting.amount)


def post(
    conn: Connection,
    tenant: str,
    *,
    template: str,
    idempotency_key: str,
    reference: str,
    postings: Sequence[Posting],
    effective_at: datetime,
    booked_at: datetime,
) -> Entry:
    """Book one entry at the end of the tenant's chain; the same key again returns the first entry.

    effective_at: when it counts; see `accounting.posting_time` for what happened in a closed month.
    Waits for another transaction that books for this tenant. Raises `EntryNotAllowed`, `MonthIsClosed`.
    """
    require_template(template, postings)
    execute(conn, "insert_head", {"tenant": tenant, "hash": GENESIS})
    head = one_row(conn, "lock_head", {"tenant": tenant})
    known = rows(conn, "entry_by_key", {"tenant": tenant, "idempotency_key": idempotency_key})
    if known:
        return _same_entry(conn, tenant, known[0], template, postings)
    closed = closed_until(conn, tenant)
    if closed is not None and effective_at < closed:
        raise MonthIsClosed(effective_at, closed)
    sequence, prev_hash = head["sequence"] + 1, bytes(head["hash"])
    values = {
        "tenant": tenant,
        "sequence": sequence,
        "idempotency_key": idempotency_key,
        "template": template,
        "reference": reference,
        "effective_at": effective_at,
        "booked_at": booked_at,
        "prev_hash": prev_hash,
    }
    digest = entry_hash(values, [(p.account, p.amount.currency, p.amount.amount_minor) for p in postings])
    execute(
        conn,
        "insert_postings",
        {
            "tenant": tenant,
            "sequence": sequence,
            "accounts": [posting.account for posting in postings],
            "currencies": [posting.amount.currency for posting in postings],
            "amounts": [posting.amount.amount_minor for posting in postings],
        },
    )
    execute(conn, "insert_entry", {**values, "hash": digest})
    return Entry(sequence, digest)


def is_allowed(template: str, account: str, amount_minor: int) -> bool:
    """Whether the template may move this account in this direction."""
    sign = TEMPLATES.get(template, {}).get(account.split(":")[0])
    return sign is not None and amount_minor * (sign or amount_minor) > 0


def require_template(template: str, postings: Sequence[Posting]) -> None:
    """Raise `EntryNotAllowed` unless the postings balance and fit the template."""
    if template not in TEMPLATES:
        raise EntryNotAllowed(f"no template {template!r}")
    sums: dict[str, int] = {}
    for posting in postings:
        if not is_allowed(template, posting.account, posting.amount.amount_minor):
            raise EntryNotAllowed(f"{template}: {posting.account} cannot take {posting.amount}")
        currency = posting.amount.currency
        sums[currency] = sums.get(currency, 0) + posting.amount.amount_minor
    if len(postings) < 2 or any(sums.values()):
        raise EntryNotAllowed(f"{template}: the postings do not sum to zero")


def entry_hash(entry: dict[str, Any], postings: Sequence[tuple[str, str, int]]) -> bytes:
    """SHA-256 over the previous hash, then the entry and its postings as canonical JSON."""
    content = {
        "tenant": entry["tenant"],
        "sequence": entry["sequence"],
        "idempotency_key": entry["idempotency_key"],
        "template": entry["template"],
        "reference": entry["reference"],
        "effective_at": entry["effective_at"].timestamp(),
        "booked_at": entry["booked_at"].timestamp(),
        "postings": [list(posting) for posting in postings],
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(bytes(entry["prev_hash"]) + text.encode()).digest()


def check(conn: Connection, tenant: str) -> list[str]:
    """Every broken invariant of the tenant's books, one sentence each, naming the row; empty when sound."""
    from billing.books.ledger_check import find_problems  # it reads what this module writes

    return find_problems(conn, tenant)


def _same_entry(
    conn: Connection, tenant: str, known: dict[str, Any], template: str, postings: Sequence[Posting]
) -> Entry:
    stored = rows(conn, "postings_of_entry", {"tenant": tenant, "sequence": known["sequence"]})
    before = [(row["account"], row["currency"], row["amount_minor"]) for row in stored]
    after = [(p.account, p.amount.currency, p.amount.amount_minor) for p in postings]
    if known["template"] != template or before != after:
        raise EntryNotAllowed(f"{known['idempotency_key']!r} was booked before with other postings")
    return Entry(known["sequence"], bytes(known["hash"]))


def tax_account(name: str) -> str:
    """The account of a tax: its name in letters, digits and a few signs."""
    detail = "".join(c if c.isascii() and (c.isalnum() or c in " %._-") else "_" for c in name) or "_"
    return f"{TAX_PAYABLE}:{detail}"
