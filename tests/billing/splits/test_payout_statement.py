"""What is collected becomes payable, and payout statements tell of it, once."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from billing.cash import payments
from billing.claims import credit_notes
from billing.money import Money
from billing.splits import payout, payout_statement
from billing.splits.errors import NothingToState, PayoutPeriodRefused
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


def test_a_share_is_released_as_the_customer_pays_and_withheld_when_the_payment_is_taken_back(
    transact, sign, bill, pay, balance
) -> None:
    issued = bill(sign(APP), 1)
    assert (balance("split_accrued:dev-a"), balance("split_payable:dev-a")) == (-7_000, 0)
    pay(issued.statement_id, 3_533)  # a third of 106.00
    assert balance("split_payable:dev-a") == -2_333
    second = pay(issued.statement_id, 3_533)
    assert balance("split_payable:dev-a") == -4_666
    pay(issued.statement_id, 3_534)
    assert (balance("split_accrued:dev-a"), balance("split_payable:dev-a")) == (0, -7_000)
    with transact() as conn:
        payments.unallocate(conn, TENANT, second.allocation_id, reason="recalled", by="clerk", now=NEW_YEAR)
    assert balance("split_payable:dev-a") == -4_667


def test_credit_after_payment_brings_the_share_to_what_is_left(transact, sign, bill, pay, balance) -> None:
    issued = bill(sign(APP), 2)
    pay(issued.statement_id, 21_200)
    with transact() as conn:
        credit_notes.issue(
            conn, TENANT, issued.statement_id, [(1, 10_000)], reason="one too many", by="clerk", now=NEW_YEAR
        )
    assert (balance("split_accrued:dev-a"), balance("split_payable:dev-a")) == (0, -7_000)


def test_a_statement_tells_of_what_is_payable_once_and_asks_for_its_payout(
    transact, sign, bill, pay, balance, state_payout, send
) -> None:
    issued = bill(sign(APP), 3)
    pay(issued.statement_id, 10_600)
    with transact() as conn:
        draft = payout_statement.draft(conn, DEVELOPER, NOVEMBER)
        assert payout_statement.accounts(conn, TENANT) == [DEVELOPER]
    stated = state_payout()
    assert stated.number == "RM-HOSPITAL-A-PO-000001"
    assert stated.evolve(payout_statement_id=None, number=None, issued_at=None) == draft
    [line] = stated.lines
    assert (line.quantity, line.base, line.earned, line.amount, line.waiting) == (
        3, yuan(30_000), yuan(21_000), yuan(7_000), yuan(14_000),
    )  # fmt: skip
    assert (stated.opening, stated.closing, stated.to_pay) == (yuan(0), yuan(7_000), yuan(7_000))
    assert state_payout() == stated
    with transact() as conn:
        assert payout_statement.get(conn, TENANT, stated.payout_statement_id or 0) == stated
    sent = send()
    assert (sent.state, sent.approved_by, sent.amount) == ("confirmed", "boss", yuan(7_000))
    assert (balance("split_payable:dev-a"), balance("cash:bank")) == (0, 10_600 - 7_000)
    pay(issued.statement_id, 21_200)
    following = state_payout(at=DECEMBER)
    assert (following.opening, following.paid, following.shares) == (yuan(7_000), yuan(-7_000), yuan(14_000))
    assert (following.to_pay, following.lines[0].released_before) == (yuan(14_000), yuan(7_000))
    assert following.number == "RM-HOSPITAL-A-PO-000002"


def test_a_negative_balance_is_carried_forward_and_never_paid(
    transact, sign, bill, state_payout, send, balance
) -> None:
    contract_id = sign(BILLED)
    november = bill(contract_id, 1)
    state_payout()
    send()
    with transact() as conn:
        credit_notes.issue(
            conn, TENANT, november.statement_id, None, reason="not done", by="clerk", now=NEW_YEAR
        )
    december = state_payout(at=DECEMBER)
    assert (december.closing, december.to_pay) == (yuan(-7_000), yuan(0))
    bill(contract_id, 3, at=datetime(2027, 1, 10, tzinfo=UTC), now=datetime(2027, 2, 2, tzinfo=UTC))
    january = state_payout(at=datetime(2027, 1, 10, tzinfo=UTC), now=datetime(2027, 2, 3, tzinfo=UTC))
    assert (january.opening, january.shares, january.to_pay) == (yuan(-7_000), yuan(21_000), yuan(14_000))


def test_what_is_on_its_way_is_not_paid_twice(transact, sign, bill, state_payout, balance) -> None:
    contract_id = sign(BILLED)
    bill(contract_id, 1)
    state_payout()
    bill(contract_id, 2, at=DECEMBER)
    december = state_payout(at=DECEMBER)
    assert (december.closing, december.pending, december.to_pay) == (yuan(21_000), yuan(7_000), yuan(14_000))
    with transact() as conn:
        second, first = payout.list_payouts(conn, TENANT)
        payout.cancel(conn, TENANT, first.payout_id, by="boss", reason="wrong bank", now=NEW_YEAR)
        january = payout_statement.draft(conn, DEVELOPER, datetime(2027, 1, 10, tzinfo=UTC))
    assert (second.amount, january.to_pay) == (yuan(14_000), yuan(7_000))


def test_a_payout_statement_follows_the_last_and_a_month_that_ended(
    transact, sign, bill, state_payout
) -> None:
    contract_id = sign(BILLED)
    with pytest.raises(NothingToState):
        state_payout()
    bill(contract_id, 1)
    with pytest.raises(PayoutPeriodRefused, match="ends on 2026-12-01"):
        state_payout(now=NOVEMBER)
    state_payout(at=DECEMBER)
    bill(contract_id, 1, at=DECEMBER)
    with pytest.raises(PayoutPeriodRefused, match="later month"):
        state_payout()


def test_a_guarantee_is_topped_up_once_for_each_billed_period_also_without_usage(
    transact, sign, bill, state_payout, balance
) -> None:
    contract_id = sign(GUARANTEED)
    bill(contract_id, 1)
    november = state_payout()
    [promise] = november.guarantees
    assert (promise.guaranteed, promise.earned, promise.top_up) == (yuan(10_000), yuan(7_000), yuan(3_000))
    assert (november.to_pay, balance("split_payable:dev-a")) == (yuan(10_000), -10_000)
    bill(contract_id, 0, at=DECEMBER)
    december = state_payout(at=DECEMBER)
    assert ([one.top_up for one in december.guarantees], december.closing) == ([yuan(10_000)], yuan(20_000))
    with transact() as conn:
        assert payout_statement.draft(conn, DEVELOPER, datetime(2027, 1, 9, tzinfo=UTC)).guarantees == ()


def test_an_issued_payout_statement_takes_nothing_more_and_must_add_up(
    transact, sign, bill, state_payout, owner
) -> None:
    contract_id = sign(BILLED)
    bill(contract_id, 1)
    state_payout()
    bill(contract_id, 1, at=DECEMBER)
    insert = """INSERT INTO billing.payout_statement_movement
        SELECT tenant, max(movement_id), 1 FROM billing.party_movement GROUP BY tenant"""
    with pytest.raises(psycopg.errors.RestrictViolation, match="takes nothing more"):
        owner.execute(insert)
    columns = """INSERT INTO billing.payout_statement SELECT nextval('billing.payout_statement_id'), tenant, seller_id,
        party_id, currency, period_start + 31, period_end + 31, sequence_number + 1, number || 'x', {0}, {1},
        {0} + {1}, 0, greatest(0, {0} + {1}), document, document_sha256, issued_by, issued_at
        FROM billing.payout_statement"""
    for opening, moved in ((0, 0), (7_000, 1)):
        with pytest.raises(psycopg.errors.CheckViolation, match="continues the last one"):
            owner.execute(columns.format(opening, moved))
