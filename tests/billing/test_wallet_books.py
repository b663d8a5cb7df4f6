"""The money of prepaid packages: paid ahead, revenue with each use, breakage at expiry, nothing lost between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.books import ledger
from billing.claims import credit_notes
from billing.contracts import store
from billing.guarding import wallet, wallet_books
from billing.guarding.limits_errors import PackageInUse
from billing.metering import meter
from billing.statements import statement
from tests.billing.conftest import NOON, TENANT
from tests.billing.limits_builders import (
    A_YEAR_LATER,
    DECEMBER,
    MEMBERSHIP,
    NEW_YEAR,
    accounts,
    balance,
    issue,
    sound,
)


@pytest.fixture
def contract_id(transact) -> int:
    with transact() as conn:
        return store.add_contract(conn, TENANT, MEMBERSHIP)


def test_a_purchase_is_no_revenue_and_each_use_is_a_third_of_it(transact, contract_id, happen, owner) -> None:
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


def test_what_is_left_at_the_expiry_is_breakage(transact, contract_id, happen, owner) -> None:
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


def test_a_late_purchase_and_its_uses_come_with_the_correction(transact, contract_id, happen, owner) -> None:
    happen(1, "member_year")
    issue(transact, contract_id)
    happen(2, "member_year", member="m2")
    happen(3, "screening", member="m2", occurred_at=DECEMBER)
    issue(transact, contract_id, at=DECEMBER)
    assert accounts(owner)["prepaid:insured-2026"] == -(120000 + 80000)
    values = owner.execute("SELECT amount_minor FROM billing.wallet_value ORDER BY lot_id").fetchall()
    assert [row["amount_minor"] for row in values] == [120000, 120000]
    sound(transact)


def test_a_use_that_is_taken_back_returns_to_its_lot(transact, contract_id, happen, owner) -> None:
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
    transact, contract_id, happen, owner
) -> None:
    happen(1, "member_year")
    happen(2, "member_year", member="m2")
    happen(3, "screening")
    one, two = (
        row["ingest_sequence"] for row in owner.execute("SELECT * FROM billing.wallet_lot ORDER BY lot_id")
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
    transact, make_event, owner, price: int, size: int, uses: list[bool]
) -> None:
    """Whatever the price, the size and when statements fall between the uses; the rest is breakage."""
    tenant = f"t-{price}-{size}-{''.join(str(int(one)) for one in uses)}"
    text = MEMBERSHIP.replace("1200.00", f"{Decimal(price).scaleb(-2):f}").replace(
        "quantity: 3", f"quantity: {size}"
    )
    with transact(tenant) as conn:
        contract_id = store.add_contract(conn, tenant, text)
        meter.record(conn, make_event(1, tenant=tenant, product="member_year", dimensions={"member": "m"}))
        at = NOON + timedelta(hours=1)
        for number, is_issued in enumerate(uses, start=2):
            at += timedelta(days=20)
            event = make_event(
                number, tenant=tenant, product="screening", dimensions={"member": "m"}, occurred_at=at
            )
            meter.record(conn, event, received_at=at)
            if is_issued:
                statement.issue(conn, tenant, contract_id, at - timedelta(days=31), now=at, nil=True)
        for month in statement.unissued_periods(conn, tenant, contract_id, A_YEAR_LATER):
            statement.issue(conn, tenant, contract_id, month, now=A_YEAR_LATER, nil=True)
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


def test_a_credit_takes_back_what_is_left_and_the_rest_was_revenue(
    transact, contract_id, happen, owner
) -> None:
    """Of 1,200 paid 400 are used; a credit of 1,000 takes the 800 that are left and 200 of the revenue."""
    happen(1, "member_year")
    happen(2, "screening")
    issued = issue(transact, contract_id)
    with transact() as conn:
        credit_notes.issue(
            conn,
            TENANT,
            issued.statement_id,
            [(1, 100000)],
            reason="left the plan",
            by="finance",
            now=NEW_YEAR,
        )
    assert "prepaid:insured-2026" not in accounts(owner)
    assert accounts(owner)["revenue"] == -20000
    happen(3, "screening", occurred_at=DECEMBER)
    issue(transact, contract_id, at=DECEMBER)
    assert "prepaid:insured-2026" not in accounts(owner)
    sound(transact)
