"""Figures beyond a bound park the account: nothing is issued, clamped or lost until a person says why it is right."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import psycopg
import pytest

from billing.books import ledger
from billing.contracts import contract as contracts
from billing.contracts import store
from billing.errors import AccountNotParked, AccountParked, ContractError
from billing.guarding import safety
from billing.metering import meter, voids
from billing.metering.usage import UsageEvent
from billing.statements import statement
from tests.billing.conftest import TENANT

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2027, 6, 1, tzinfo=UTC)
MakeEvent = Callable[..., UsageEvent]


class Account:
    """A contract, its months, and what issuing them gives."""

    def __init__(self, transact, make_event: MakeEvent, text: str) -> None:
        self.transact, self.make_event = transact, make_event
        self.numbers = iter(range(1, 1000))
        with transact() as conn:
            self.contract_id = store.add_contract(conn, TENANT, text)

    def use(self, month: int, *quantities: int) -> None:
        start = datetime(2026, month, 5, 12, tzinfo=SHANGHAI)
        with self.transact() as conn:
            for quantity in quantities:
                number = next(self.numbers)
                at = start + timedelta(seconds=number)
                event = self.make_event(number, occurred_at=at, quantity=Decimal(quantity))
                assert meter.record(conn, event, received_at=NOW).is_billable

    def issue(self, month: int) -> tuple[statement.Statement, ...] | AccountParked:
        with self.transact() as conn:
            at = datetime(2026, month, 10, tzinfo=SHANGHAI)
            return statement.issue_or_park(conn, TENANT, self.contract_id, at, now=NOW)

    def release(self) -> None:
        with self.transact() as conn:
            safety.release(conn, TENANT, self.contract_id, by="a.person", reason="a big month", now=NOW)

    def parked(self) -> list[str]:
        with self.transact() as conn:
            return [row["bound"] for row in safety.parked(conn, TENANT)]


@pytest.fixture
def account(transact, make_event: MakeEvent, per_case: str) -> Callable[[str], Account]:
    return lambda terms="": Account(transact, make_event, f"{per_case.rstrip()}\n{terms}\n")


@pytest.mark.parametrize(
    ("terms", "sentence"),
    [
        ("safety: {events_per_day_max: 2}", "2026-02-05 has 3 billable events"),
        ("safety: {variance_percent_max: 50}", "the 3 before it to 10000 on average"),
    ],
)
def test_a_bound_parks_until_a_person_releases_that_period(account, terms: str, sentence: str) -> None:
    one = account(terms)
    months = (11, 12) if "events" in terms else (2, 3, 4, 5)
    for month in months[:-1]:
        one.use(month, 1)
        assert not isinstance(one.issue(month), AccountParked)
    last = months[-1] if "variance" in terms else 2
    one.use(last, 1, 1, 1)
    found = one.issue(last)
    assert isinstance(found, AccountParked)
    assert sentence in str(found)
    assert isinstance(one.issue(last), AccountParked)  # also again, and every other period
    assert isinstance(one.issue(7), AccountParked)
    assert len(one.parked()) == 1
    one.release()
    [issued] = one.issue(last)
    assert issued.subtotal.amount_minor == 3 * 100_00
    assert one.parked() == []


def test_a_negative_statement_parks_and_is_never_issued(account) -> None:
    one = account()
    one.use(2, 1)
    one.issue(2)
    with one.transact() as conn:
        voids.void(conn, TENANT, "test", "delivery:1", reason="x", by="a.person", now=NOW)
    assert isinstance(one.issue(3), AccountParked)
    assert one.parked() == ["negative"]
    one.release()
    assert isinstance(one.issue(3), AccountParked)
    one.release()
    one.use(3, 2)
    [march] = one.issue(3)
    assert march.subtotal.amount_minor == 100_00
    with one.transact() as conn:
        assert ledger.check(conn, TENANT) == []


def test_within_the_bounds_and_without_a_history_nothing_parks(account) -> None:
    one = account("safety: {variance_percent_max: 1, events_per_day_max: 3, lines_max: 1}")
    for month, quantities in ((2, (1,)), (3, (500,)), (4, (1, 1, 1))):
        one.use(month, *quantities)
        assert not isinstance(one.issue(month), AccountParked)


def test_too_many_lines_park(account) -> None:
    one = account("safety: {lines_max: 1}")
    one.use(2, 1)
    one.issue(2)
    one.use(2, 1)  # late: a correction beside the month's own line
    one.use(3, 1)
    assert "2 lines" in str(one.issue(3))


def test_a_release_needs_a_parked_account_a_name_and_a_reason(account, owner) -> None:
    one = account("safety: {events_per_day_max: 1}")
    with pytest.raises(AccountNotParked):
        one.release()
    one.use(2, 1, 1)
    one.issue(2)
    with one.transact() as conn, pytest.raises(AccountNotParked):
        safety.release(conn, TENANT, one.contract_id, by="a.person", reason=" ", now=NOW)
    one.release()
    with pytest.raises(psycopg.errors.RestrictViolation):
        owner.execute("UPDATE billing.account_parking SET released_reason = 'another'")


def test_a_mistake_in_the_section_is_told_with_its_line(per_case: str) -> None:
    with pytest.raises(ContractError, match="variance_percent_max"):
        contracts.load(per_case + "\nsafety: {variance_percent_max: lots}\n")
    with pytest.raises(ContractError, match="is not known here"):
        contracts.load(per_case + "\nsafety: {clamp: 1}\n")
