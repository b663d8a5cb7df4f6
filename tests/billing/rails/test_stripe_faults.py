"""Whatever Stripe answers, or does not answer: nothing is done twice, nothing is lost, the reason is kept."""

from __future__ import annotations

import pytest

from billing import rails
from billing.books import ledger
from billing.cash import give_back, payments
from billing.claims import credit_notes
from billing.contracts import store
from billing.rails import rail_operation
from billing.rails.rail import Kind, Operation, Outcome, State
from billing.rails.rail_worker import begin_anew, take_to
from billing.splits import payout
from tests.billing.fake_stripe import Call, Fault
from tests.billing.payment_seeds import PAYER, TENANT, add_address, balance, cny, issue_month
from tests.billing.rails.conftest import SHARED
from tests.billing.rails.worlds import PAYEE, StripeWorld


@pytest.fixture
def world(transact, owing) -> StripeWorld:
    made = StripeWorld(transact)
    with transact() as conn:
        made.add_addresses(conn)
    return made


def ask(transact, world: StripeWorld, statement_id: int) -> int:
    with transact() as conn:
        operation_id = rails.request_collect(conn, TENANT, statement_id, now=world.clock.now)
    assert operation_id is not None
    return operation_id


def ask_payout(transact, world: StripeWorld) -> int:
    with transact() as conn:
        asked = payout.request_advance(conn, TENANT, 1, "app", PAYEE, by="lin", now=world.clock.now)
        payout.approve(conn, TENANT, asked.payout_id, by="wang", now=world.clock.now)
        operation = rail_operation.of_subject(conn, TENANT, Kind.PAY_OUT, asked.payout_id)
    assert operation is not None
    return operation.operation_id


def state_of(transact, operation_id: int) -> Operation:
    with transact() as conn:
        return rail_operation.find(conn, TENANT, operation_id)


def run_until_settled(transact, world: StripeWorld, operation_id: int, rounds: int = 40) -> Operation:
    for _ in range(rounds):
        world.worker().run_once()
        operation = state_of(transact, operation_id)
        if operation.state in (State.CONFIRMED, State.FAILED):
            return operation
        world.advance(hours=7)
    raise AssertionError(f"{operation.state}: {operation.detail}")


@pytest.mark.parametrize("fault", list(Fault))
def test_each_fault_at_each_call_of_an_invoice_makes_one_invoice(
    transact, world, owing, fault: Fault
) -> None:
    """The n-th call fails once; the next round goes on, and the payer is asked once for the right sum."""
    operation_id = ask(transact, world, owing[0])
    with transact() as conn:
        other = rails.request_collect(conn, TENANT, owing[1], now=world.clock.now)
    failed: set[tuple[str, str]] = set()

    def once_per_call(call: Call) -> Fault | None:
        which = (call.method, call.path.split("/in_")[0] + call.path.rpartition("/")[2][:8])
        return None if which in failed or failed.add(which) else fault

    world.http.next_fault = once_per_call
    for one in (operation_id, other):
        assert run_until_settled(transact, world, one or 0).state is State.CONFIRMED
    open_invoices = [one for one in world.state.of("invoice") if one["status"] == "open"]
    assert sorted(one["total"] for one in open_invoices) == [10600, 21200]
    assert len(failed) > 5


def test_a_refusal_for_now_keeps_the_intent_and_waits_as_long_as_stripe_asks(transact, world, owing) -> None:
    operation_id = ask(transact, world, owing[0])
    world.http.next_fault = lambda call: Fault.RATE_LIMIT
    world.worker().run_once()
    operation = state_of(transact, operation_id)
    assert (operation.state, operation.attempts, world.state.of("invoice")) == (State.INTENT, 1, [])
    assert "RateLimitError" in operation.detail
    before = len(world.http.calls)
    world.worker().run_once()
    assert len(world.http.calls) == before, "not due yet"
    world.advance(seconds=31)
    world.worker().run_once()
    assert len(world.http.calls) > before


def test_what_stripe_refuses_for_good_fails_and_is_begun_anew_under_a_new_key(transact, world, owing) -> None:
    with transact() as conn:
        add_address(conn, TENANT, PAYEE, rail="stripe", account="no_such_account")
    operation_id = ask_payout(transact, world)
    world.worker().run_once()
    refused = state_of(transact, operation_id)
    assert (refused.state, "No such destination" in refused.detail) == (State.FAILED, True)
    with transact() as conn:
        assert payout.get(conn, TENANT, refused.subject_id).state == "failed"
        anew = begin_anew(conn, TENANT, operation_id, now=world.clock.now)
    assert (anew.state, anew.generation, anew.key == refused.key) == (State.INTENT, 2, False)


def test_a_persons_mistake_about_a_lost_answer_does_not_send_twice(transact, world) -> None:
    """Given up by hand although it had taken effect, then begun anew: the transfer that stands is found."""
    operation_id = ask_payout(transact, world)
    world.http.next_fault = lambda call: Fault.TIMEOUT_AFTER if call.method == "POST" else None
    world.worker().run_once()
    unknown = state_of(transact, operation_id)
    assert unknown.state is State.UNKNOWN
    world.http.next_fault = lambda call: None
    with transact() as conn:
        take_to(conn, unknown, Outcome(State.FAILED, detail="lin: it is not there"), now=world.clock.now)
        begin_anew(conn, TENANT, operation_id, now=world.clock.now)
    assert run_until_settled(transact, world, operation_id).state is State.CONFIRMED
    assert len(world.state.of("transfer")) == 1


def test_a_key_that_stripe_forgot_is_no_second_transfer(transact, world) -> None:
    operation_id = ask_payout(transact, world)
    world.http.next_fault = lambda call: Fault.RESET_AFTER if call.method == "POST" else None
    world.worker().run_once()
    world.http.next_fault = lambda call: None
    world.advance(days=3)  # beyond the life of a key
    assert run_until_settled(transact, world, operation_id).state is State.CONFIRMED
    assert len(world.state.of("transfer")) == 1


def test_a_payout_is_sent_in_parts_from_the_charges_that_brought_its_money(transact, world, owing) -> None:
    operation_id = ask(transact, world, owing[0])
    world.worker().run_once()
    world.payer_pays(state_of(transact, operation_id), "212.00")
    with transact() as conn:
        [payment] = payments.list_payments(conn, TENANT)
        asked = payout.request_advance(conn, TENANT, 1, "app", PAYEE, by="lin", now=world.clock.now)
        parts = [rails.Part(3000, payment.payment_id), rails.Part(2000)]
        rails.request_payout(
            conn, TENANT, asked.payout_id, payee_id=PAYEE, amount=cny(5000), reference="PO-1", parts=parts,
            now=world.clock.now,
        )  # fmt: skip
        payout.approve(conn, TENANT, asked.payout_id, by="wang", now=world.clock.now)
    calls = 0

    def second_transfer_is_lost(call: Call) -> Fault | None:
        nonlocal calls
        calls += call.path == "/v1/transfers" and call.method == "POST"
        return Fault.TIMEOUT_BEFORE if calls == 2 else None

    world.http.next_fault = second_transfer_is_lost
    world.worker().run_once()
    world.http.next_fault = lambda call: None
    with transact() as conn:
        sent = rail_operation.of_subject(conn, TENANT, Kind.PAY_OUT, asked.payout_id)
    assert run_until_settled(transact, world, sent.operation_id).state is State.CONFIRMED
    [charge] = world.state.of("charge")
    transfers = [(one["amount"], one["source_transaction"]) for one in world.state.of("transfer")]
    assert transfers == [(3000, charge["id"]), (2000, None)]


def test_a_payout_is_taken_back_by_reversing_its_transfers(transact, world) -> None:
    operation_id = ask_payout(transact, world)
    world.worker().run_once()
    subject_id = state_of(transact, operation_id).subject_id
    with transact() as conn:
        back = rails.request_take_back(conn, TENANT, subject_id, amount=cny(5000), now=world.clock.now)
    failures = iter([Fault.TIMEOUT_AFTER])
    world.http.next_fault = lambda call: next(failures, None) if call.method == "POST" else None
    assert run_until_settled(transact, world, back).state is State.CONFIRMED
    assert [one["amount"] for one in world.state.of("transfer_reversal")] == [5000]
    with transact() as conn:
        assert payout.get(conn, TENANT, subject_id).state == "returned"
        assert balance(conn, "cash:stripe") == 0


def test_a_draft_that_would_ask_another_sum_is_never_finalized(transact, world, owing) -> None:
    operation_id = ask(transact, world, owing[0])

    def stray_line_comes_in(call: Call) -> None:
        if call.method == "GET" and call.path.startswith("/v1/invoices/in_"):
            world.state.get(call.path.rpartition("/")[2], "invoice")["total"] += 1

    world.http.next_fault = stray_line_comes_in
    world.worker().run_once()
    operation = state_of(transact, operation_id)
    assert operation.state is State.FAILED
    assert "Stripe would ask" in operation.detail
    assert [one["status"] for one in world.state.of("invoice")] == ["draft"]


def test_a_declined_card_leaves_the_invoice_open_and_asks_no_second_time(transact, world, owing) -> None:
    with transact() as conn:
        add_address(conn, TENANT, PAYER, rail="stripe", direction="in", account="", email="")
    operation_id = ask(transact, world, owing[0])
    world.worker().run_once()
    operation = state_of(transact, operation_id)
    assert operation.state is State.CONFIRMED
    assert "declined" in operation.detail
    [invoice] = world.state.of("invoice")
    assert (invoice["status"], invoice["auto_advance"]) == ("open", True)


def test_a_card_that_works_pays_at_once(transact, world, owing) -> None:
    customer = world.state.add("customer", "cus", name="H", email=None, metadata={})
    world.state.paying_customers.add(customer["id"])
    with transact() as conn:
        add_address(conn, TENANT, PAYER, rail="stripe", direction="in", account=customer["id"], email="")
    ask(transact, world, owing[0])
    world.worker().run_once()
    world.deliver()
    with transact() as conn:
        assert payments.statement_account(conn, TENANT, owing[0]).status == "paid"
        assert ledger.check(conn, TENANT) == []


def test_a_pending_refund_is_settled_by_its_message_or_by_asking(transact, world, owing) -> None:
    operation_id = ask(transact, world, owing[0])
    world.worker().run_once()
    world.payer_pays(state_of(transact, operation_id), "212.00")
    world.state.refund_status = "pending"
    with transact() as conn:
        [payment] = payments.list_payments(conn, TENANT)
        payments.unallocate(conn, TENANT, 1, reason="credited", by="lin", now=world.clock.now)
        refund_id = give_back.refund(
            conn, TENANT, payment.payment_id, 21200, reason="x", requested_by="lin", approved_by="wang",
            now=world.clock.now,
        )  # fmt: skip
    world.worker().run_once()
    with transact() as conn:
        operation = rail_operation.of_subject(conn, TENANT, Kind.REFUND, refund_id)
        assert balance(conn, "unapplied_cash:demo-hospital") == -21200
    assert operation is not None
    assert (operation.state, operation.external_id is None) == (State.SENT, False)
    [refund] = world.state.of("refund")
    refund["status"] = "succeeded"  # and its message is lost
    world.advance(minutes=61)
    world.worker().run_once()
    assert state_of(transact, operation.operation_id).state is State.CONFIRMED
    with transact() as conn:
        assert balance(conn, "unapplied_cash:demo-hospital") == 0
        assert ledger.check(conn, TENANT) == []


def test_a_credit_of_a_paid_invoice_is_told_as_given_back_outside(transact, world, owing) -> None:
    operation_id = ask(transact, world, owing[0])
    world.worker().run_once()
    world.payer_pays(state_of(transact, operation_id), "212.00")
    world.advance(minutes=2)
    with transact() as conn:
        note = credit_notes.issue(
            conn,
            TENANT,
            owing[0],
            [(1, 10000)],
            reason="withdrawn",
            by="lin",
            approved_by="wang",
            now=world.clock.now,
        )
        credit = rail_operation.of_subject(conn, TENANT, Kind.CREDIT, note.credit_note_id or 0)
    assert credit is not None
    assert run_until_settled(transact, world, credit.operation_id).state is State.CONFIRMED
    assert [one["amount"] for one in world.state.of("credit_note")] == [10600]


def test_a_statement_is_asked_for_at_its_issue_where_its_payer_pays_by_stripe(
    transact, per_case: str, make_event
) -> None:
    world = StripeWorld(transact)
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, per_case + SHARED)
        world.add_addresses(conn)
        issued = issue_month(conn, TENANT, contract_id, [make_event(1)])
        operation = rail_operation.of_subject(conn, TENANT, Kind.COLLECT, issued.statement_id or 0)
    assert operation is not None
    assert (operation.rail, operation.state) == ("stripe", State.INTENT)
    world.advance(days=30)
    world.worker().run_once()
    assert [one["status"] for one in world.state.of("invoice")] == ["open"]
