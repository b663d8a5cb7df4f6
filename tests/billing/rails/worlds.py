"""The two rails with the world behind them: a bank that sends statements, a Stripe that sends messages."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Protocol

import psycopg
import stripe

from billing.bank import order, settle, store
from billing.bank.read_camt import read_camt
from billing.rails import inbox
from billing.rails.bank_rail import BankRail
from billing.rails.rail import Kind, Operation, Rail
from billing.rails.rail_worker import Worker
from billing.rails.stripe_client import make_client
from billing.rails.stripe_events import StripeEvents
from billing.rails.stripe_rail import StripeRail
from tests.billing.bank.bank_files import Booking, camt
from tests.billing.fake_stripe import FakeStripe
from tests.billing.fake_stripe_state import State as StripeState
from tests.billing.payment_seeds import NOW, PAYER, TENANT, add_address

Connection = psycopg.Connection[Any]
Transact = Callable[..., AbstractContextManager[Connection]]
PAYEE = "dev-a"
SECRET = "whsec_test_secret"
KEY = "sk_test_never_stored_nor_logged"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


class World(Protocol):
    """What the contract tests ask of a rail's world."""

    rail: Rail
    clock: Clock

    def worker(self) -> Worker: ...
    def add_addresses(self, conn: Connection) -> None: ...
    def payer_pays(self, operation: Operation, amount: str) -> None: ...
    def carry_out(self) -> None: ...
    def bring_back(self, operation: Operation) -> None: ...
    def effects(self, kind: Kind) -> int: ...


class BankWorld:
    """Its effects are what stands in files of orders; its statements come as camt.053."""

    def __init__(self, transact: Transact) -> None:
        self.transact, self.clock, self.rail = transact, Clock(), BankRail()
        self.ordered: list[str] = []
        self.day = 0

    def worker(self) -> Worker:
        return Worker(TENANT, self.transact, {"bank": self.rail}, self.clock)

    def add_addresses(self, conn: Connection) -> None:
        add_address(conn, TENANT, PAYER)
        add_address(conn, TENANT, PAYEE)

    def payer_pays(self, operation: Operation, amount: str) -> None:
        self._book(Booking(amount, f"for {operation.request['number']}"))

    def carry_out(self) -> None:
        """Write the order file, upload it, and read the bank's statement of it."""
        ours = order.OurAccount("Radmeter Imaging", "DE02120300000000202051")
        with self.transact() as conn:
            made = order.write_order(
                conn, TENANT, ours, currency="CNY", format="csv", by="lin", now=self.clock.now
            )
        for row in made.document.splitlines()[1:]:
            reference, _, _, _, amount = row.split(",")[:5]
            self.ordered.append(reference)
            self._book(Booking(f"-{amount}", "order", e2e=reference))

    def bring_back(self, operation: Operation) -> None:
        self._book(Booking(str(operation.amount), f"returned {operation.reference}"))

    def effects(self, kind: Kind) -> int:
        assert len(set(self.ordered)) == len(self.ordered)
        return len(self.ordered) if kind in (Kind.REFUND, Kind.PAY_OUT) else 1

    def _book(self, booking: Booking) -> None:
        self.day += 1
        data = camt([Booking(**{**vars(booking), "reference": f"bank-{self.day}"})])
        with self.transact() as conn:
            store.add(conn, TENANT, read_camt(data), data=data, by="lin", now=self.clock.now)
            [done] = settle.match_all(conn, TENANT, by="lin", now=self.clock.now)
            assert done.is_settled, done.sentence


class StripeWorld:
    """Messages are sent signed, twice and in any order."""

    def __init__(self, transact: Transact, seed: int = 0) -> None:
        self.transact, self.clock, self.random = transact, Clock(), random.Random(seed)
        self.state = StripeState(self.clock.now.timestamp())
        self.http = FakeStripe(self.state)
        self.client = make_client(KEY, self.http)
        self.rail = StripeRail(self.client)

    def worker(self) -> Worker:
        self.state.now = self.clock.now.timestamp()
        return Worker(TENANT, self.transact, {"stripe": self.rail}, self.clock)

    def advance(self, **by: float) -> None:
        self.clock.advance(**by)
        self.state.now = self.clock.now.timestamp()

    def add_addresses(self, conn: Connection) -> None:
        add_address(conn, TENANT, PAYEE, rail="stripe", account="acct_payee")
        add_address(
            conn, TENANT, PAYER, rail="stripe", direction="in", account="", email="pay@hospital.example"
        )

    def payer_pays(self, operation: Operation, amount: str) -> None:
        [invoice] = [one for one in self.state.of("invoice") if one["status"] == "open"]
        assert invoice["metadata"]["radmeter_operation"] == operation.name
        self.state.pay(invoice["id"], int(amount.replace(".", "")))
        self.deliver()

    def carry_out(self) -> None:
        self.deliver()

    def bring_back(self, operation: Operation) -> None:
        assert operation.external_id is not None
        self.state.fail_refund(operation.external_id)
        self.deliver()

    def effects(self, kind: Kind) -> int:
        name = {
            Kind.COLLECT: "invoice",
            Kind.CREDIT: "credit_note",
            Kind.REFUND: "refund",
            Kind.PAY_OUT: "transfer",
        }
        return len(self.state.of(name[kind]))

    def deliver(self) -> None:
        """Send every message so far, each twice, shuffled, and look into them."""
        for event in self.random.sample(self.state.events * 2, len(self.state.events) * 2):
            self.post(event)
        self.events().run_once()

    def post(self, *events: dict[str, Any]) -> None:
        """Each signed now, verified and kept."""
        with self.transact(inbox.INBOX_TENANT) as conn:
            for event in events:
                body, at = json.dumps(event), int(self.clock.now.timestamp())
                signature = stripe.WebhookSignature.generate_signature_header(body, SECRET, at)
                kept = inbox.verify(body.encode(), signature, [SECRET], now=self.clock.now)
                inbox.keep(conn, kept, now=self.clock.now)

    def events(self) -> StripeEvents:
        return StripeEvents(self.client, self.transact, self.clock)
