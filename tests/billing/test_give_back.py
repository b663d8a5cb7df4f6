"""Money that goes back or never comes is booked once, held back at once, and agreed by two people."""

from __future__ import annotations

import pytest

from billing.books import ledger
from billing.cash import give_back, payments
from billing.cash.payment_errors import NotApproved, PaymentRefused, RailAddressMissing
from billing.rails import rail_operation
from billing.rails.rail import Kind, State
from tests.billing.payment_seeds import NOW, PAYER, TENANT, add_address, allocate, balance, cny, receive


def test_a_refund_needs_two_people_and_an_address_and_holds_its_money_back(transact, owing) -> None:
    def ask(conn, amount: int | None = None, approved_by: str = "wang") -> int:
        return give_back.refund(
            conn, TENANT, payment.payment_id, amount, reason="paid twice", requested_by="lin",
            approved_by=approved_by, now=NOW,
        )  # fmt: skip

    with transact() as conn:
        payment = receive(conn, TENANT, PAYER, 30000)
        allocate(conn, payment.payment_id, owing[0])
    with transact() as conn:
        for same in ("lin", ""):
            with pytest.raises(NotApproved):
                ask(conn, 100, same)
        with pytest.raises(PaymentRefused, match="unallocate"):
            ask(conn, 8801)
    with pytest.raises(RailAddressMissing), transact() as conn:
        ask(conn, 8800)
    with transact() as conn:
        add_address(conn, TENANT, PAYER)
        refund_id = ask(conn)
        operation = rail_operation.of_subject(conn, TENANT, Kind.REFUND, refund_id)
        assert operation is not None
        assert (operation.rail, operation.state, operation.amount) == ("bank", State.INTENT, cny(8800))
        assert payments.get_payment(conn, TENANT, payment.payment_id).unapplied == cny(0)
        assert balance(conn, "cash:bank") == 30000  # nothing has left yet
        give_back.book_refund(conn, TENANT, refund_id, effective_at=NOW, now=NOW)
        assert balance(conn, "cash:bank") == 21200
        assert balance(conn, "unapplied_cash:demo-hospital") == 0


def test_a_returned_payment_opens_what_it_had_paid(transact, owing) -> None:
    def take_back(conn, amount: int, external_id: str) -> None:
        give_back.return_payment(
            conn, TENANT, payment.payment_id, amount=cny(amount), external_id=external_id, received_at=NOW,
            reason="returned by the bank", by="bank", now=NOW,
        )  # fmt: skip

    with transact() as conn:
        payment = receive(conn, TENANT, PAYER, 31800)
        for statement_id in owing:
            allocate(conn, payment.payment_id, statement_id)
        take_back(conn, 11800, "return-1")
        take_back(conn, 11800, "return-1")
        assert [str(payments.open_amount(conn, TENANT, one)) for one in owing] == ["12.00", "106.00"]
        with pytest.raises(PaymentRefused):
            take_back(conn, 20001, "return-2")
        take_back(conn, 20000, "return-2")
        assert balance(conn, "receivable:demo-hospital") == 31800
        assert balance(conn, "cash:bank") == balance(conn, "unapplied_cash:demo-hospital") == 0
        assert ledger.check(conn, TENANT) == []


def test_a_write_off_needs_two_people_and_ends_at_what_is_open(transact, owing) -> None:
    def give_up(conn, amount: int | None, approved_by: str = "wang") -> int:
        return give_back.write_off(
            conn, TENANT, owing[0], amount, reason="insolvent", requested_by="lin", approved_by=approved_by,
            now=NOW,
        )  # fmt: skip

    with transact() as conn:
        with pytest.raises(NotApproved):
            give_up(conn, 100, "lin")
        with pytest.raises(PaymentRefused):
            give_up(conn, 21201)
        give_up(conn, 200)
        give_up(conn, None)
        with pytest.raises(PaymentRefused):
            give_up(conn, None)
        assert balance(conn, "bad_debt") == 21200
        assert payments.open_amount(conn, TENANT, owing[0]) == cny(0)
        assert ledger.check(conn, TENANT) == []
