"""Prepaid packages: bought, taken from, owed, given back, expired; each lot gives exactly what was paid for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from billing.contracts import store
from billing.guarding import guard
from billing.guarding.guard import Answer
from billing.guarding.limit_worth import Work
from billing.metering.usage import UsageEvent
from tests.billing.conftest import NOON, TENANT
from tests.billing.limits_builders import (
    CREDIT,
    DECEMBER,
    MEMBERSHIP,
    accounts,
    balance,
    issue,
    package,
    sound,
)

MakeEvent = Callable[..., UsageEvent]


@pytest.fixture
def contract_id(transact) -> int:
    with transact() as conn:
        return store.add_contract(conn, TENANT, MEMBERSHIP)


class TestUse:
    def test_a_member_has_three_screenings_and_pays_the_fourth(self, transact, contract_id, happen) -> None:
        assert happen(1, "member_year") == ("billable", "first_delivery")
        taken = [happen(number, "screening") for number in (2, 3, 4, 5)]
        assert taken == [("not_billable", "prepaid")] * 3 + [("billable", "first_delivery")]
        assert balance(transact, contract_id) == 0

    def test_another_member_and_nobody_take_nothing_of_it(self, transact, contract_id, happen) -> None:
        happen(1, "member_year")
        assert happen(2, "screening", member="m2") == ("billable", "first_delivery")
        assert happen(3, "screening", member=None) == ("billable", "first_delivery")
        assert balance(transact, contract_id) == 3

    def test_the_same_case_is_taken_once_and_never_charged_beside(
        self, transact, contract_id, happen
    ) -> None:
        happen(1, "member_year")
        assert happen(2, "screening", case_key="a") == ("not_billable", "prepaid")
        assert happen(3, "screening", case_key="a") == ("not_billable", "already_charged")
        assert happen(4, "screening", case_key="a", member=None) == ("not_billable", "already_charged")
        assert balance(transact, contract_id) == 2

    def test_what_was_charged_before_takes_nothing(self, transact, contract_id, happen) -> None:
        assert happen(2, "screening", case_key="a") == ("billable", "first_delivery")
        happen(3, "member_year")
        assert happen(4, "screening", case_key="a") == ("not_billable", "already_charged")
        assert balance(transact, contract_id) == 3

    def test_the_same_event_again_takes_nothing_more(self, transact, contract_id, happen) -> None:
        happen(1, "member_year")
        assert happen(2, "screening") == happen(2, "screening")
        assert balance(transact, contract_id) == 2

    def test_nothing_is_taken_before_the_purchase_or_after_the_expiry(
        self, transact, contract_id, happen
    ) -> None:
        happen(5, "member_year")
        assert happen(1, "screening")[0] == "billable"
        ends = package().expiry_of(NOON + timedelta(minutes=50), "Asia/Shanghai")
        assert ends == datetime(2027, 11, 9, 16, tzinfo=UTC)  # midnight of 10 November in Shanghai
        assert happen(2, "screening", occurred_at=ends - timedelta(microseconds=1)) == (
            "not_billable",
            "prepaid",
        )
        assert happen(3, "screening", occurred_at=ends)[0] == "billable"

    def test_the_soonest_expiry_goes_first_within_a_priority(
        self, transact, contract_id, happen, owner
    ) -> None:
        happen(100, "member_year", occurred_at=NOON - timedelta(days=30))
        happen(101, "member_year", occurred_at=NOON - timedelta(days=60))
        happen(2, "screening")
        rows = owner.execute("SELECT remaining::int FROM billing.wallet_lot ORDER BY expires_at").fetchall()
        assert [row["remaining"] for row in rows] == [2, 3]

    def test_two_lots_are_taken_together_where_one_does_not_reach(
        self, transact, contract_id, happen
    ) -> None:
        happen(1, "member_year")
        happen(2, "member_year")
        assert happen(3, "screening", quantity=Decimal(5)) == ("not_billable", "prepaid")
        assert balance(transact, contract_id) == 1
        assert happen(4, "screening", quantity=Decimal(2))[0] == "billable"  # not half of it
        assert balance(transact, contract_id) == 1


class TestParallel:
    def test_twelve_at_once_take_what_is_there_and_not_one_more(
        self, transact, contract_id, happen, owner
    ) -> None:
        happen(1, "member_year")
        happen(2, "member_year")
        start = threading.Barrier(12)
        found: list[tuple[str, str]] = []

        def one(number: int) -> None:
            start.wait()
            found.append(happen(number, "screening"))

        threads = [threading.Thread(target=one, args=(number,)) for number in range(10, 22)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(found) == [("billable", "first_delivery")] * 6 + [("not_billable", "prepaid")] * 6
        assert balance(transact, contract_id) == 0
        sound(transact)

    def test_the_database_itself_refuses_a_balance_below_zero(
        self, transact, contract_id, happen, owner
    ) -> None:
        happen(1, "member_year")
        row = owner.execute("SELECT * FROM billing.wallet_lot").fetchone()
        with transact() as conn, pytest.raises(psycopg.errors.CheckViolation):
            conn.execute(
                """INSERT INTO billing.wallet_entry (tenant, contract_id, package, owner, kind, lot_id, quantity,
                       ingest_sequence, occurred_at, written_at)
                   VALUES (%s, %s, %s, %s, 'used', %s, 4, 1, now(), now())""",
                (TENANT, contract_id, row["package"], row["owner"], row["lot_id"]),
            )
        for change in ("UPDATE billing.wallet_lot SET remaining = 3", "DELETE FROM billing.wallet_lot"):
            with pytest.raises(psycopg.errors.RestrictViolation):
                owner.execute(change)


class TestOwed:
    def test_what_ran_on_account_is_paid_first_by_the_next_purchase(self, transact, happen, owner) -> None:
        with transact() as conn:
            contract_id = store.add_contract(conn, TENANT, CREDIT)
        assert happen(1, "screening") == ("not_billable", "prepaid")  # 70 of the 100 that may be owed
        assert happen(2, "screening") == ("billable", "first_delivery")  # 140 would be too much
        assert balance(transact, contract_id, "contract", text=CREDIT) == 3000
        happen(3, "member_year")
        assert balance(transact, contract_id, "contract", text=CREDIT) == 20000 - 7000 + 10000
        assert happen(4, "screening") == ("not_billable", "prepaid")
        assert balance(transact, contract_id, "contract", text=CREDIT) == 20000 - 14000 + 10000
        issue(transact, contract_id)
        books = accounts(owner)
        # 1,200 yuan were paid for 200 of credit; 140 of them are used, and one screening was charged at 500.
        assert books["prepaid:insured-2026"] == -36000
        assert books["revenue"] == -(84000 + 50000)
        sound(transact)


def test_an_empty_package_holds_back_where_the_contract_says_so(transact, happen) -> None:
    text = MEMBERSHIP.replace("owner: member", "owner: contract\n    when_empty: wait")
    with transact() as conn:
        store.add_contract(conn, TENANT, text)
    happen(1, "member_year")
    happen(2, "screening", quantity=Decimal(2))

    def answer(running: int = 0) -> Answer:
        with transact() as conn:
            return guard.may_run(
                conn,
                TENANT,
                "screening",
                is_urgent=False,
                now=DECEMBER,
                under_way=[Work("screening", {}, running)],
            ).answer

    assert (answer(), answer(running=1)) == (Answer.RUN, Answer.WAIT)
    happen(3, "screening")
    assert answer() is Answer.WAIT
    happen(4, "member_year")
    assert answer() is Answer.RUN
