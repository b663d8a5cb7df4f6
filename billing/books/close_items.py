"""What a month of the books is looked at for before it is closed: each item finds out for itself how it stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

import psycopg

from billing.books import control_accounts, deferred
from billing.contracts import store
from billing.errors import ContractNotFound
from billing.money import Money, round_half_away_from_zero
from billing.period import Period
from billing.queries import one_row, rows
from billing.rating import shares
from billing.rating.rate import digest_lines
from billing.rating.rate_stored import Rater
from billing.statements import statement
from billing.statements.statement_record import Statement

Connection = psycopg.Connection[Any]
VARIANCE_MAX = Fraction(1, 2)
"""How far a contract's month may lie from the mean of the months before, as a part of that mean."""
TRAILING_MONTHS = 6
FINANCE, APPROVER, NOBODY = "finance", "approver", "nobody"


@dataclass(frozen=True)
class Finding:
    """How an item stands. evidence: what was found, in words that stay the same while the books do."""

    is_done: bool
    evidence: str


@dataclass(frozen=True)
class Item:
    """may_waive: the role that may accept it as it is."""

    name: str
    title: str
    may_waive: str
    look: Callable[[Connection, str, Period], Finding]


def _values(tenant: str, month: Period) -> dict[str, object]:
    return {"tenant": tenant, "start_at": month.start_at, "end_at": month.end_at}


def _watermark(conn: Connection, tenant: str, month: Period) -> Finding:
    """A source that told something that happened after the month has told the month."""
    found = rows(conn, "sources_of_usage", _values(tenant, month))
    behind = [row for row in found if row["last_at"] < month.end_at]
    told = [f"{row['source']}: past the end" for row in found if row not in behind]
    waiting = [f"{row['source']}: last told of {row['last_at'].isoformat()}" for row in behind]
    return Finding(not behind, "; ".join([*waiting, *told]) or "no source told anything")


def _quarantine(conn: Connection, tenant: str, month: Period) -> Finding:
    found = rows(conn, "waiting_in_quarantine", _values(tenant, month))
    waiting = "; ".join(f"{row['source']}: {row['event_count']} event(s) wait" for row in found)
    return Finding(not found, waiting or "nothing waits")


def _statements(conn: Connection, tenant: str, month: Period) -> Finding:
    """Every period that ended in the month, or before, has its statement."""
    missing = []
    for one in store.list_contracts(conn, tenant):
        try:
            periods = statement.unissued_periods(conn, tenant, one.contract_id, month.end_at)
        except ContractNotFound:  # it begins after the month
            continue
        missing += [f"{one.contract.name}: {period.starts_on} to {period.ends_on}" for period in periods]
    return Finding(not missing, "; ".join(missing) or "all issued")


def _digests(conn: Connection, tenant: str, month: Period) -> Finding:
    """Each statement's own period is rated again, twice, with the usage up to its cutoff: as it was issued."""
    differing, seen = [], []
    for row in rows(conn, "statements_of_month", _values(tenant, month)):
        issued = store.get_statement(conn, tenant, row["statement_id"])
        stated = digest_lines(line.rated for line in issued.lines if line.rated.kind != "correction")
        again = {_rate_again(conn, issued) for _ in range(2)}
        note = f"{row['number']}: {stated[:12]}"
        if again == {stated}:
            seen.append(note)
        else:
            differing.append(f"{note}, again {', '.join(sorted(one[:12] for one in again))}")
    return Finding(not differing, "; ".join(differing or seen) or "no statements")


def _rate_again(conn: Connection, issued: Statement) -> str:
    """The digest of what the statement's payer is charged for its own period."""
    stored = store.contract_at(conn, issued.tenant, issued.contract_id, issued.period.start_at)
    rating = Rater(conn, issued.tenant, stored, issued.cutoff_sequence).rate(issued.period)
    bill = shares.share(stored.contract, rating).get(issued.payer.id, ())
    return digest_lines(line.rated for line in bill)


def _variance(conn: Connection, tenant: str, month: Period) -> Finding:
    """Each contract's month against the mean of its months before, of those in which it was billed at all."""
    since = _months_before(month.starts_on, TRAILING_MONTHS)
    values = {**_values(tenant, month), "time_zone": month.time_zone, "since": since}
    by_contract: dict[tuple[str, str], dict[date, int]] = defaultdict(dict)
    for row in rows(conn, "billed_by_month", values):
        by_contract[row["name"], row["currency"]][row["month"]] = int(row["amount_minor"])
    notes, is_far = [], False
    for (name, currency), amounts in by_contract.items():
        note, far = _compare(amounts, month.starts_on, currency)
        is_far = is_far or far
        notes.append(f"{name}: {note}")
    return Finding(not is_far, "; ".join(notes) or "nothing was billed")


def _compare(amounts: Mapping[date, int], month: date, currency: str) -> tuple[str, bool]:
    before = [amount for day, amount in amounts.items() if day < month]
    now = Money(amounts.get(month, 0), currency)
    if not before or not sum(before):
        return f"{now} {currency}, no months before", False
    mean = Fraction(sum(before), len(before))
    away = (now.amount_minor - mean) / mean
    permille = round_half_away_from_zero(away * 1000)
    percent = f"{'-' if permille < 0 else '+'}{abs(permille) // 10}.{abs(permille) % 10} %"
    return f"{now} {currency}, {percent} of the mean of {len(before)} months", abs(away) > VARIANCE_MAX


def _splits(conn: Connection, tenant: str, month: Period) -> Finding:
    """A statement of a contract with splits has its shares stored."""
    missing, count = [], 0
    for row in rows(conn, "statements_of_month", _values(tenant, month)):
        issued = store.get_statement(conn, tenant, row["statement_id"])
        contract = store.contract_at(conn, tenant, row["contract_id"], issued.period.start_at).contract
        count += row["allocation_count"]
        if contract.splits and row["subtotal_minor"] and not row["allocation_count"]:
            missing.append(f"{row['number']}: no shares")
    return Finding(not missing, "; ".join(missing) or f"{count} shares stored")


def _deferred(conn: Connection, tenant: str, month: Period) -> Finding:
    due = deferred.unrecognised(conn, tenant, month.ends_on)
    return Finding(
        not due, "; ".join(f"{account}: {amount} earned" for account, amount in due.items()) or "all booked"
    )


def _control(conn: Connection, tenant: str, _month: Period) -> Finding:
    """All of the books, not the month alone: a balance has no month."""
    problems = control_accounts.find_problems(conn, tenant)
    return Finding(not problems, "; ".join(problems) or "all agree")


def _rails(conn: Connection, tenant: str, month: Period) -> Finding:
    found = rows(conn, "unknown_rail_operations", _values(tenant, month))
    unknown = "; ".join(f"{row['rail']} {row['kind']} {row['operation_id']}: unknown" for row in found)
    return Finding(not found, unknown or "none is unknown")


def _journal(conn: Connection, tenant: str, month: Period) -> Finding:
    """Never open; it is here so that a sign-off ends when something more is booked into the month."""
    row = one_row(conn, "journal_of_month", _values(tenant, month))
    return Finding(True, f"{row['entry_count']} entries, the last is {row['last_sequence']}")


def _months_before(first: date, count: int) -> date:
    months = first.year * 12 + first.month - 1 - count
    return date(months // 12, months % 12 + 1, 1)


ITEMS = (
    Item("watermark", "every source has told all of the month", FINANCE, _watermark),
    Item("quarantine", "no usage waits for a decision", FINANCE, _quarantine),
    Item("statements", "all due statements are issued", APPROVER, _statements),
    Item("digests", "rating again gives the same, twice", APPROVER, _digests),
    Item("variance", "no contract is far from its mean", FINANCE, _variance),
    Item("deferred", "what the month earned of fees billed ahead is revenue", NOBODY, _deferred),
    Item("splits", "shares are accrued", APPROVER, _splits),
    Item("control_accounts", "sub-ledgers equal their control accounts", NOBODY, _control),
    Item("rails", "every rail operation is known", APPROVER, _rails),
    Item("journal", "what the month holds", NOBODY, _journal),
)
