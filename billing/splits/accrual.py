"""Accrual: a statement's lines divided among payees when it is issued, taken back with credit, released with cash.

Allocations are stored once, at issue. A credit note takes back from what is stored, never from the terms; so
what comes later is exact whatever the terms are by then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from fractions import Fraction
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from billing.books import accounting
from billing.claims.credit_note_record import CreditNote
from billing.contracts import store
from billing.contracts.contract import Contract
from billing.money import exponent, push_down, round_half_away_from_zero
from billing.period import local_midnight
from billing.queries import Row, execute, one_row, rows
from billing.splits import contribution
from billing.splits.booking import Fact, book, lock_books
from billing.splits.share_out import Base, share_out
from billing.splits.terms import Basis, Split
from billing.statements.statement_record import Statement, StatementLine

Connection = psycopg.Connection[Any]
Parts = Mapping[str, Mapping[str, int]]
"""Line key → party → minor units."""


def accrue(conn: Connection, statement: Statement, *, effective_at: datetime, now: datetime) -> None:
    """Divide the lines of a statement that was just stored, and book what others get.

    Each service period goes by the version of the contract that was in force in it. effective_at: when the
    statement itself counts, so that the cost stands beside its revenue.
    Raises `ContributionMissing`.
    """
    assert statement.number is not None
    by_service: dict[date, list[StatementLine]] = defaultdict(list)
    for line in statement.lines:
        by_service[line.rated.service_start].append(line)
    allocated = [
        row
        for service_start, lines in sorted(by_service.items())
        for row in _allocate_service_period(conn, statement, service_start, lines)
    ]
    if not allocated:
        return
    _store(conn, statement, allocated, now)
    fact = Fact(statement.tenant, statement.currency, statement.number, statement.number, effective_at, now)
    _book(conn, fact, allocated)
    assert statement.statement_id is not None
    settle(conn, statement.tenant, statement.statement_id, key=statement.number, now=now)


def _allocate_service_period(
    conn: Connection, statement: Statement, service_start: date, lines: Sequence[StatementLine]
) -> Iterable[Row]:
    """Everything billed for the service period divided anew, less what was stored before for it."""
    begin = local_midnight(service_start, statement.period.time_zone)
    contract = store.contract_at(conn, statement.tenant, statement.contract_id, begin).contract
    splits = (*contract.splits, *([contract.reserve] if contract.reserve else []))
    if not splits:
        return
    values = {
        "tenant": statement.tenant,
        "contract_id": statement.contract_id,
        "service_start": service_start,
    }
    billed = rows(conn, "billed_for_split", values)
    before: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows(conn, "allocated_before", values):
        before[row["split"]][row["line_key"]][row["party_id"]] = int(row["amount_minor"])
    members = contribution.members(conn, statement.tenant, statement.contract_id, contract, service_start)
    for split in splits:
        bases = [_base(contract, split, row) for row in billed if _split_of(contract, split, row) is split]
        parts = share_out(split, bases, members, 10 ** exponent(contract.currency))
        moved = _moved(parts, before[split.name], {line.rated.key for line in lines})
        for line in lines:
            for party, amount in moved.get(line.rated.key, {}).items():
                yield _row(contract, split, line, party, amount, moved)


def _moved(now: Parts, before: Parts, keys: set[str]) -> dict[str, dict[str, int]]:
    """What each line of the statement gets: the difference to what was stored.

    Late usage can move the tier or the cap of lines that are not on this statement. Their parts then change
    among the payees and sum to zero; the first line of the statement carries that.
    """
    moved: dict[str, dict[str, int]] = {}
    for key in sorted(now, key=lambda key: (key not in keys, key)):
        carrier = key if key in keys else next(iter(moved), None)
        if carrier is None:
            return {}
        into = moved.setdefault(carrier, {})
        for party in now[key].keys() | before.get(key, {}).keys():
            change = now[key].get(party, 0) - before.get(key, {}).get(party, 0)
            into[party] = into.get(party, 0) + change
    return moved


def _split_of(contract: Contract, split: Split, row: Row) -> Split | None:
    """The split that a line belongs to: the first that covers it; the reserve stands beside them."""
    rate_id = row["line_key"].split("/")[0]
    choices = (split,) if split.basis is Basis.RESERVE else contract.splits
    publisher = contract.publisher_of(rate_id)
    return next((one for one in choices if one.covers(rate_id, row["product"], publisher)), None)


def _base(contract: Contract, split: Split, row: Row) -> Base:
    amount = int(row["amount_minor"])
    if split.per_unit is not None:
        per_unit = Fraction(split.per_unit) * 10 ** exponent(contract.currency)
        amount = round_half_away_from_zero(per_unit * Fraction(row["quantity"]))
    publisher = contract.publisher_of(row["line_key"].split("/")[0])
    return Base(row["line_key"], amount, row["quantity"], publisher)


def _row(contract: Contract, split: Split, line: StatementLine, party: str, amount: int, moved: Parts) -> Row:
    return {
        "line_number": line.number,
        "split": split.name,
        "basis": split.basis,
        "party_id": party,
        "is_own": party == contract.seller.id,
        "line_key": line.rated.key,
        "service_start": line.rated.service_start.isoformat(),
        "base_minor": sum(moved[line.rated.key].values()),
        "amount_minor": amount,
    }


def _store(conn: Connection, statement: Statement, allocated: Sequence[Row], now: datetime) -> None:
    """One INSERT, whose trigger checks every line's sum against the line."""
    execute(
        conn,
        "insert_split_allocations",
        {
            "tenant": statement.tenant,
            "statement_id": statement.statement_id,
            "currency": statement.currency,
            "accrued_at": now,
            "rows": Jsonb(list(allocated)),
        },
    )


def _book(conn: Connection, fact: Fact, changes: Iterable[Row]) -> None:
    """What others get is a cost and a debt; of a reserve, only the seller's own part is booked."""
    shares: dict[str, int] = defaultdict(int)
    reserve: dict[str, int] = defaultdict(int)
    for row in changes:
        if row["basis"] == Basis.RESERVE and row["is_own"]:
            reserve[row["party_id"]] += row["amount_minor"]
        elif row["basis"] != Basis.RESERVE and not row["is_own"]:
            shares[row["party_id"]] += row["amount_minor"]
    book(conn, fact, "split_accrued", shares)
    book(conn, fact, "reserve_accrued", reserve)


def reverse(conn: Connection, note: CreditNote, *, now: datetime) -> None:
    """Take back from the stored allocations what a credit note takes off its lines.

    The fraction of a line that is credited by now decides, this note included. So the parts of several notes
    add up exactly, and a line that is credited whole leaves nothing to anybody.
    """
    tenant, statement_id, credit_note = note.tenant, note.statement_id, note.number
    credited = {line.number: line.fraction for line in note.lines}
    lock_books(conn, tenant)
    by_group: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in rows(conn, "split_states", {"tenant": tenant, "statement_id": statement_id}):
        if row["line_number"] in credited:
            by_group[row["line_number"], row["split"]].append(row)
    changes: list[Row] = []
    for (number, _), group in sorted(by_group.items()):
        fraction = credited[number]
        shares = [row["amount_minor"] * fraction for row in group]
        total = round_half_away_from_zero(group[0]["base_minor"] * fraction)
        parts = push_down(total, shares, [row["party_id"] for row in group])
        changes += [
            {**row, "amount_minor": part - row["reversed_minor"]}
            for row, part in zip(group, parts, strict=True)
            if part != row["reversed_minor"]
        ]
    if not changes:
        return
    execute(
        conn,
        "insert_split_reversals",
        {
            "tenant": tenant,
            "credit_note": credit_note,
            "reversed_at": now,
            "allocation_ids": [row["allocation_id"] for row in changes],
            "amounts": [row["amount_minor"] for row in changes],
        },
    )
    effective_at = accounting.posting_time(conn, tenant, now)
    fact = Fact(tenant, changes[0]["currency"], credit_note, credit_note, effective_at, now)
    _book(conn, fact, [{**row, "amount_minor": -row["amount_minor"]} for row in changes])
    settle(conn, tenant, statement_id, key=credit_note, now=now)


def settle(conn: Connection, tenant: str, statement_id: int, *, key: str, now: datetime) -> None:
    """Bring what is payable of a statement's shares to what was collected of it.

    To be called when an allocation of a payment, a credit note or the issue itself changed either. key: names
    that fact. Collected is what payments paid of the total less credit; with nothing due, everything is.
    """
    lock_books(conn, tenant)
    account = one_row(conn, "collected_of_statement", {"tenant": tenant, "statement_id": statement_id})
    due = account["due_minor"]
    collected = min(Fraction(account["allocated_minor"], due), Fraction(1)) if due > 0 else Fraction(1)
    moves: list[Row] = []
    for row in rows(conn, "split_states", {"tenant": tenant, "statement_id": statement_id}):
        if row["is_own"] or row["basis"] == Basis.RESERVE:
            continue
        fraction = Fraction(1) if row["basis"] == Basis.BILLED else collected
        target = round_half_away_from_zero((row["amount_minor"] - row["reversed_minor"]) * fraction)
        if target != row["released_minor"]:
            moves.append({**row, "amount_minor": target - row["released_minor"]})
    if not moves:
        return
    execute(
        conn,
        "insert_released",
        {
            "tenant": tenant,
            "statement_id": statement_id,
            "reference": key,
            "moved_at": now,
            "allocation_ids": [row["allocation_id"] for row in moves],
            "amounts": [row["amount_minor"] for row in moves],
        },
    )
    by_party: dict[str, int] = defaultdict(int)
    for row in moves:
        by_party[row["party_id"]] += row["amount_minor"]
    effective_at = accounting.posting_time(conn, tenant, now)
    fact = Fact(tenant, moves[0]["currency"], key, key, effective_at, now)
    book(conn, fact, "split_released", by_party)
