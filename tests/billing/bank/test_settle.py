"""From the bank's file to the books: once, whatever comes twice; orders go out once and are confirmed by the bank."""

from __future__ import annotations

from datetime import timedelta
from xml.etree import ElementTree

import psycopg
import pytest

from billing.bank import order, settle, store
from billing.bank.read_camt import read_camt
from billing.bank.settle import Matched
from billing.books import ledger
from billing.cash import give_back, payments
from billing.cash.payment_errors import BankLineNotFound, BankLineUsed, NothingToOrder, PaymentRefused
from billing.rails import rail_operation
from billing.rails.bank_rail import BankRail
from billing.rails.rail import Kind, State
from billing.rails.rail_worker import Worker
from tests.billing.bank.bank_files import Booking, camt
from tests.billing.payment_seeds import NOW, PAYER, TENANT, add_address, allocate, balance, cny, receive

FIRST, SECOND = "RM-HOSPITAL-A-000001", "RM-HOSPITAL-A-000002"
WHO = {"by": "lin", "now": NOW}
OURS = order.OurAccount("Radmeter Imaging", "DE02120300000000202051", "BYLADEM1001")


def import_lines(conn, *bookings: Booking) -> list[Matched]:
    data = camt(bookings)
    store.add(conn, TENANT, read_camt(data), data=data, **WHO)
    return settle.match_all(conn, TENANT, **WHO)


def test_a_transfer_with_the_number_pays_the_statement_and_teaches_the_account(transact, owing) -> None:
    with transact() as conn:
        [first] = import_lines(conn, Booking("212.00", f"for {FIRST}"))
        assert first.is_settled
        [second] = import_lines(conn, Booking("106.00", "thank you", day="2026-12-11"))
        assert (second.is_settled, second.sentence.split(" and")[0]) == (
            True,
            "comes from the account of demo-hospital",
        )
        assert payments.open_statements(conn, TENANT) == []
        assert balance(conn, "receivable:demo-hospital") == 0
        assert balance(conn, "cash:bank") == 31800
        assert ledger.check(conn, TENANT) == []


def test_the_same_file_and_overlapping_files_change_nothing(transact, owing) -> None:
    old, new = Booking("100.00", FIRST), Booking("112.00", FIRST, day="2026-12-11")
    with transact() as conn:
        assert len(import_lines(conn, old)) == 1
        assert import_lines(conn, old) == []
        assert len(import_lines(conn, old, new)) == 1
        assert import_lines(conn, old, new) == []
        assert balance(conn, "cash:bank") == 21200
        assert payments.statement_account(conn, TENANT, owing[0]).status == "paid"


def test_part_over_and_fee_are_booked_as_what_they_are(transact, owing) -> None:
    with transact() as conn:
        import_lines(conn, Booking("200.00", FIRST, charges="12.00"), Booking("150.00", SECOND))
        assert balance(conn, "rail_fee:bank") == 1200
        assert balance(conn, "cash:bank") == 35000
        assert balance(conn, "unapplied_cash:demo-hospital") == -4400
        assert balance(conn, "receivable:demo-hospital") == 0
        assert ledger.check(conn, TENANT) == []


def test_what_is_not_certain_waits_for_a_person_who_settles_it_once(transact, owing) -> None:
    with transact() as conn:
        [work, rent] = import_lines(conn, Booking("197.00", "thanks"), Booking("-3000.00", "rent"))
        assert [one.is_settled for one in (work, rent)] == [False, False]
        assert "fits no order and no payment" in rent.sentence
        line_id = work.stored.bank_line_id
        payment = settle.receive_by_hand(
            conn, TENANT, line_id, payer_id=PAYER, pays=[(owing[0], None)], fee_minor=1500, **WHO
        )
        assert (payment.amount, payment.fee) == (cny(21200), cny(1500))
        assert payments.statement_account(conn, TENANT, owing[0]).status == "paid"
        with pytest.raises(BankLineUsed):
            settle.receive_by_hand(conn, TENANT, line_id, payer_id=PAYER, pays=[], **WHO)
        with pytest.raises(PaymentRefused):
            settle.receive_by_hand(conn, TENANT, rent.stored.bank_line_id, payer_id=PAYER, pays=[], **WHO)
        settle.dismiss(conn, TENANT, rent.stored.bank_line_id, reason="rent of the office", **WHO)
        with pytest.raises(BankLineNotFound):
            settle.dismiss(conn, TENANT, 999, reason="x", **WHO)
        assert settle.match_all(conn, TENANT, **WHO) == []


def test_a_payment_that_the_bank_takes_back_opens_its_statement_again(transact, owing) -> None:
    with transact() as conn:
        import_lines(conn, Booking("212.00", FIRST, e2e="E2E-1"))
        [unmarked] = import_lines(conn, Booking("-212.00", "who knows", day="2026-12-12"))
        assert (unmarked.is_settled, "fits 1 payments" in unmarked.sentence) == (False, True)
        settle.dismiss(conn, TENANT, unmarked.stored.bank_line_id, reason="a supplier", **WHO)
        [returned] = import_lines(
            conn, Booking("-212.00", "AC04", e2e="E2E-1", day="2026-12-13", is_return=True)
        )
        assert returned.is_settled
        assert payments.open_amount(conn, TENANT, owing[0]) == cny(21200)
        assert balance(conn, "cash:bank") == 0
        assert ledger.check(conn, TENANT) == []


@pytest.fixture
def refund(transact, owing):
    """A refund of 88.00 that the bank rail has taken over."""
    with transact() as conn:
        payment = receive(conn, TENANT, PAYER, 30000)
        allocate(conn, payment.payment_id, owing[0])
        add_address(conn, TENANT, PAYER)
        refund_id = give_back.refund(
            conn,
            TENANT,
            payment.payment_id,
            reason="paid twice",
            requested_by="lin",
            approved_by="wang",
            now=NOW,
        )
    assert Worker(TENANT, transact, {"bank": BankRail()}, lambda: NOW).run_once() == 1
    with transact() as conn:
        operation = rail_operation.of_subject(conn, TENANT, Kind.REFUND, refund_id)
    assert operation is not None
    assert operation.state is State.SENT
    return operation


def write(conn, format: str = "csv", currency: str = "CNY") -> order.PaymentOrder:
    return order.write_order(conn, TENANT, OURS, currency=currency, format=format, **WHO)


def test_an_order_goes_into_one_file_which_stays_as_it_was_written(transact, refund) -> None:
    with transact() as conn:
        with pytest.raises(NothingToOrder):
            write(conn, currency="EUR")
        made = write(conn)
        assert made.document.splitlines()[1] == (
            f"{refund.reference},A holder,DE89370400440532013000,,88.00,CNY,refund 1 {refund.reference}"
        )
        with pytest.raises(NothingToOrder):
            write(conn)
        assert order.find_order(conn, TENANT, made.order_id) == made
    with pytest.raises(psycopg.errors.UniqueViolation), transact() as conn:
        conn.execute(
            "INSERT INTO billing.payment_order_line SELECT tenant, operation_id, generation, order_id"
            " FROM billing.payment_order_line"
        )


def test_a_pain_001_names_each_order_and_its_sum(transact, refund) -> None:
    with transact() as conn:
        document = write(conn, "pain.001").document
    root = ElementTree.fromstring(document)
    space = {"p": order.PAIN}
    values = {
        path: [one.text for one in root.findall(f".//p:{path}", space)]
        for path in ("NbOfTxs", "CtrlSum", "EndToEndId", "InstdAmt", "IBAN")
    }
    assert values == {
        "NbOfTxs": ["1"],
        "CtrlSum": ["88.00"],
        "EndToEndId": [refund.reference],
        "InstdAmt": ["88.00"],
        "IBAN": [OURS.account, "DE89370400440532013000"],
    }


def test_the_bank_confirms_an_order_and_brings_it_back(transact, refund) -> None:
    with transact() as conn:
        write(conn)
        [wrong] = import_lines(conn, Booking("-88.01", refund.reference))
        assert not wrong.is_settled
        settle.dismiss(conn, TENANT, wrong.stored.bank_line_id, reason="another", **WHO)
        [left] = import_lines(conn, Booking("-88.00", "refund", e2e=refund.reference))
        assert left.is_settled
        assert rail_operation.find(conn, TENANT, refund.operation_id).state is State.CONFIRMED
        assert balance(conn, "cash:bank") == 21200
        [again] = import_lines(conn, Booking("-88.00", refund.reference, day="2026-12-14"))
        assert (again.is_settled, again.sentence.split(", ")[-1]) == (False, "which is confirmed")
        [back] = import_lines(conn, Booking("88.00", f"returned {refund.reference}", day="2026-12-15"))[1:]
        assert back.is_settled
        assert balance(conn, "cash:bank") == 30000
        assert payments.get_payment(conn, TENANT, 1).unapplied == cny(8800)
        assert ledger.check(conn, TENANT) == []


def test_a_waiting_order_is_looked_at_each_hour_without_a_new_transition(transact, refund) -> None:
    later = NOW + timedelta(hours=1, minutes=1)
    assert Worker(TENANT, transact, {"bank": BankRail()}, lambda: later).run_once() == 1
    with transact() as conn:
        rows = conn.execute("SELECT state FROM billing.rail_transition ORDER BY transition_id").fetchall()
    assert [row["state"] for row in rows] == ["intent", "sent", "sent"]


def test_lines_of_one_file_pay_what_the_lines_before_them_left_open(transact, owing) -> None:
    thrice = [Booking(amount, FIRST, reference=f"R{amount}") for amount in ("100.00", "112.00", "5.00")]
    with transact() as conn:
        done = import_lines(conn, *thrice, Booking("106.00", "thanks", account="DE44500105175407324931"))
        assert [one.is_settled for one in done] == [True, True, False, False]
        assert "of which nothing is open: paid twice?" in done[2].sentence
        assert "is exactly what RM-HOSPITAL-A-000002 asks" in done[3].sentence
        assert payments.open_amount(conn, TENANT, owing[0]) == cny(0)
