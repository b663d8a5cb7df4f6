"""What every rail keeps: asked once it acts once, whatever is cut off, and the books say what became of it."""

from __future__ import annotations

import pytest

from billing import rails
from billing.books import ledger
from billing.cash import give_back, payments
from billing.cash.payment_errors import RailOperationNotAllowed
from billing.claims import credit_notes
from billing.queries import one_row
from billing.rails import rail_operation
from billing.rails.rail import Kind, Operation, State
from billing.rails.rail_worker import Worker, begin_anew
from billing.splits import payout
from tests.billing.payment_seeds import NOW, TENANT, balance, cny
from tests.billing.rails.worlds import PAYEE, BankWorld, StripeWorld, World


@pytest.fixture(params=["bank", "stripe"])
def world(request, transact, owing) -> World:
    made: World = BankWorld(transact) if request.param == "bank" else StripeWorld(transact)
    with transact() as conn:
        made.add_addresses(conn)
    return made


def find(transact, kind: Kind, subject_id: int) -> Operation:
    with transact() as conn:
        operation = rail_operation.of_subject(conn, TENANT, kind, subject_id)
    assert operation is not None
    return operation


def collect(transact, world: World, statement_id: int) -> Operation:
    with transact() as conn:
        rails.request_collect(conn, TENANT, statement_id, now=world.clock.now)
    world.worker().run_once()
    return find(transact, Kind.COLLECT, statement_id)


def pay_twice_too_much(transact, world: World, statement_id: int) -> payments.Payment:
    """The payment of a statement of 212.00, of which 88.00 then pay nothing."""
    world.payer_pays(collect(transact, world, statement_id), "212.00")
    with transact() as conn:
        [payment] = payments.list_payments(conn, TENANT)
        [allocation] = conn.execute("SELECT allocation_id FROM billing.payment_allocation").fetchall()
        payments.unallocate(
            conn, TENANT, allocation["allocation_id"], 8800, reason="credited", by="lin", now=world.clock.now
        )
    return payment


def ask_refund(transact, world: World, payment: payments.Payment) -> int:
    with transact() as conn:
        return give_back.refund(
            conn, TENANT, payment.payment_id, 8800, reason="credited", requested_by="lin", approved_by="wang",
            now=world.clock.now,
        )  # fmt: skip


def ask_payout(transact, world: World) -> Operation:
    """An advance of 50.00 that the contract promises its developer, asked for and approved."""
    with transact() as conn:
        asked = payout.request_advance(conn, TENANT, 1, "app", PAYEE, by="lin", now=world.clock.now)
        payout.approve(conn, TENANT, asked.payout_id, by="wang", now=world.clock.now)
    return find(transact, Kind.PAY_OUT, asked.payout_id)


def test_a_statement_is_asked_for_once_and_paid_by_what_comes(transact, world: World, owing) -> None:
    operation = collect(transact, world, owing[0])
    assert operation.state is State.CONFIRMED
    world.payer_pays(operation, "212.00")
    with transact() as conn:
        assert rails.request_collect(conn, TENANT, owing[0], now=NOW) == operation.operation_id
        assert payments.statement_account(conn, TENANT, owing[0]).status == "paid"
        fee = balance(conn, f"rail_fee:{world.rail.name}")
        assert balance(conn, f"cash:{world.rail.name}") + fee == 21200
        assert ledger.check(conn, TENANT) == []
    world.worker().run_once()
    assert world.effects(Kind.COLLECT) == 1


def test_what_is_paid_in_parts_is_partly_paid(transact, world: World, owing) -> None:
    operation = collect(transact, world, owing[0])
    world.payer_pays(operation, "100.00")
    with transact() as conn:
        assert payments.statement_account(conn, TENANT, owing[0]).status == "partly paid"
    world.payer_pays(operation, "112.00")
    with transact() as conn:
        assert payments.statement_account(conn, TENANT, owing[0]).status == "paid"
        assert len(payments.list_payments(conn, TENANT)) == 2
        assert ledger.check(conn, TENANT) == []


def test_a_refund_leaves_once_and_is_booked_when_it_left(transact, world: World, owing) -> None:
    refund_id = ask_refund(transact, world, pay_twice_too_much(transact, world, owing[0]))
    for _ in range(3):
        world.worker().run_once()
    world.carry_out()
    assert find(transact, Kind.REFUND, refund_id).state is State.CONFIRMED
    assert world.effects(Kind.REFUND) == 1
    with transact() as conn:
        assert balance(conn, "unapplied_cash:demo-hospital") == 0
        assert ledger.check(conn, TENANT) == []


def test_a_refund_that_comes_back_is_unapplied_again_and_asked_for_anew(
    transact, world: World, owing
) -> None:
    payment = pay_twice_too_much(transact, world, owing[0])
    refund_id = ask_refund(transact, world, payment)
    world.worker().run_once()
    world.carry_out()
    world.bring_back(find(transact, Kind.REFUND, refund_id))
    assert find(transact, Kind.REFUND, refund_id).state is State.FAILED
    with transact() as conn:
        assert payments.get_payment(conn, TENANT, payment.payment_id).unapplied == cny(8800)
        assert balance(conn, "unapplied_cash:demo-hospital") == -8800
        assert ledger.check(conn, TENANT) == []
        with pytest.raises(RailOperationNotAllowed):
            begin_anew(conn, TENANT, find(transact, Kind.REFUND, refund_id).operation_id, now=NOW)
    assert ask_refund(transact, world, payment) != refund_id


def test_a_payout_is_sent_once(transact, world: World) -> None:
    asked = ask_payout(transact, world)
    for _ in range(3):
        world.worker().run_once()
    world.carry_out()
    assert find(transact, Kind.PAY_OUT, asked.subject_id).state is State.CONFIRMED
    assert world.effects(Kind.PAY_OUT) == 1
    with transact() as conn:
        assert payout.get(conn, TENANT, asked.subject_id).state == "confirmed"
        assert balance(conn, f"cash:{world.rail.name}") == -5000
        assert ledger.check(conn, TENANT) == []


def test_a_credit_note_is_told_to_the_rail_that_collects(transact, world: World, owing) -> None:
    collect(transact, world, owing[0])
    world.clock.advance(minutes=2)
    with transact() as conn:
        note = credit_notes.issue(
            conn, TENANT, owing[0], [(1, 10000)], reason="withdrawn", by="lin", approved_by="wang", now=NOW
        )
    world.worker().run_once()
    operation = find(transact, Kind.CREDIT, note.credit_note_id or 0)
    assert (operation.state, operation.detail.startswith("Invalid")) == (State.CONFIRMED, False)
    assert world.effects(Kind.CREDIT) == 1


class Dies(BaseException):
    """The process is killed here."""


@pytest.mark.parametrize("kind", [Kind.COLLECT, Kind.REFUND, Kind.PAY_OUT])
@pytest.mark.parametrize("moment", ["before the call", "after the call"])
def test_a_worker_that_dies_around_the_call_leaves_one_effect(
    transact, world: World, owing, kind: Kind, moment: str
) -> None:
    if kind is Kind.REFUND:
        subject_id = ask_refund(transact, world, pay_twice_too_much(transact, world, owing[0]))
    elif kind is Kind.PAY_OUT:
        subject_id = ask_payout(transact, world).subject_id
    else:
        subject_id = owing[0]
        with transact() as conn:
            rails.request_collect(conn, TENANT, subject_id, now=world.clock.now)
    dying = _DyingRail(world.rail, moment)
    with pytest.raises(Dies):
        Worker(TENANT, transact, {world.rail.name: dying}, world.clock).run_once()  # type: ignore[dict-item]
    assert (find(transact, kind, subject_id).state, dying.calls) == (State.SENT, [kind])
    looking = _DyingRail(world.rail, "never")
    Worker(TENANT, transact, {world.rail.name: looking}, world.clock).run_once()  # type: ignore[dict-item]
    assert looking.calls[0] == "look_up"
    if kind in (Kind.REFUND, Kind.PAY_OUT):
        world.carry_out()
    operation = find(transact, kind, subject_id)
    assert operation.state is State.CONFIRMED, operation.detail
    assert world.effects(kind) == 1
    if kind is Kind.COLLECT:
        world.payer_pays(operation, "212.00")


def test_one_worker_at_a_time_works_for_a_tenant(transact, world: World) -> None:
    ask_payout(transact, world)
    with transact() as other:
        one_row(other, "try_lock_worker", {"tenant": TENANT})
        assert world.worker().run_once() == 0
    assert world.worker().run_once() == 1


class _DyingRail:
    """A rail whose caller dies at a moment of its first call; writes down what it was asked."""

    def __init__(self, rail, moment: str) -> None:
        self.rail, self.moment, self.name = rail, moment, rail.name
        self.calls: list[str] = []

    def __getattr__(self, name: str):
        def call(operation: Operation):
            self.calls.append(name)
            if self.moment == "before the call":
                raise Dies
            outcome = getattr(self.rail, name)(operation)
            if self.moment == "after the call":
                raise Dies
            return outcome

        return call
