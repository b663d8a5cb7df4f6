"""A message is taken only where Stripe signed it now, is kept once, and says only where to look."""

from __future__ import annotations

import json
from datetime import timedelta

import psycopg
import pytest
import stripe

from billing import rails
from billing.books import ledger
from billing.cash import payments
from billing.cash.payment_errors import MessageRefused
from billing.rails import inbox, rail_operation
from billing.rails.rail import Kind, Operation
from tests.billing.payment_seeds import NOW, TENANT, balance, cny
from tests.billing.rails.worlds import SECRET, StripeWorld

EVENT = {"id": "evt_1", "object": "event", "type": "invoice.paid", "data": {"object": {"id": "in_1"}}}


def signed(event: object = EVENT, secret: str = SECRET, late_s: float = 0) -> tuple[bytes, str]:
    body = event if isinstance(event, str) else json.dumps(event)
    at = int(NOW.timestamp() + late_s)
    return body.encode(), stripe.WebhookSignature.generate_signature_header(body, secret, at)


def test_a_message_of_stripe_is_taken_with_either_of_two_secrets() -> None:
    for secrets in ([SECRET], ["whsec_old", SECRET], [SECRET, "whsec_new"]):
        assert inbox.verify(*signed(), secrets, now=NOW) == ("evt_1", "invoice.paid", "in_1")
    assert inbox.verify(*signed(late_s=-299), [SECRET], now=NOW)
    assert inbox.verify(*signed(late_s=299), [SECRET], now=NOW)


BODY, SIGNATURE = signed()


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        signed(secret="whsec_other"),
        (BODY + b" ", SIGNATURE),
        (BODY, ""),
        (BODY, "t=abc,v1=00"),
        (BODY, SIGNATURE.replace("v1=", "v0=")),
        (BODY, SIGNATURE.replace(f"t={int(NOW.timestamp())}", f"t={int(NOW.timestamp()) + 1}")),
        (b"\xff\xfe", SIGNATURE),
        signed(late_s=-301),
        signed(late_s=301),
        signed(late_s=10**9),
        signed("not json"),
        signed("[" * 100_000),
        signed({**EVENT, "id": None}),
        signed({**EVENT, "id": "x" * 201}),
        signed({**EVENT, "type": "a\nb"}),
        signed({**EVENT, "data": {}}),
        signed([]),
        signed(json.dumps(EVENT) + " " * 300_000),
    ],
)
def test_what_is_not_from_stripe_or_not_from_now_is_refused(body: bytes, signature: str) -> None:
    with pytest.raises(MessageRefused):
        inbox.verify(body, signature, [SECRET], now=NOW)
    with pytest.raises(MessageRefused):
        inbox.verify(*signed(), [""], now=NOW)


@pytest.fixture
def world(transact, owing) -> StripeWorld:
    made = StripeWorld(transact)
    with transact() as conn:
        made.add_addresses(conn)
        rails.request_collect(conn, TENANT, owing[0], now=NOW)
    made.worker().run_once()
    return made


def collected(transact, statement_id: int) -> Operation:
    with transact() as conn:
        operation = rail_operation.of_subject(conn, TENANT, Kind.COLLECT, statement_id)
    assert operation is not None
    return operation


def messages(transact) -> dict[str, int]:
    with transact(inbox.INBOX_TENANT) as conn:
        return inbox.counts(conn)


def test_a_forged_payment_is_looked_for_at_stripe_and_not_found(transact, world, owing) -> None:
    """Even with our secret, a message books nothing that Stripe itself does not confirm."""
    [invoice] = world.state.of("invoice")
    world.post({**EVENT, "data": {"object": {**invoice, "status": "paid", "amount_paid": 21200}}})
    world.post({**EVENT, "id": "evt_2", "data": {"object": {"id": "in_nowhere"}}})
    world.events().run_once()
    assert messages(transact) == {"done": 1, "ignored": 1}
    with transact() as conn:
        assert payments.list_payments(conn, TENANT) == []


def test_what_others_did_at_stripe_is_left_alone(transact, world) -> None:
    made = world.state.add(
        "invoice", "in", customer="cus_x", status="paid", currency="cny", metadata={}, payments=None
    )
    foreign = {"radmeter_operation": "radmeter-hospital-z-1"}
    other = world.state.add(
        "invoice", "in", customer="cus_x", status="paid", currency="cny", metadata=foreign
    )
    for one in (made, other):
        world.state.tell("invoice.paid", one)
        world.state.tell("customer.created", one)
    world.deliver()
    assert set(messages(transact)) <= {"ignored", "done"}
    with transact() as conn:
        assert payments.list_payments(conn, TENANT) == []


def test_a_disputed_charge_opens_the_statement_again_and_comes_back_when_we_win(
    transact, world, owing
) -> None:
    world.payer_pays(collected(transact, owing[0]), "212.00")
    dispute = world.state.dispute(world.state.of("payment_intent")[0]["id"])
    world.deliver()
    with transact() as conn:
        assert payments.open_amount(conn, TENANT, owing[0]) == cny(21200)
        assert ledger.check(conn, TENANT) == []
    world.state.win(dispute["id"])
    world.deliver()
    world.deliver()
    with transact() as conn:
        [won] = payments.list_payments(conn, TENANT, only_unapplied=True)
        assert won.amount == cny(21200)
        assert balance(conn, "unapplied_cash:demo-hospital") == -21200
        assert ledger.check(conn, TENANT) == []


def test_a_refund_that_somebody_made_at_stripe_is_a_payment_that_went_back(transact, world, owing) -> None:
    world.payer_pays(collected(transact, owing[0]), "212.00")
    [intent] = world.state.of("payment_intent")
    refund = world.state.add(
        "refund", "re", payment_intent=intent["id"], charge=intent["latest_charge"], amount=1200, currency="cny",
        status="succeeded", metadata={},
    )  # fmt: skip
    world.state.tell("refund.created", refund)
    world.deliver()
    with transact() as conn:
        assert payments.open_amount(conn, TENANT, owing[0]) == cny(1200)
        assert ledger.check(conn, TENANT) == []


def test_a_thousand_messages_again_and_in_any_order_change_nothing(transact, owner, world, owing) -> None:
    """A payment that came in parts and a dispute of it that we won, told backwards at first."""
    [invoice] = world.state.of("invoice")
    intent = world.state.pay(invoice["id"], 12000)
    world.state.pay(invoice["id"])
    dispute = world.state.dispute(intent["id"])
    for event in reversed(world.state.events):
        world.post(event)
        world.events().run_once()
    world.state.win(dispute["id"])
    world.deliver()
    world.advance(hours=7)  # what came before its payment is looked into again
    world.events().run_once()
    assert set(messages(transact)) == {"done", "ignored"}

    def books() -> list[object]:
        tables = ("journal_entry", "posting", "payment", "payment_allocation", "rail_operation")
        return [
            owner.execute(f"SELECT t::text FROM billing.{table} t ORDER BY 1").fetchall() for table in tables
        ]

    before, known = books(), messages(transact)
    assert sum(map(len, before)) > 20
    for _ in range(10):
        world.post(*world.random.choices(world.state.events, k=100))
        world.advance(minutes=10)
        world.events().run_once()
    assert (books(), messages(transact)) == (before, known)
    with transact() as conn:
        assert ledger.check(conn, TENANT) == []


def test_a_payment_whose_fee_stripe_does_not_tell_yet_is_looked_into_again(transact, world, owing) -> None:
    intent = world.state.pay(world.state.of("invoice")[0]["id"])
    charge = world.state.get(intent["latest_charge"], "charge")
    fee, charge["balance_transaction"] = charge["balance_transaction"], None
    world.deliver()
    assert set(messages(transact)) == {"received", "ignored"}
    charge["balance_transaction"] = fee
    world.advance(minutes=2)
    world.events().run_once()
    assert "received" not in messages(transact)
    with transact() as conn:
        assert balance(conn, "rail_fee:stripe") == 21200 * 29 // 1000 + 30


def test_what_can_never_be_booked_is_parked_and_seen(transact, world, owing) -> None:
    intent = world.state.pay(world.state.of("invoice")[0]["id"])
    world.state.get(intent["latest_charge"], "charge")["balance_transaction"] = None
    world.deliver()
    for _ in range(inbox.ATTEMPTS_MAX):
        world.advance(hours=7)
        world.events().run_once()
    assert messages(transact)["parked"] >= 1


def test_messages_are_no_tenants_and_are_never_edited(transact, owner, world) -> None:
    world.post(EVENT)
    with transact(TENANT) as conn:
        assert conn.execute("SELECT * FROM billing.webhook_inbox").fetchall() == []
    world.clock.advance(seconds=timedelta(minutes=1).total_seconds())
    world.events().run_once()
    for change in (
        "UPDATE billing.webhook_inbox SET object_id = 'in_2'",
        "DELETE FROM billing.webhook_inbox",
    ):
        with pytest.raises(psycopg.errors.RestrictViolation):
            owner.execute(change)
