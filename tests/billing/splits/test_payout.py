"""Two people let a payout go, never its payee; what a rail did is booked, and advances are recouped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest

from billing.cash.payment_errors import RailAddressMissing, RailOperationNotAllowed
from billing.money import Money
from billing.rails import rail_operation
from billing.rails.rail import Kind, Outcome, State
from billing.rails.rail_worker import begin_anew, take_to
from billing.splits import payout, payout_statement
from billing.splits.errors import PayoutNotFound, PayoutRefused
from billing.splits.payout_statement import Account

TENANT = "hospital-a"
NOVEMBER = datetime(2026, 11, 20, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 20, tzinfo=UTC)
NEW_YEAR = datetime(2027, 1, 2, tzinfo=UTC)
DEVELOPER = Account(TENANT, "radmeter-imaging", "dev-a", "CNY")
APP = """
splits:
  - split: app
    parties:
      - {party: dev-a, share: 0.70}
      - {party: radmeter-imaging, residual: true}
"""
BILLED = APP.replace("parties:", "basis: billed\n    parties:", 1)


def yuan(minor: int) -> Money:
    return Money(minor, "CNY")


GUARANTEED = BILLED.replace("share: 0.70}", "share: 0.70, guarantee: 100.00, advance: 150.00}")


@pytest.fixture
def rail_says(transact) -> Callable[..., str]:
    """Takes the rail's operation of payout 1 through these states; gives the payout's state."""

    def move(*states: State, kind: Kind = Kind.PAY_OUT) -> str:
        for state in states:
            with transact() as conn:
                operation = rail_operation.of_subject(conn, TENANT, kind, 1)
                assert operation is not None
                take_to(conn, operation, Outcome(state, detail="no such account"), now=NEW_YEAR)
        with transact() as conn:
            return payout.get(conn, TENANT, 1).state

    return move


def test_a_payout_that_came_back_is_owed_again(transact, sign, bill, state_payout, send, balance) -> None:
    bill(sign(BILLED), 1)
    state_payout()
    sent = send()
    with transact() as conn:
        payout.take_back(conn, TENANT, sent.payout_id, rail="bank", reason="account closed", now=NEW_YEAR)
    assert (balance("split_payable:dev-a"), balance("cash:bank")) == (-7_000, 0)
    again = state_payout(at=DECEMBER)
    assert (again.paid, again.to_pay) == (yuan(0), yuan(7_000))


def test_nobody_lets_go_of_money_alone_or_to_themselves(
    transact, addressed, sign, bill, state_payout, owner
) -> None:
    bill(sign(BILLED), 1)
    state_payout()
    for by, of_party, why in (
        ("clerk", None, "asked for this payout"),
        ("dev-a", None, "the payee"),
        ("bob", "dev-a", "the payee"),
    ):
        with transact() as conn, pytest.raises(PayoutRefused, match=why):
            payout.approve(conn, TENANT, 1, by=by, of_party=of_party, now=NEW_YEAR)
    for change in (
        "approved_by = 'clerk'",
        "approved_by = 'dev-a'",
        "approved_by = 'x', approver_party = 'dev-a'",
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            owner.execute(f"UPDATE billing.payout SET state = 'approved', revision = revision + 1, {change}")
    for change in ("state = 'confirmed'", "amount_minor = 1", "party_id = 'boss'", "requested_by = 'x'"):
        with pytest.raises(psycopg.errors.RestrictViolation):
            owner.execute(f"UPDATE billing.payout SET {change}")
    with transact() as conn, pytest.raises(RailAddressMissing, match="where dev-a is to be paid"):
        payout.approve(conn, TENANT, 1, by="boss", of_party="radmeter-imaging", now=NEW_YEAR)
    addressed()
    with transact() as conn:
        payout.approve(conn, TENANT, 1, by="boss", of_party="radmeter-imaging", now=NEW_YEAR)
        with pytest.raises(PayoutRefused, match="is approved"):
            payout.approve(conn, TENANT, 1, by="boss", now=NEW_YEAR)
        with pytest.raises(PayoutNotFound):
            payout.get(conn, TENANT, 2)


def test_a_failed_payout_holds_its_amount_until_it_is_given_up(
    transact, addressed, rail_says, sign, bill, state_payout
) -> None:
    bill(sign(BILLED), 1)
    state_payout()
    addressed()
    with transact() as conn:
        payout.approve(conn, TENANT, 1, by="boss", now=NEW_YEAR)
    assert rail_says(State.SENT, State.FAILED) == "failed"
    with transact() as conn:
        assert payout.get(conn, TENANT, 1).detail == "no such account"
        assert payout_statement.draft(conn, DEVELOPER, DECEMBER).to_pay == yuan(0)
        payout.cancel(conn, TENANT, 1, by="boss", reason="account is gone", now=NEW_YEAR)
        assert payout_statement.draft(conn, DEVELOPER, DECEMBER).to_pay == yuan(7_000)


def test_what_a_rail_paid_after_all_is_booked_also_where_it_was_given_up(
    transact, addressed, rail_says, sign, bill, state_payout, balance
) -> None:
    bill(sign(BILLED), 1)
    state_payout()
    addressed()
    with transact() as conn:
        payout.approve(conn, TENANT, 1, by="boss", now=NEW_YEAR)
    rail_says(State.SENT, State.FAILED)
    with transact() as conn:
        payout.cancel(conn, TENANT, 1, by="boss", reason="asked anew", now=NEW_YEAR)
    assert rail_says(State.CONFIRMED) == "confirmed"
    assert (balance("split_payable:dev-a"), balance("cash:bank")) == (0, -7_000)


def test_an_advance_is_recouped_before_anything_is_paid(
    transact, sign, bill, state_payout, send, balance
) -> None:
    contract_id = sign(GUARANTEED)
    with transact() as conn:
        asked = payout.request_advance(conn, TENANT, contract_id, "app", "dev-a", by="clerk", now=NOVEMBER)
        assert (asked.kind, asked.amount) == ("advance", yuan(15_000))
        with pytest.raises(PayoutRefused, match="asked for before"):
            payout.request_advance(conn, TENANT, contract_id, "app", "dev-a", by="clerk", now=NOVEMBER)
        with pytest.raises(PayoutRefused, match="no advance"):
            payout.request_advance(conn, TENANT, contract_id, "app", "treasury", by="clerk", now=NOVEMBER)
    send(now=NOVEMBER)
    assert (balance("advance:dev-a"), balance("cash:bank")) == (15_000, -15_000)
    bill(contract_id, 1)
    november = state_payout()
    assert (november.recouped, november.advance_outstanding, november.to_pay) == (
        yuan(-10_000),
        yuan(5_000),
        yuan(0),
    )
    bill(contract_id, 2, at=DECEMBER)
    december = state_payout(at=DECEMBER)
    assert (december.recouped, december.to_pay) == (yuan(-5_000), yuan(9_000))
    assert (balance("advance:dev-a"), balance("split_payable:dev-a")) == (0, -9_000)
    with transact() as conn:  # it comes back after all: what was recouped of it is owed again
        payout.take_back(conn, TENANT, asked.payout_id, rail="bank", reason="bank", now=NEW_YEAR)
    assert (balance("advance:dev-a"), balance("split_payable:dev-a")) == (0, -24_000)
    with transact() as conn:
        january = payout_statement.draft(conn, DEVELOPER, datetime(2027, 1, 10, tzinfo=UTC))
    assert (january.paid, january.pending, january.to_pay) == (yuan(15_000), yuan(9_000), yuan(15_000))
    assert (january.recouped, january.advance_outstanding) == (yuan(0), yuan(0))


def test_an_advance_that_came_back_is_not_outstanding_and_can_be_paid_again(
    transact, sign, send, balance
) -> None:
    contract_id = sign(GUARANTEED)
    with transact() as conn:
        payout.request_advance(conn, TENANT, contract_id, "app", "dev-a", by="clerk", now=NOVEMBER)
    sent = send(now=NOVEMBER)
    with transact() as conn:
        payout.take_back(conn, TENANT, sent.payout_id, rail="bank", reason="account closed", now=NOVEMBER)
    assert [balance(name) for name in ("advance:dev-a", "cash:bank", "split_payable:dev-a")] == [0, 0, 0]
    with transact() as conn:
        payout.request_advance(conn, TENANT, contract_id, "app", "dev-a", by="clerk", now=NOVEMBER)


def test_what_the_rail_does_with_a_payout_is_booked(
    transact, addressed, rail_says, sign, bill, state_payout, balance
) -> None:
    bill(sign(BILLED), 1)
    state_payout()
    addressed()

    with transact() as conn:
        payout.approve(conn, TENANT, 1, by="boss", now=NEW_YEAR)
    assert rail_says(State.SENT, State.FAILED) == "failed"
    with transact() as conn:
        begin_anew(conn, TENANT, 1, now=NEW_YEAR)
        with pytest.raises(PayoutRefused, match="begun anew and is intent"):
            payout.cancel(conn, TENANT, 1, by="boss", reason="changed my mind", now=NEW_YEAR)
    assert rail_says(State.SENT, State.CONFIRMED) == "confirmed"
    assert (balance("split_payable:dev-a"), balance("cash:bank")) == (0, -7_000)
    assert rail_says(State.FAILED) == "returned"
    assert (balance("split_payable:dev-a"), balance("cash:bank")) == (-7_000, 0)
    with transact() as conn, pytest.raises(RailOperationNotAllowed, match="owed anew"):
        begin_anew(conn, TENANT, 1, now=NEW_YEAR)
    assert rail_says(State.CONFIRMED) == "confirmed"
    with transact() as conn:
        payout.ask_back(conn, TENANT, 1, now=NEW_YEAR)
    assert rail_says(State.SENT, State.CONFIRMED, kind=Kind.TAKE_BACK) == "returned"
    assert balance("split_payable:dev-a") == -7_000
