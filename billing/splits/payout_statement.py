"""Payout statement: preview it at any time, issue it once for each month; both take the same path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

from billing import numbers
from billing.books import accounting
from billing.contracts import store
from billing.contracts.party_terms import Party
from billing.money import Money
from billing.period import Period
from billing.queries import Row, execute, first_row, one_row, rows
from billing.splits import guarantee
from billing.splits.booking import Fact, book, lock_books
from billing.splits.errors import NothingToState, PayoutPeriodRefused, PayoutStatementNotFound
from billing.splits.payout_record import PayoutLine, PayoutStatement, from_text, to_text
from billing.statements import statement_record
from billing.statements.statement_record import Statement, StatementLine

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, order=True)
class Account:
    """What a seller owes one payee in one currency."""

    tenant: str
    seller_id: str
    party_id: str
    currency: str

    @property
    def key(self) -> dict[str, object]:
        return {
            "tenant": self.tenant,
            "seller_id": self.seller_id,
            "party_id": self.party_id,
            "currency": self.currency,
        }


def accounts(conn: Connection, tenant: str) -> list[Account]:
    """Every payee's account with every seller, the seller's own parts left out; in order."""
    found = {Account(tenant, **row) for row in rows(conn, "payee_accounts", {"tenant": tenant})}
    for stored in store.list_contracts(conn, tenant):
        contract = stored.contract
        for party_id in guarantee.guaranteed_parties(contract):
            found.add(Account(tenant, contract.seller.id, party_id, contract.currency))
    return sorted(found)


def draft(conn: Connection, account: Account, at: datetime | Period) -> PayoutStatement:
    """The payout statement of the month that is or holds `at`: the issued one, else as it would be now."""
    month = _month(conn, account.tenant, at)
    return find(conn, account, month) or _compose(conn, account, month)[0]


def has_something_to_state(conn: Connection, account: Account, at: datetime | Period) -> bool:
    """Whether a month was stated already, or `issue` would not find it empty."""
    return _says_something(draft(conn, account, at))


def _says_something(statement: PayoutStatement) -> bool:
    return bool(statement.lines or statement.guarantees or statement.moved or statement.to_pay)


def issue(
    conn: Connection, account: Account, at: datetime | Period, *, by: str, now: datetime
) -> PayoutStatement:
    """Issue the payout statement of a month, and ask for the payout of what it leaves to pay.

    Guarantees of the month are topped up and advances recouped first. The same month again returns the
    statement that exists. by: who asks for the payout; somebody else approves it.
    Raises `PayoutPeriodRefused`, `NothingToState`.
    """
    lock_books(conn, account.tenant)
    month = _month(conn, account.tenant, at)
    issued = find(conn, account, month)
    if issued is not None:
        return issued
    if now < month.end_at:
        raise PayoutPeriodRefused(
            f"the month ends on {month.ends_on}, midnight in {month.time_zone}: issue it then"
        )
    last = first_row(conn, "last_payout_statement", account.key)
    if last is not None and month.starts_on < last["period_start"]:
        raise PayoutPeriodRefused(
            f"{last['number']} is of a later month: what came since goes on the next one"
        )
    statement, decided = _compose(conn, account, month)
    if not _says_something(statement):
        raise NothingToState(f"nothing is owed to {account.party_id!r} that is not stated already")
    statement = statement.evolve(
        payout_statement_id=one_row(conn, "next_payout_statement_id", {})["payout_statement_id"],
        number=_number(conn, statement),
        issued_at=now,
    )
    _book_promises(conn, account, statement, decided, now)
    _store(conn, account, statement, by)
    return statement


def get(conn: Connection, tenant: str, payout_statement_id: int) -> PayoutStatement:
    """As it was issued; raises `PayoutStatementNotFound`."""
    values = {"tenant": tenant, "payout_statement_id": payout_statement_id}
    row = first_row(conn, "payout_statement_by_id", values)
    if row is None:
        raise PayoutStatementNotFound(f"no payout statement {payout_statement_id}")
    return from_text(row["document"], row["payout_statement_id"])


def find(conn: Connection, account: Account, month: Period) -> PayoutStatement | None:
    """The issued one of a month, if there is one."""
    row = first_row(conn, "payout_statement_of_month", {**account.key, "period_start": month.starts_on})
    return None if row is None else from_text(row["document"], row["payout_statement_id"])


def _month(conn: Connection, tenant: str, at: datetime | Period) -> Period:
    return at if isinstance(at, Period) else accounting.month_of(conn, tenant, at)


def _compose(
    conn: Connection, account: Account, month: Period
) -> tuple[PayoutStatement, list[guarantee.Decided]]:
    """Everything payable of services up to the month's end that no statement has told of yet."""
    values = {**account.key, "period_end": month.ends_on}
    zero = Money.zero(account.currency)
    last = first_row(conn, "last_payout_statement", account.key)
    balance = one_row(conn, "payout_balances", values)
    statements = _Statements(conn, account.tenant)
    lines = _lines(statements, rows(conn, "unstated_shares", values), account.currency)
    decided = guarantee.decide(
        conn, account.tenant, account.seller_id, account.party_id, account.currency, month
    )
    seller, payee = _parties(conn, account)
    composed = PayoutStatement(
        tenant=account.tenant,
        seller=seller,
        payee=payee,
        currency=account.currency,
        period=month,
        opening=Money(last["closing_minor"], account.currency) if last else zero,
        lines=lines,
        guarantees=tuple(one.line for one in decided),
        recouped=zero,
        advance_outstanding=Money(balance["advance_minor"], account.currency),
        paid=Money(balance["paid_minor"], account.currency),
        pending=Money(balance["pending_minor"], account.currency),
    )
    recouped = Money(
        min(composed.advance_outstanding.amount_minor, composed.to_pay.amount_minor), account.currency
    )
    composed = composed.evolve(
        recouped=-recouped, advance_outstanding=composed.advance_outstanding - recouped
    )
    return composed, decided


class _Statements:
    """Customers' statements, each read once."""

    def __init__(self, conn: Connection, tenant: str) -> None:
        self._conn, self._tenant = conn, tenant
        self._known: dict[int, Statement] = {}

    def line(self, row: Row) -> tuple[Statement, StatementLine]:
        statement_id = row["statement_id"]
        if statement_id not in self._known:
            self._known[statement_id] = store.get_statement(self._conn, self._tenant, statement_id)
        statement = self._known[statement_id]
        return statement, statement.lines[row["line_number"] - 1]


def _lines(statements: _Statements, shares: Sequence[Row], currency: str) -> tuple[PayoutLine, ...]:
    """One line for each contract, split, rate and service period, in that order."""
    groups: dict[tuple[str, str, str, str], list[tuple[Row, StatementLine]]] = defaultdict(list)
    for row in shares:
        statement, line = statements.line(row)
        rate_id = line.rated.key.split("/")[0]
        key = (statement.contract_name, row["split"], line.rated.service_start.isoformat(), rate_id)
        groups[key].append((row, line))
    return tuple(
        _line(key[0], key[1], group, currency) for key, group in sorted(groups.items(), key=lambda g: g[0])
    )


def _line(
    contract_name: str, split: str, group: Sequence[tuple[Row, StatementLine]], currency: str
) -> PayoutLine:
    def total(name: str) -> Money:
        return Money(sum(int(row[name]) for row, _ in group), currency)

    rated = group[0][1].rated
    amount = total("moved_minor")
    return PayoutLine(
        contract_name=contract_name,
        split=split,
        title=rated.title,
        unit=rated.unit,
        service_start=rated.service_start,
        service_end=rated.service_end,
        quantity=sum((line.rated.quantity for _, line in group), Decimal(0)),
        base=total("base_minor"),
        earned=total("amount_minor"),
        reversed=total("reversed_minor"),
        released_before=total("released_minor") - amount,
        amount=amount,
    )


def _parties(conn: Connection, account: Account) -> tuple[Party, Party]:
    """The seller and the payee as the seller's latest contract that names both prints them."""
    for stored in reversed(store.list_contracts(conn, account.tenant)):
        contract = stored.contract
        payee = contract.party(account.party_id)
        if contract.seller.id == account.seller_id and payee is not None:
            return contract.seller, payee
    raise NothingToState(f"no contract of {account.seller_id!r} names {account.party_id!r}")


def _number(conn: Connection, statement: PayoutStatement) -> str:
    series = numbers.PAYOUT_STATEMENT
    count = numbers.next(conn, statement.tenant, statement.seller.id, series)
    return numbers.text(statement.seller.number_prefix, statement.tenant, series, count)


def _book_promises(
    conn: Connection,
    account: Account,
    statement: PayoutStatement,
    decided: Sequence[guarantee.Decided],
    now: datetime,
) -> None:
    """Guarantees topped up and advances recouped: each a movement and a journal entry."""
    assert statement.number is not None
    effective_at = accounting.posting_time(conn, account.tenant, now)
    fact = Fact(account.tenant, account.currency, statement.number, statement.number, effective_at, now)
    for one in decided:
        guarantee.store(conn, account.tenant, one, now)
    moves = [
        ("guarantee", "guarantee_topped_up", statement.guaranteed),
        ("recouped", "advance_recouped", statement.recouped),
    ]
    for kind, template, amount in moves:
        if amount:
            values = {
                **account.key,
                "kind": kind,
                "amount_minor": amount.amount_minor,
                "period_end": statement.period.ends_on,
                "reference": statement.number,
                "moved_at": now,
            }
            execute(conn, "insert_movement", values)
            book(conn, fact, template, {account.party_id: abs(amount.amount_minor)})


def _store(conn: Connection, account: Account, statement: PayoutStatement, by: str) -> None:
    """The movements first, the header last: its trigger checks that they add up, and seals it."""
    assert statement.number is not None
    text = to_text(statement)
    key = {**account.key, "payout_statement_id": statement.payout_statement_id}
    execute(conn, "state_movements", {**key, "period_end": statement.period.ends_on})
    execute(
        conn,
        "insert_payout_statement",
        {
            **key,
            "period_start": statement.period.starts_on,
            "period_end": statement.period.ends_on,
            "sequence_number": int(statement.number.rsplit("-", 1)[1]),
            "number": statement.number,
            "opening_minor": statement.opening.amount_minor,
            "moved_minor": statement.moved.amount_minor,
            "closing_minor": statement.closing.amount_minor,
            "pending_minor": statement.pending.amount_minor,
            "to_pay_minor": statement.to_pay.amount_minor,
            "document": text,
            "document_sha256": statement_record.digest(text),
            "issued_by": by,
            "issued_at": statement.issued_at,
        },
    )
    if statement.to_pay:
        values = {**key, "amount_minor": statement.to_pay.amount_minor, "by": by, "now": statement.issued_at}
        execute(conn, "insert_payout", {**values, "kind": "statement", "contract_id": None, "split": None})
