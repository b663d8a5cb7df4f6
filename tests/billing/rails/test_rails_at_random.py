"""Whatever faults, crashes, lost, doubled and late messages: no payer pays twice, nothing is sent twice."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.rows import dict_row

from billing import rails
from billing.books import ledger
from billing.cash import give_back, payments
from billing.cash.payment_errors import BillingError, RailOperationNotAllowed
from billing.contracts import store
from billing.metering.usage import UsageEvent
from billing.rails import rail_operation
from billing.rails.rail import Kind, State
from billing.rails.rail_worker import begin_anew
from billing.splits import payout
from tests.billing.fake_stripe import Call, Crash, Fault
from tests.billing.payment_seeds import TENANT, cny, issue_month
from tests.billing.rails.conftest import SHARED
from tests.billing.rails.worlds import PAYEE, StripeWorld

FAULTS: tuple[Any, ...] = (*Fault, "crash before", "crash after")
FAULT_SHARE = 0.15
"""Of a worker's calls. A round has about twelve, so most rounds are cut somewhere, and some more than once."""
PER_CASE = Path(__file__).resolve().parents[3] / "examples" / "contract_per_case.yaml"

STANDING = """SELECT allocation_id FROM billing.payment_allocation a WHERE payment_id = %s AND amount_minor > 0
    AND NOT EXISTS (SELECT 1 FROM billing.payment_allocation r WHERE r.reverses_id = a.allocation_id)"""


class Rails(RuleBasedStateMachine):
    """One hospital that owes 212.00 and a developer who is owed an advance of 50.00."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.world: StripeWorld
        self.statement_id = 0
        self.refunded = 0

    @contextmanager
    def transact(self, tenant: str = TENANT) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        with psycopg.connect(self.url, row_factory=dict_row) as conn:
            conn.execute("SET LOCAL ROLE radmeter_app")
            conn.execute("SELECT set_config('radmeter.tenant', %s, true)", (tenant,))
            yield conn

    @initialize()
    def begin(self) -> None:
        self.world = StripeWorld(self.transact)
        with self.transact() as conn:
            contract_id = store.add_contract(conn, TENANT, PER_CASE.read_text() + SHARED)
            events = [_event(1), _event(2)]
            self.statement_id = issue_month(conn, TENANT, contract_id, events).statement_id or 0
            self.world.add_addresses(conn)
        self.ask_again()

    @rule()
    def ask_again(self) -> None:
        """What was asked before changes nothing."""
        with self.transact() as conn:
            rails.request_collect(conn, TENANT, self.statement_id, now=self.world.clock.now)
            try:
                asked = payout.request_advance(
                    conn, TENANT, 1, "app", PAYEE, by="lin", now=self.world.clock.now
                )
            except BillingError:
                return
            payout.approve(conn, TENANT, asked.payout_id, by="wang", now=self.world.clock.now)

    @rule(seed=st.integers(0, 2**32 - 1), seconds=st.sampled_from([40, 600, 8 * 3600, 30 * 3600]))
    def work(self, seed: int, seconds: int) -> None:
        """A worker runs some time later, while calls fail; it may die at any of them."""
        self.world.advance(seconds=seconds)
        chooser = random.Random(seed)  # even, which drawn lists are not

        def next_fault(call: Call) -> Fault | None:
            fault = chooser.choice(FAULTS) if chooser.random() < FAULT_SHARE else None
            if fault == "crash before":
                raise Crash
            if fault == "crash after":
                self.world.http._answer(call, None)
                raise Crash
            return fault

        self.world.http.next_fault = next_fault
        try:
            self.world.worker().run_once()
        except Crash:
            pass
        finally:
            self.world.http.next_fault = lambda _call: None

    @precondition(lambda self: any(one["status"] == "open" for one in self.world.state.of("invoice")))
    @rule(data=st.data())
    def the_payer_pays_every_invoice_it_sees(self, data: st.DataObject) -> None:
        for invoice in self.world.state.of("invoice"):
            if invoice["status"] == "open":
                part = data.draw(st.sampled_from([None, 1000]))
                self.world.state.pay(invoice["id"], min(part, invoice["amount_remaining"]) if part else None)

    @precondition(lambda self: bool(self.world.state.events))
    @rule(data=st.data())
    def messages_come(self, data: st.DataObject) -> None:
        """Any of them, again and in any order."""
        for event in data.draw(st.lists(st.sampled_from(self.world.state.events), min_size=1, max_size=6)):
            self.world.post(event)
        self.world.events().run_once()

    @rule()
    def give_back_what_was_paid(self) -> None:
        with self.transact() as conn:
            for payment in payments.list_payments(conn, TENANT):
                for row in conn.execute(STANDING, (payment.payment_id,)).fetchall():
                    payments.unallocate(
                        conn,
                        TENANT,
                        row["allocation_id"],
                        reason="withdrawn",
                        by="lin",
                        now=self.world.clock.now,
                    )
                left = payments.get_payment(conn, TENANT, payment.payment_id).unapplied.amount_minor
                if left:
                    give_back.refund(
                        conn, TENANT, payment.payment_id, left, reason="withdrawn", requested_by="lin",
                        approved_by="wang", now=self.world.clock.now,
                    )  # fmt: skip

    @rule()
    def begin_what_failed_anew(self) -> None:
        with self.transact() as conn:
            for one in rail_operation.list_operations(conn, TENANT):
                if one.state is State.FAILED:
                    try:
                        begin_anew(conn, TENANT, one.operation_id, now=self.world.clock.now)
                    except RailOperationNotAllowed:
                        continue

    @invariant()
    def nothing_was_done_twice(self) -> None:
        if not hasattr(self, "world"):
            return
        state = self.world.state
        asked = [one for one in state.of("invoice") if one["status"] in ("open", "paid")]
        assert len(asked) <= 1, "the payer was asked twice"
        assert sum(one["amount"] for one in state.of("payment_intent")) <= 21200
        assert sum(one["amount"] - one["amount_reversed"] for one in state.of("transfer")) <= 5000
        for intent in state.of("payment_intent"):
            given = sum(one["amount"] for one in state.of("refund") if one["payment_intent"] == intent["id"])
            assert given <= intent["amount"]

    def teardown(self) -> None:
        """In the end everything comes through, and our books say what Stripe's account says."""
        if not hasattr(self, "world"):
            return
        for _ in range(12):
            self.world.advance(hours=25)
            self.world.worker().run_once()
            for event in self.world.state.events:
                self.world.post(event)
            self.world.events().run_once()
        state = self.world.state
        with self.transact() as conn:
            assert ledger.check(conn, TENANT) == []
            operations = rail_operation.list_operations(conn, TENANT)
            assert {one.state for one in operations} <= {State.CONFIRMED, State.FAILED}, operations
            came = sum(one["amount"] for one in state.of("payment_intent"))
            assert sum(one.amount.amount_minor for one in payments.list_payments(conn, TENANT)) == came
            gone = sum(one["amount"] for one in state.of("refund"))
            sent = sum(one["amount"] for one in state.of("transfer"))
            fees = sum(one["fee"] for one in state.of("balance_transaction"))
            cash = conn.execute(
                "SELECT coalesce(sum(amount_minor), 0)::bigint AS s FROM billing.posting WHERE account = 'cash:stripe'"
            ).fetchone()
            assert cash is not None
            assert cash["s"] == came - gone - sent - fees
            paid = {
                one.amount for one in operations if one.kind is Kind.PAY_OUT and one.state is State.CONFIRMED
            }
            assert paid <= {cny(5000)}


def _event(number: int) -> UsageEvent:
    return UsageEvent(
        tenant=TENANT, source="test", event_id=f"delivery:{number}", kind="result_delivered", product="lung_nodule_ct",
        quantity=Decimal(1), occurred_at=datetime(2026, 11, 10, 4, number, tzinfo=UTC), study_ref=f"study-{number}",
        case_key=f"case-{number}",
    )  # fmt: skip


def machine(postgres_url: str, template: str) -> type[Rails]:
    """A fresh database for each run of the machine."""

    class Fresh(Rails):
        def __init__(self) -> None:
            self.name = f"test_{uuid.uuid4().hex}"
            with psycopg.connect(postgres_url, autocommit=True) as admin:
                admin.execute(f'CREATE DATABASE "{self.name}" TEMPLATE "{template}"')
            self.url = urlunsplit(urlsplit(postgres_url)._replace(path=f"/{self.name}"))
            super().__init__()

        def teardown(self) -> None:
            try:
                super().teardown()
            finally:
                with psycopg.connect(postgres_url, autocommit=True) as admin:
                    admin.execute(f'DROP DATABASE "{self.name}" WITH (FORCE)')

    return Fresh


def run(postgres_url: str, template: str, examples: int, steps: int) -> None:
    """A failure is told as it was found: shrinking it would make thousands of databases."""
    run_state_machine_as_test(
        machine(postgres_url, template),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_rails_at_random(postgres_url: str, migrated_template: str) -> None:
    run(postgres_url, migrated_template, examples=4, steps=15)


@pytest.mark.soak
def test_rails_at_random_for_long(postgres_url: str, migrated_template: str) -> None:
    run(postgres_url, migrated_template, examples=150, steps=40)
