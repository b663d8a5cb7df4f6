"""Prepaid packages: bought, taken from, owed, given back, expired; each lot gives exactly what was paid for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import contract as contracts
from billing import ledger, meter, statement, store, wallet, wallet_books
from billing.errors import ContractError
from billing.limits_errors import PackageInUse
from billing.limits_terms import Package
from billing.usage import UsageEvent
from tests.billing.conftest import NOON, TENANT
from tests.billing.limits_builders import CREDIT, MEMBERSHIP

MakeEvent = Callable[..., UsageEvent]
DECEMBER = datetime(2026, 12, 20, tzinfo=UTC)
NEW_YEAR = datetime(2027, 1, 2, tzinfo=UTC)
A_YEAR_LATER = datetime(2027, 12, 1, tzinfo=UTC)


@pytest.fixture
def contract_id(transact) -> int:
    with transact() as conn:
        return store.add_contract(conn, TENANT, MEMBERSHIP)


@pytest.fixture
def happen(transact, make_event: MakeEvent) -> Callable[..., tuple[str, str]]:
    """`happen(3, "screening", member="m1")`: (outcome, reason) of the third event."""

    def record(number: int, product: str, *, member: str | None = "m1", **changes: object) -> tuple[str, str]:
        dimensions = {"member": member} if member else {}
        with transact() as conn:
            event = make_event(number, product=product, dimensions=dimensions, **changes)
            decision = meter.record(conn, event, received_at=event.occurred_at)
        return str(decision.outcome), str(decision.reason_code)

    return record


def package(text: str = MEMBERSHIP) -> Package:
    return contracts.load(text).limits.packages[0]


def balance(
    transact, contract_id: int, owner: str = "m1", at: datetime = DECEMBER, text: str = MEMBERSHIP
) -> Decimal:
    with transact() as conn:
        return wallet.balance(conn, TENANT, contract_id, package(text), owner, at=at)


def issue(transact, contract_id: int, at: datetime = NOON, now: datetime = NEW_YEAR) -> statement.Statement:
    with transact() as conn:
        return statement.issue(conn, TENANT, contract_id, at, now=now)


def accounts(owner) -> dict[str, int]:
    rows = owner.execute(
        "SELECT account, sum(amount_minor)::int AS minor FROM billing.posting GROUP BY account"
    )
    return {row["account"]: row["minor"] for row in rows if row["minor"]}


def sound(transact) -> None:
    with transact() as conn:
        assert ledger.check(conn, TENANT) == []


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


class TestBooks:
    def test_a_purchase_is_no_revenue_and_each_use_is_a_third_of_it(
        self, transact, contract_id, happen, owner
    ) -> None:
        happen(1, "member_year")
        happen(2, "screening")
        issued = issue(transact, contract_id)
        assert (issued.subtotal.amount_minor, dict(issued.not_charged)) == (120000, {"prepaid": 1})
        assert accounts(owner) == {
            "receivable:insurer": 127200,
            "tax_payable:VAT": -7200,
            "prepaid:insured-2026": -80000,
            "revenue": -40000,
        }
        happen(3, "screening", occurred_at=DECEMBER)
        issue(transact, contract_id, at=DECEMBER)
        assert accounts(owner)["prepaid:insured-2026"] == -40000
        with transact() as conn:
            (december,) = wallet_books.roll_forward(
                conn,
                TENANT,
                start=datetime(2026, 11, 30, 16, tzinfo=UTC),
                end=datetime(2026, 12, 31, 16, tzinfo=UTC),
            )
        assert [str(one) for one in (december.opening, december.bought, december.used, december.expired)] == [
            "800.00", "0.00", "400.00", "0.00",
        ]  # fmt: skip
        assert str(december.closing) == "400.00"
        sound(transact)

    def test_what_is_left_at_the_expiry_is_breakage(self, transact, contract_id, happen, owner) -> None:
        happen(1, "member_year")
        happen(2, "screening")
        issue(transact, contract_id)
        with transact() as conn:
            assert wallet.expire(conn, TENANT, now=DECEMBER) == 0
            assert wallet.expire(conn, TENANT, now=A_YEAR_LATER) == 1
            assert wallet.expire(conn, TENANT, now=A_YEAR_LATER) == 0
            values = {"until": A_YEAR_LATER, "effective_at": A_YEAR_LATER, "booked_at": A_YEAR_LATER}
            revenue, breakage = wallet_books.recognise(conn, TENANT, contract_id, **values)
            again = wallet_books.recognise(conn, TENANT, contract_id, **values)
        assert [str(one) for one in (revenue, breakage, *again)] == ["0.00", "800.00", "0.00", "0.00"]
        assert "prepaid:insured-2026" not in accounts(owner)
        assert accounts(owner)["breakage"] == -80000
        assert happen(9, "screening", occurred_at=DECEMBER)[0] == "billable"
        sound(transact)

    def test_a_late_purchase_and_its_uses_come_with_the_correction(
        self, transact, contract_id, happen, owner
    ) -> None:
        happen(1, "member_year")
        issue(transact, contract_id)
        happen(2, "member_year", member="m2")
        happen(3, "screening", member="m2", occurred_at=DECEMBER)
        issue(transact, contract_id, at=DECEMBER)
        assert accounts(owner)["prepaid:insured-2026"] == -(120000 + 80000)
        values = owner.execute("SELECT amount_minor FROM billing.wallet_value ORDER BY lot_id").fetchall()
        assert [row["amount_minor"] for row in values] == [120000, 120000]
        sound(transact)

    def test_a_use_that_is_taken_back_returns_to_its_lot(self, transact, contract_id, happen, owner) -> None:
        happen(1, "member_year")
        happen(2, "screening")
        with transact() as conn:
            row = owner.execute(
                "SELECT ingest_sequence FROM billing.usage_event WHERE product = 'screening'"
            ).fetchone()
            wallet.give_back(conn, TENANT, row["ingest_sequence"], NEW_YEAR)
            wallet.give_back(conn, TENANT, row["ingest_sequence"], NEW_YEAR)
        assert balance(transact, contract_id) == 3
        issue(transact, contract_id)
        assert accounts(owner)["prepaid:insured-2026"] == -120000
        sound(transact)

    def test_a_purchase_that_is_taken_back_ends_its_lot_unless_it_was_used(
        self, transact, contract_id, happen, owner
    ) -> None:
        happen(1, "member_year")
        happen(2, "member_year", member="m2")
        happen(3, "screening")
        one, two = (
            row["ingest_sequence"]
            for row in owner.execute("SELECT * FROM billing.wallet_lot ORDER BY lot_id")
        )
        with transact() as conn, pytest.raises(PackageInUse):
            wallet.give_back(conn, TENANT, one, NEW_YEAR)
        with transact() as conn:
            wallet.give_back(conn, TENANT, two, NEW_YEAR)
        assert balance(transact, contract_id, "m2") == 0

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        price=st.integers(1, 10**7),
        size=st.integers(1, 7),
        uses=st.lists(st.booleans(), max_size=9),
    )
    def test_every_lot_gives_exactly_what_was_paid_for_it(
        self, transact, make_event, owner, price: int, size: int, uses: list[bool]
    ) -> None:
        """Whatever the price, the size and when statements fall between the uses; the rest is breakage."""
        tenant = f"t-{price}-{size}-{''.join(str(int(one)) for one in uses)}"
        text = MEMBERSHIP.replace("1200.00", f"{Decimal(price).scaleb(-2):f}").replace(
            "quantity: 3", f"quantity: {size}"
        )
        with transact(tenant) as conn:
            contract_id = store.add_contract(conn, tenant, text)
            meter.record(
                conn, make_event(1, tenant=tenant, product="member_year", dimensions={"member": "m"})
            )
            at = NOON + timedelta(hours=1)
            for number, is_issued in enumerate(uses, start=2):
                at += timedelta(days=20)
                event = make_event(
                    number, tenant=tenant, product="screening", dimensions={"member": "m"}, occurred_at=at
                )
                meter.record(conn, event, received_at=at)
                if is_issued:
                    statement.issue(conn, tenant, contract_id, at - timedelta(days=31), now=at)
            for month in statement.unissued_periods(conn, tenant, contract_id, A_YEAR_LATER):
                statement.issue(conn, tenant, contract_id, month, now=A_YEAR_LATER)
            wallet.expire(conn, tenant, now=A_YEAR_LATER)
            wallet_books.recognise(
                conn,
                tenant,
                contract_id,
                until=A_YEAR_LATER,
                effective_at=A_YEAR_LATER,
                booked_at=A_YEAR_LATER,
            )
            assert ledger.check(conn, tenant) == []
            left = conn.execute(
                "SELECT coalesce(sum(amount_minor), 0)::int AS minor FROM billing.posting "
                "WHERE account LIKE 'prepaid%%'"
            ).fetchone()
            recognised = conn.execute(
                "SELECT sum(amount_minor)::int AS minor FROM billing.wallet_recognition"
            ).fetchone()
        assert (left["minor"], recognised["minor"]) == (0, price)


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (("sold_by: member_year", "sold_by: nothing"), 20, "`sold_by` has no rate"),
        (("quantity: 3", "quantity: 0"), 22, "`quantity` needs a number"),
        (("valid_months: 12", "valid_months: 12\n    valid_days: 3"), 19, "either `valid_days` or"),
        (("product: screening, units: 1", "product: member_year, units: 1"), 24, "own purchase"),
        (("owner: member", "owner: nobody"), 21, "must be one of: contract, member"),
        (("valid_months: 12", "valid_months: 12\n    colour: red"), 26, "`colour` is not known"),
        (("unit_price: 500.00", "unit_price: 500.00}\n    free: {a: 1"), 18, "`free` is not known"),
    ],
)
def test_what_is_wrong_in_the_section_is_told_with_its_line(
    change: tuple[str, str], line: int, message: str
) -> None:
    with pytest.raises(ContractError) as caught:
        contracts.load(MEMBERSHIP.replace(*change, 1))
    assert [problem.line for problem in caught.value.problems if message in problem.message] == [line]
