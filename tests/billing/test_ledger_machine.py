"""Issue, credit, pay, refund, share, pay out, close, reopen in any order: the books agree with naive ones."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

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

from billing.books import accounting, ledger, reports
from billing.cash import give_back, payments
from billing.claims import credit_notes
from billing.contracts import store
from billing.metering import meter
from billing.rails import rail_operation
from billing.rails.rail import Kind, Outcome, State
from billing.rails.rail_worker import take_to
from billing.splits import payout, payout_statement
from billing.splits.errors import NothingToState
from billing.splits.payout_statement import Account
from billing.statements import statement
from tests.billing import payment_seeds
from tests.billing.naive_ledger import Books, Sale
from tests.conftest import ROOT

LAST_MONTH = 10
SPLITS = """
parties: [{id: dev-a, name: Developer A, role: developer}]
splits:
  - split: app
    parties:
      - {party: dev-a, share: 0.333}
      - {party: radmeter-imaging, residual: true}
"""
_tenants = itertools.count()


class Ledger(RuleBasedStateMachine):
    """Time goes on with each statement: month after month is billed and may be closed."""

    transact: Callable[..., Any]
    make_event: Callable[..., Any]

    @initialize()
    def begin(self) -> None:
        self.tenant = f"t{next(_tenants)}"
        self.naive = Books()
        self.month, self.cases, self.facts = 0, 0, 0
        self.paid_month, self.closed_month = 0, 0
        self.closed: dict[int, list[Any]] = {}
        self.allocations: dict[int, tuple[int, int, int]] = {}
        self.clock = datetime(2026, 1, 2, tzinfo=UTC)
        with self.transact(self.tenant) as conn:
            text = (ROOT / "examples/contract_per_case.yaml").read_text() + SPLITS
            self.contract_id = store.add_contract(conn, self.tenant, text)
            accounting.set_zone(conn, self.tenant, "Asia/Shanghai")
            for party in ("dev-a", payment_seeds.PAYER):
                payment_seeds.add_address(conn, self.tenant, party)

    def _now(self) -> datetime:
        self.clock += timedelta(minutes=1)
        return self.clock

    @precondition(lambda self: self.month < LAST_MONTH)
    @rule(cases=st.sampled_from([0, 1, 3, 7]))
    def issue(self, cases: int) -> None:
        self.month += 1
        at = datetime(2026, self.month, 10, tzinfo=UTC)
        self.clock = max(self.clock, datetime(2026, self.month + 1, 2, tzinfo=UTC))
        now = self._now()
        with self.transact(self.tenant) as conn:
            for _ in range(cases):
                self.cases += 1
                event = self.make_event(self.cases, tenant=self.tenant, occurred_at=at)
                meter.record(conn, event, received_at=now)
            issued = statement.issue(conn, self.tenant, self.contract_id, at, now=now, nil=True)
        self.naive.sales[issued.statement_id or 0] = Sale(cases)

    @precondition(lambda self: any(one.cases and one.credited < 1 for one in self.naive.sales.values()))
    @rule(data=st.data(), part=st.sampled_from([Fraction(1, 3), Fraction(1, 7), Fraction(2, 3), Fraction(1)]))
    def credit(self, data: st.DataObject, part: Fraction) -> None:
        sales = self.naive.sales
        chosen = data.draw(
            st.sampled_from([key for key, one in sales.items() if one.cases and one.credited < 1])
        )
        part = min(part, 1 - sales[chosen].credited)
        with self.transact(self.tenant) as conn:
            credit_notes.issue(
                conn,
                self.tenant,
                chosen,
                [(1, part)],
                reason="r",
                by="lin",
                approved_by="wang",
                now=self._now(),
            )
        sales[chosen].credited += part

    @rule(amount=st.sampled_from([1, 3_333, 10_600, 50_000, 123_457]))
    def receive(self, amount: int) -> None:
        self.facts += 1
        now = self._now()
        with self.transact(self.tenant) as conn:
            payment = payment_seeds.receive(
                conn, self.tenant, payment_seeds.PAYER, amount, f"line-{self.facts}", received_at=now, now=now
            )
        self.naive.received[payment.payment_id] = amount

    @precondition(lambda self: self.naive.received and self.naive.sales)
    @rule(data=st.data(), divisor=st.sampled_from([1, 1, 2, 3]))
    def allocate(self, data: st.DataObject, divisor: int) -> None:
        payment = data.draw(st.sampled_from(sorted(self.naive.received)))
        chosen = data.draw(st.sampled_from(sorted(self.naive.sales)))
        amount = min(self.naive.unapplied(payment), self.naive.sales[chosen].still_open) // divisor
        if amount <= 0:
            return
        with self.transact(self.tenant) as conn:
            allocation = payments.allocate(
                conn, self.tenant, payment, chosen, amount, by="lin", now=self._now()
            )
        self.allocations[allocation.allocation_id] = (payment, chosen, amount)
        self._move(payment, chosen, amount)

    @precondition(lambda self: self.allocations)
    @rule(data=st.data())
    def take_allocation_back(self, data: st.DataObject) -> None:
        allocation_id = data.draw(st.sampled_from(sorted(self.allocations)))
        payment, chosen, amount = self.allocations.pop(allocation_id)
        with self.transact(self.tenant) as conn:
            payments.unallocate(conn, self.tenant, allocation_id, reason="r", by="lin", now=self._now())
        self._move(payment, chosen, -amount)

    def _move(self, payment: int, chosen: int, amount: int) -> None:
        self.naive.allocated[payment] += amount
        self.naive.sales[chosen].paid += amount

    @precondition(lambda self: any(self.naive.unapplied(one) > 0 for one in self.naive.received))
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        left = {one: self.naive.unapplied(one) for one in self.naive.received}
        payment = data.draw(st.sampled_from([one for one, amount in left.items() if amount > 0]))
        amount = max(1, left[payment] // 2)
        with self.transact(self.tenant) as conn:
            refund_id = give_back.refund(
                conn,
                self.tenant,
                payment,
                amount,
                reason="r",
                requested_by="lin",
                approved_by="wang",
                now=self._now(),
            )
        self._confirm(Kind.REFUND, refund_id)
        self.naive.refunded[payment] += amount

    @precondition(lambda self: self.paid_month < self.month)
    @rule()
    def pay_out(self) -> None:
        self.paid_month = self.month
        at = datetime(2026, self.month, 10, tzinfo=UTC)
        account = Account(self.tenant, "radmeter-imaging", "dev-a", "CNY")
        with self.transact(self.tenant) as conn:
            try:
                issued = payout_statement.issue(conn, account, at, by="lin", now=self._now())
            except NothingToState:
                assert self.naive.payable <= 0  # what was overpaid stays on the last statement
                return
            assert issued.to_pay.amount_minor == max(0, self.naive.payable)
            if not issued.to_pay:
                return
            latest = payout.list_payouts(conn, self.tenant)[0]
            payout.approve(conn, self.tenant, latest.payout_id, by="wang", now=self._now())
        self._confirm(Kind.PAY_OUT, latest.payout_id)
        self.naive.paid_out += issued.to_pay.amount_minor

    def _confirm(self, kind: Kind, subject_id: int) -> None:
        """The rail does at once what it is asked for."""
        for state in (State.SENT, State.CONFIRMED):
            with self.transact(self.tenant) as conn:
                operation = rail_operation.of_subject(conn, self.tenant, kind, subject_id)
                assert operation is not None
                take_to(conn, operation, Outcome(state), now=self._now())

    @precondition(lambda self: self.closed_month < self.month)
    @rule()
    def close(self) -> None:
        with self.transact(self.tenant) as conn:
            month = accounting.month_named(conn, self.tenant, f"2026-{self.closed_month + 1:02d}")
            accounting.begin_closing(conn, self.tenant, month, by="ann", now=self._now())
            accounting.close(conn, self.tenant, month, requested_by="ann", approved_by="bo", now=self._now())
            self.closed_month += 1
            self.closed[self.closed_month] = reports.trial_balance(conn, self.tenant, month.end_at)

    @precondition(lambda self: self.closed_month)
    @rule()
    def reopen(self) -> None:
        with self.transact(self.tenant) as conn:
            month = accounting.month_named(conn, self.tenant, f"2026-{self.closed_month:02d}")
            accounting.request_reopening(conn, self.tenant, month, by="ann", reason="r", now=self._now())
            accounting.approve_reopening(conn, self.tenant, month, by="bo", now=self._now())
        del self.closed[self.closed_month]
        self.closed_month -= 1

    @invariant()
    def every_account_is_what_it_must_be(self) -> None:
        if not hasattr(self, "tenant"):
            return
        with self.transact(self.tenant) as conn:
            totals = reports.trial_balance(conn, self.tenant, datetime(2030, 1, 1, tzinfo=UTC))
        found: dict[str, int] = defaultdict(int)
        for one in totals:
            found[one.account.split(":")[0]] += one.balance.amount_minor
        assert {account: amount for account, amount in found.items() if amount} == self.naive.balances()

    def teardown(self) -> None:
        """Closed months say what they said when they were closed, and the whole is sound."""
        if not hasattr(self, "tenant"):
            return
        with self.transact(self.tenant) as conn:
            for number, before in self.closed.items():
                month = accounting.month_named(conn, self.tenant, f"2026-{number:02d}")
                assert reports.trial_balance(conn, self.tenant, month.end_at) == before
            assert ledger.check(conn, self.tenant) == []


def run(transact: Callable[..., Any], make_event: Callable[..., Any], examples: int, steps: int) -> None:
    Ledger.transact, Ledger.make_event = staticmethod(transact), staticmethod(make_event)
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes minutes with a database
        ),
    )


def test_the_books_agree_with_naive_ones(transact, make_event) -> None:
    run(transact, make_event, examples=5, steps=25)


@pytest.mark.soak
def test_the_books_agree_with_naive_ones_for_long(transact, make_event) -> None:
    run(transact, make_event, examples=150, steps=50)
