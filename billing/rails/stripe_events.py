"""What Stripe's messages mean for the books: each object is fetched anew, and booked for its tenant, once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import stripe

from billing.cash import give_back, payments
from billing.cash.payment_errors import RailOperationNotFound
from billing.cash.payment_record import Payment, lock, payment_of
from billing.errors import BillingError
from billing.money import Money
from billing.queries import first_row
from billing.rails import inbox, rail_operation
from billing.rails.inbox import INBOX_TENANT, Message
from billing.rails.rail import Kind, Operation, State
from billing.rails.rail_worker import take_to
from billing.rails.stripe_client import OPERATION, is_final, meta
from billing.rails.stripe_rail import refund_outcome

Connection = psycopg.Connection[Any]
TransactAs = Callable[[str], AbstractContextManager[Connection]]
"""Opens a transaction of the named tenant that commits at its end."""

SOURCE = "stripe"
BY = "stripe"
log = logging.getLogger("radmeter.rails")


class NotReady(Exception):
    """Stripe does not show all of it yet; the message is looked into again later."""


class NotOurs(Exception):
    """The object is none that this system asked Stripe for."""


@dataclass(frozen=True)
class StripeEvents:
    """Looks into the inbox. Several at once do no harm: everything is booked by its id at Stripe."""

    client: stripe.StripeClient
    transact: TransactAs
    clock: Callable[[], datetime]

    def run_once(self) -> int:
        """Look into every message that is due; returns how many."""
        with self.transact(INBOX_TENANT) as conn:
            messages = inbox.due(conn, now=self.clock())
        for message in messages:
            state, detail = self._look_into(message)
            with self.transact(INBOX_TENANT) as conn:
                inbox.finish(conn, message, state, detail, now=self.clock())
        return len(messages)

    def _look_into(self, message: Message) -> tuple[str, str]:
        handler = _HANDLERS.get(message.event_type)
        if handler is None:
            return "ignored", "nothing to book"
        try:
            handler(self, message.object_id)
        except NotOurs:
            return "ignored", "not asked for by this system"
        except NotReady as error:
            return "received", str(error)
        except stripe.StripeError as error:
            return ("ignored" if is_final(error) else "received"), type(error).__name__
        except BillingError as error:
            log.error("stripe_message_waits", extra={"action": message.event_type, "reason": str(error)})
            return "received", str(error)
        return "done", ""

    def invoice(self, invoice_id: str) -> None:
        """Receive every payment of an invoice that Stripe has, and pay its statement with it."""
        invoice = self.client.v1.invoices.retrieve(invoice_id, {"expand": ["payments"]})
        tenant, operation_id = _operation_of(invoice)
        for part in invoice.payments.data if invoice.payments else ():
            if part.status == "paid" and part.payment.type == "payment_intent":
                self._receive(tenant, operation_id, part)

    def invoice_payment(self, invoice_payment_id: str) -> None:
        self.invoice(str(self.client.v1.invoice_payments.retrieve(invoice_payment_id).invoice))

    def refund(self, refund_id: str) -> None:
        """A refund of ours is settled; one that somebody made at Stripe is a payment that was taken back."""
        refund = self.client.v1.refunds.retrieve(refund_id)
        outcome, now = refund_outcome(refund), self.clock()
        try:
            tenant, operation_id = _operation_of(refund)
        except NotOurs:
            if outcome.state is State.CONFIRMED:
                self._take_back(str(refund.payment_intent), refund.id, _money(refund), "refunded at Stripe")
            return
        with self.transact(tenant) as conn:
            operation = rail_operation.find(conn, tenant, operation_id)
            if outcome.state is not operation.state and operation.state in _ANSWERS.get(outcome.state, ()):
                take_to(conn, operation, outcome, now=now)

    def charge(self, charge_id: str) -> None:
        for refund in self.client.v1.refunds.list({"charge": charge_id, "limit": 100}).auto_paging_iter():
            self.refund(str(refund.id))

    def dispute(self, dispute_id: str) -> None:
        """The payer's bank took a charge back, or gave it back to us after we won."""
        dispute = self.client.v1.disputes.retrieve(dispute_id)
        intent = str(dispute.payment_intent)
        moved = sum(one.amount for one in dispute.balance_transactions)
        if dispute.balance_transactions:
            self._take_back(intent, dispute.id, _money(dispute), f"disputed by the payer: {dispute.reason}")
        if dispute.status == "won" and moved == 0:
            self._win(intent, dispute)

    def _receive(self, tenant: str, operation_id: int, part: Any) -> None:
        intent = self.client.v1.payment_intents.retrieve(
            str(part.payment.payment_intent), {"expand": ["latest_charge.balance_transaction"]}
        )
        charge: Any = intent.latest_charge
        balance = charge.balance_transaction if charge else None
        if balance is None:
            raise NotReady("Stripe does not tell its fee yet")
        amount = Money(part.amount_paid, part.currency.upper())
        # A fee in another currency than the payment's is in Stripe's own report only.
        fee = Money(balance.fee, amount.currency) if balance.currency == part.currency else None
        with self.transact(tenant) as conn:
            operation = _find(conn, tenant, operation_id)
            lock(conn, tenant)
            if _payment(conn, tenant, intent.id) is not None:
                return
            payment = payments.receive(
                conn,
                tenant,
                payer_id=str(operation.request["payer_id"]),
                amount=amount,
                fee=fee,
                source=SOURCE,
                external_id=intent.id,
                received_at=datetime.fromtimestamp(charge.created, UTC),
                remittance=str(operation.request["number"]),
                by=BY,
                now=self.clock(),
            )
            still_open = payments.open_amount(conn, tenant, operation.subject_id).amount_minor
            if still_open > 0:
                most = min(still_open, amount.amount_minor)
                payments.allocate(
                    conn, tenant, payment.payment_id, operation.subject_id, most, by=BY, now=self.clock()
                )

    def _take_back(self, intent: str, external_id: str, amount: Money, reason: str) -> None:
        tenant = self._tenant_of(intent)
        with self.transact(tenant) as conn:
            payment = _payment(conn, tenant, intent)
            if payment is None:
                raise NotReady("its payment was not received yet")
            give_back.return_payment(
                conn,
                tenant,
                payment.payment_id,
                amount=amount,
                external_id=external_id,
                received_at=self.clock(),
                reason=reason,
                by=BY,
                now=self.clock(),
            )

    def _win(self, intent: str, dispute: Any) -> None:
        tenant = self._tenant_of(intent)
        with self.transact(tenant) as conn:
            payment = _payment(conn, tenant, intent)
            if payment is None:
                raise NotReady("its payment was not received yet")
            payments.receive(
                conn,
                tenant,
                payer_id=payment.payer_id,
                amount=_money(dispute),
                source=SOURCE,
                external_id=f"{dispute.id}:won",
                received_at=self.clock(),
                remittance=payment.remittance,
                by=BY,
                now=self.clock(),
            )

    def _tenant_of(self, intent: str) -> str:
        """By the invoice that a payment was made for."""
        asked: Any = {"payment": {"type": "payment_intent", "payment_intent": intent}, "limit": 1}
        found = self.client.v1.invoice_payments.list(asked).data
        if not found:
            raise NotOurs
        return _operation_of(self.client.v1.invoices.retrieve(str(found[0].invoice)))[0]


_ANSWERS = {
    State.CONFIRMED: (State.SENT, State.UNKNOWN),
    State.FAILED: (State.SENT, State.UNKNOWN, State.CONFIRMED),
}
_HANDLERS: dict[str, Callable[[StripeEvents, str], None]] = {
    "invoice.paid": StripeEvents.invoice,
    "invoice.payment_succeeded": StripeEvents.invoice,
    "invoice_payment.paid": StripeEvents.invoice_payment,
    "refund.created": StripeEvents.refund,
    "refund.updated": StripeEvents.refund,
    "refund.failed": StripeEvents.refund,
    "charge.refunded": StripeEvents.charge,
    "charge.dispute.funds_withdrawn": StripeEvents.dispute,
    "charge.dispute.funds_reinstated": StripeEvents.dispute,
    "charge.dispute.closed": StripeEvents.dispute,
}


def _operation_of(value: Any) -> tuple[str, int]:
    """Tenant and operation that an object was made for, out of its metadata."""
    tenant, _, operation_id = meta(value, OPERATION).removeprefix("radmeter-").rpartition("-")
    if not tenant or not operation_id.isdecimal():
        raise NotOurs
    return tenant, int(operation_id)


def _find(conn: Connection, tenant: str, operation_id: int) -> Operation:
    try:
        operation = rail_operation.find(conn, tenant, operation_id)
    except RailOperationNotFound:
        raise NotOurs from None
    if operation.kind is not Kind.COLLECT:
        raise NotOurs
    return operation


def _payment(conn: Connection, tenant: str, intent: str) -> Payment | None:
    values = {"tenant": tenant, "source": SOURCE, "external_id": intent}
    row = first_row(conn, "payment_by_external_id", values)
    return None if row is None else payment_of(row)


def _money(value: Any) -> Money:
    return Money(value.amount, str(value.currency).upper())
