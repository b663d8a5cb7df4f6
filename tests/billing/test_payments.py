"""What came in is booked once, pays what it says, and never more than it brought or a statement asks."""

from __future__ import annotations

import threading
from datetime import timedelta

import psycopg
import pytest

from billing.books import accounting, ledger
from billing.cash import give_back, payments
from billing.cash.payment_errors import (
    AllocationTooLarge,
    PayerNotFound,
    PaymentConflict,
    PaymentNotFound,
    PaymentRefused,
)
from billing.claims import credit_notes
from billing.errors import CurrencyMismatch, StatementNotFound
from billing.money import Money
from tests.billing.payment_seeds import NOW, PAYER, TENANT, allocate, balance, cny, receive


def test_a_statement_is_open_then_partly_paid_then_paid(transact, owing) -> None:
    with transact() as conn:
        assert payments.statement_account(conn, TENANT, owing[0]).status == "open"
        payment = receive(conn, TENANT, PAYER, 10000)
        allocate(conn, payment.payment_id, owing[0])
        account = payments.statement_account(conn, TENANT, owing[0])
        assert (account.status, str(account.still_open)) == ("partly paid", "112.00")
        second = receive(conn, TENANT, PAYER, 11200, "line-2")
        allocate(conn, second.payment_id, owing[0])
        assert payments.statement_account(conn, TENANT, owing[0]).status == "paid"
        assert payments.open_amount(conn, TENANT, owing[0]) == cny(0)
        assert [one.number[-1] for one in payments.open_statements(conn, TENANT)] == ["2"]
        assert balance(conn, "receivable:demo-hospital") == 10600
        assert balance(conn, "cash:bank") == 21200
        assert ledger.check(conn, TENANT) == []


def test_what_is_over_stays_unapplied_and_pays_the_next_statement(transact, owing) -> None:
    with transact() as conn:
        payment = receive(conn, TENANT, PAYER, 25000)
        assert allocate(conn, payment.payment_id, owing[0]).amount == cny(21200)
        assert payments.get_payment(conn, TENANT, payment.payment_id).unapplied == cny(3800)
        assert balance(conn, "unapplied_cash:demo-hospital") == -3800
        allocate(conn, payment.payment_id, owing[1])
        assert payments.list_payments(conn, TENANT, only_unapplied=True) == []
        assert payments.open_amount(conn, TENANT, owing[1]) == cny(6800)
        assert ledger.check(conn, TENANT) == []


def test_the_fee_that_a_bank_keeps_is_our_cost_not_the_payers(transact, owing) -> None:
    with transact() as conn:
        payment = receive(conn, TENANT, PAYER, 21200, fee=cny(1500))
        allocate(conn, payment.payment_id, owing[0])
        assert balance(conn, "cash:bank") == 19700
        assert balance(conn, "rail_fee:bank") == 1500
        assert balance(conn, "receivable:demo-hospital") == 10600


def test_the_same_payment_again_is_the_first_and_another_with_its_id_is_refused(transact, owing) -> None:
    with transact() as conn:
        first = receive(conn, TENANT, PAYER, 10000)
    with transact() as conn:
        assert receive(conn, TENANT, PAYER, 10000, now=NOW + timedelta(days=1)) == first
        with pytest.raises(PaymentConflict):
            receive(conn, TENANT, PAYER, 10001)
        assert receive(conn, TENANT, PAYER, 10001, source="stripe").payment_id != first.payment_id
        assert balance(conn, "cash:bank") == 10000


@pytest.mark.parametrize("amount", [0, -1, 10**19])
def test_a_payment_of_nothing_or_of_more_than_there_is_is_refused(transact, owing, amount: int) -> None:
    with transact() as conn, pytest.raises((PaymentRefused, psycopg.errors.NumericValueOutOfRange)):
        receive(conn, TENANT, PAYER, amount)


def test_a_payer_that_no_contract_names_is_refused(transact, owing) -> None:
    with transact() as conn, pytest.raises(PayerNotFound, match="check the spelling"):
        receive(conn, TENANT, "nobody", 100)


def test_no_more_is_allocated_than_both_sides_have(transact, owing) -> None:
    with transact() as conn:
        small = receive(conn, TENANT, PAYER, 5000)
        large = receive(conn, TENANT, PAYER, 50000, "line-2")
        for payment, amount in ((small, 5001), (large, 21201), (large, 0), (large, -1)):
            with pytest.raises(AllocationTooLarge):
                allocate(conn, payment.payment_id, owing[0], amount)
        dollars = receive(conn, TENANT, PAYER, 1, "line-3", source="bank")
        assert dollars.unapplied == cny(1)
        with pytest.raises(PaymentNotFound):
            allocate(conn, 999, owing[0])
        with pytest.raises(StatementNotFound):
            allocate(conn, small.payment_id, 999)


def test_dollars_do_not_pay_a_statement_in_yuan(transact, owing) -> None:
    with transact() as conn:
        payment = payments.receive(
            conn, TENANT, payer_id=PAYER, amount=Money(21200, "USD"), source="bank", external_id="usd",
            received_at=NOW, by="lin", now=NOW,
        )  # fmt: skip
        with pytest.raises(CurrencyMismatch):
            allocate(conn, payment.payment_id, owing[0])


def test_an_allocation_is_taken_back_in_parts_and_never_beyond_itself(transact, owing) -> None:
    def take(conn, amount: int | None) -> payments.Allocation:
        return payments.unallocate(
            conn, TENANT, allocation.allocation_id, amount, reason="wrong statement", by="lin", now=NOW
        )

    with transact() as conn:
        payment = receive(conn, TENANT, PAYER, 21200)
        allocation = allocate(conn, payment.payment_id, owing[0])
        assert take(conn, 1200).amount == cny(-1200)
        assert payments.open_amount(conn, TENANT, owing[0]) == cny(1200)
        with pytest.raises(PaymentRefused):
            take(conn, 20001)
        take(conn, None)
        with pytest.raises(PaymentRefused):
            take(conn, None)
        assert payments.statement_account(conn, TENANT, owing[0]).status == "open"
        assert payments.get_payment(conn, TENANT, payment.payment_id).unapplied == cny(21200)
        assert balance(conn, "receivable:demo-hospital") == 31800
        assert ledger.check(conn, TENANT) == []


def test_two_at_once_never_pay_a_statement_twice(transact, owing) -> None:
    with transact() as conn:
        ids = [receive(conn, TENANT, PAYER, 21200, f"line-{n}").payment_id for n in range(6)]
    refused = []

    def pay(payment_id: int) -> None:
        try:
            with transact() as conn:
                allocate(conn, payment_id, owing[0], 21200)
        except AllocationTooLarge:
            refused.append(payment_id)

    threads = [threading.Thread(target=pay, args=(one,)) for one in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 5
    with transact() as conn:
        assert payments.open_amount(conn, TENANT, owing[0]) == cny(0)
        assert ledger.check(conn, TENANT) == []


INSERT = """INSERT INTO billing.payment_allocation
    (tenant, payment_id, statement_id, amount_minor, reverses_id, reason, allocated_by, allocated_at)
    VALUES ('hospital-a', %s, %s, %s, %s, '', 'x', now())"""


def test_whoever_writes_past_the_code_is_stopped_at_the_commit(transact, owing) -> None:
    """The deferred triggers are the second wall, also for two transactions that do not see each other."""
    with transact() as conn:
        rich = receive(conn, TENANT, PAYER, 50000).payment_id
        poor = receive(conn, TENANT, PAYER, 100, "line-2").payment_id
        allocation = allocate(conn, rich, owing[0], 200).allocation_id
    for values in (
        (poor, owing[0], 101, None),
        (rich, owing[0], 21001, None),
        (rich, owing[0], -201, allocation),
    ):
        with pytest.raises(psycopg.errors.CheckViolation), transact() as conn:
            conn.execute(INSERT, values)

    def write_while_another_does(other) -> None:
        with transact() as conn:
            conn.execute(INSERT, (rich, owing[1], 10600, None))
            other.commit()

    with transact() as other:
        other.execute(INSERT, (rich, owing[1], 10600, None))
        with pytest.raises(psycopg.errors.CheckViolation):
            write_while_another_does(other)


def test_nothing_of_it_is_edited_or_deleted(transact, owner, owing) -> None:
    with transact() as conn:
        payment = receive(conn, TENANT, PAYER, 50000)
        allocate(conn, payment.payment_id, owing[0])
        give_back.write_off(
            conn, TENANT, owing[1], reason="closed", requested_by="lin", approved_by="wang", now=NOW
        )
    for table in ("payment", "payment_allocation", "write_off"):
        for change in (f"UPDATE billing.{table} SET amount_minor = 1", f"DELETE FROM billing.{table}"):
            with pytest.raises(psycopg.errors.RestrictViolation):
                owner.execute(change)


def test_a_credit_after_the_payment_leaves_money_to_give_back(transact, owing) -> None:
    with transact() as conn:
        payment = receive(conn, TENANT, PAYER, 21200)
        allocation = allocate(conn, payment.payment_id, owing[0])
        credit_notes.issue(
            conn, TENANT, owing[0], None, reason="withdrawn", by="lin", now=NOW, approved_by="wang"
        )
        assert payments.open_amount(conn, TENANT, owing[0]) == cny(-21200)
        payments.unallocate(conn, TENANT, allocation.allocation_id, reason="credited", by="lin", now=NOW)
        assert payments.open_amount(conn, TENANT, owing[0]) == cny(0)
        assert payments.get_payment(conn, TENANT, payment.payment_id).unapplied == cny(21200)
        with pytest.raises(AllocationTooLarge):
            allocate(conn, payment.payment_id, owing[0], 1)
        assert ledger.check(conn, TENANT) == []


def test_a_payment_of_a_closed_month_is_booked_in_the_next_open_one(transact, owing) -> None:
    with transact() as conn:
        month = accounting.month_of(conn, TENANT, NOW - timedelta(days=10))
        accounting.begin_closing(conn, TENANT, month, by="lin", now=NOW)
        accounting.close(conn, TENANT, month, requested_by="lin", approved_by="wang", now=NOW)
        receive(conn, TENANT, PAYER, 100, received_at=NOW - timedelta(days=10))
        row = conn.execute("SELECT max(effective_at) AS at FROM billing.journal_entry").fetchone()
        assert row["at"] >= month.end_at
