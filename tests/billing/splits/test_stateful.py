"""Deliver, issue, credit, pay and take payments back in any order: shares stand as a naive reference has them."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
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

from billing.books import ledger
from billing.cash import payments
from billing.claims import credit_notes
from billing.contracts import store
from billing.metering import meter
from billing.metering.usage import UsageEvent
from billing.money import Money
from billing.queries import rows
from billing.splits import payout_statement
from billing.splits.payout_statement import Account
from billing.statements import statement
from tests.billing.splits.naive_shares import Bill, Line, Reference, Terms

TENANT = "hospital-a"
SPLITS = """
parties:
  - {{id: dev-a, name: Developer A, role: developer}}
  - {{id: treasury, name: Treasury, role: platform}}
  - {{id: west-hospital, name: West Hospital, role: contributor}}
splits:
  - split: app
    basis: {basis}
    parties:
      - {{party: dev-a, tiers: [{{up_to: {up_to}, share: {low}}}, {{share: {high}}}], cap: {cap}}}
      - {{party: treasury, weight: {weights[0]:f}}}
      - {{party: west-hospital, weight: {weights[1]:f}}}
      - {{party: radmeter-imaging, weight: {weights[2]:f}}}
"""
weights = st.tuples(
    *[st.decimals(min_value=Decimal("0.00000001"), max_value=1000, places=8).filter(bool)] * 3
)
fractions = st.decimals(min_value=0, max_value=1, places=4)


def month_start(month: int) -> datetime:
    return datetime(2026, 1 + month, 10, 4, tzinfo=UTC)


class Sharing(RuleBasedStateMachine):
    """One contract, priced 33.33 a case; months from January 2026. Everything is rolled back at the end."""

    url: str
    contract_text: str

    @initialize(
        basis=st.sampled_from(["billed", "collected"]), up_to=st.integers(1, 4), low=fractions, high=fractions,
        cap=st.sampled_from(["1.00", "50.01", "100000"]), weights=weights,
    )  # fmt: skip
    def sign(
        self, basis: str, up_to: int, low: Decimal, high: Decimal, cap: str, weights: tuple[Decimal, ...]
    ) -> None:
        self.conn: psycopg.Connection[Any] = psycopg.connect(self.url, row_factory=dict_row)
        self.conn.execute("SET LOCAL ROLE radmeter_app")
        self.conn.execute("SELECT set_config('radmeter.tenant', %s, true)", (TENANT,))
        text = self.contract_text.replace("unit_price: 100.00", "unit_price: 33.33") + SPLITS.format(
            basis=basis, up_to=up_to, low=low, high=high, cap=cap, weights=weights
        )
        self.contract_id = store.add_contract(self.conn, TENANT, text)
        parties = ("treasury", "west-hospital", "radmeter-imaging")
        by_party = {party: Fraction(weight) for party, weight in zip(parties, weights, strict=True)}
        terms = Terms(
            up_to, Fraction(low), Fraction(high), int(Decimal(cap) * 100), by_party, basis == "billed"
        )
        self.reference = Reference(terms, 3333)
        self.month, self.count = 0, 0
        self.allocations: list[tuple[Bill, int, int]] = []

    @rule(back=st.integers(0, 2), cases=st.integers(1, 3))
    def deliver(self, back: int, cases: int) -> None:
        """In this month, or late for an earlier one."""
        month = max(0, self.month - back)
        for _ in range(cases):
            self.count += 1
            event = UsageEvent(
                tenant=TENANT, source="test", event_id=f"e{self.count}", kind="result_delivered",
                product="lung_nodule_ct", quantity=Decimal(1),
                occurred_at=month_start(month) + timedelta(minutes=self.count),
                study_ref=f"s{self.count}", case_key=f"c{self.count}",
            )  # fmt: skip
            meter.record(self.conn, event, received_at=event.occurred_at)
        self.reference.cases[month] = self.reference.cases.get(month, 0) + cases

    @precondition(lambda self: self.month < 10)
    @rule()
    def issue(self) -> None:
        now = month_start(self.month) + timedelta(days=30)
        issued = statement.issue(
            self.conn, TENANT, self.contract_id, month_start(self.month), now=now, nil=True
        )
        assert issued.statement_id is not None
        bill = Bill(issued.statement_id, [])
        for line in issued.lines:
            service = line.rated.service_start.month - 1
            shares = self.reference.shares_of(service)
            bill.lines.append(Line(service, line.rated.amount.amount_minor, line.tax.amount_minor, shares))
        self.reference.bills.append(bill)
        self.month += 1

    @precondition(lambda self: self.creditable())
    @rule(data=st.data())
    def credit(self, data: st.DataObject) -> None:
        bill, number = data.draw(st.sampled_from(self.creditable()))
        line = bill.lines[number - 1]
        part = data.draw(st.sampled_from([Fraction(1, 3), Fraction(1, 7), None]))
        if part is not None and part > 1 - line.credited:
            part = None
        credit_notes.issue(
            self.conn, TENANT, bill.statement_id, [(number, part)], reason="test", by="clerk", now=self.now
        )
        line.credited = Fraction(1) if part is None else line.credited + part

    @precondition(lambda self: self.payable())
    @rule(data=st.data())
    def pay(self, data: st.DataObject) -> None:
        bill = data.draw(st.sampled_from(self.payable()))
        part = data.draw(st.sampled_from([Fraction(1, 3), Fraction(5, 9), Fraction(1)]))
        amount = math.ceil((bill.due - bill.paid) * part)
        payment = payments.receive(
            self.conn, TENANT, payer_id="demo-hospital", amount=Money(amount, "CNY"), source="bank",
            external_id=f"p{len(self.allocations)}", received_at=self.now, by="clerk", now=self.now,
        )  # fmt: skip
        paid = payments.allocate(
            self.conn, TENANT, payment.payment_id, bill.statement_id, by="clerk", now=self.now
        )
        bill.paid += amount
        self.allocations.append((bill, paid.allocation_id, amount))

    @precondition(lambda self: any(amount for _, _, amount in self.allocations))
    @rule(data=st.data())
    def take_payment_back(self, data: st.DataObject) -> None:
        standing = [n for n, (_, _, amount) in enumerate(self.allocations) if amount]
        number = data.draw(st.sampled_from(standing))
        bill, allocation_id, amount = self.allocations[number]
        payments.unallocate(self.conn, TENANT, allocation_id, reason="test", by="clerk", now=self.now)
        bill.paid -= amount
        self.allocations[number] = (bill, allocation_id, 0)

    @invariant()
    def shares_stand_as_the_reference_has_them(self) -> None:
        # Each step is a transaction in life: what is checked at its end is checked now.
        self.conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self.conn.execute("SET CONSTRAINTS ALL DEFERRED")
        for bill in self.reference.bills:
            found = rows(self.conn, "split_states", {"tenant": TENANT, "statement_id": bill.statement_id})
            stored = {
                (r["line_number"], r["party_id"]): (
                    r["amount_minor"],
                    r["reversed_minor"],
                    r["released_minor"],
                )
                for r in found
            }
            collected = self.reference.collected(bill)
            assert stored == {
                (number, party): state
                for number, line in enumerate(bill.lines, start=1)
                for party, state in line.state(collected).items()
            }
            for number, line in enumerate(bill.lines, start=1):
                parts = [stored[number, party] for party in line.shares]
                assert sum(accrued for accrued, _, _ in parts) == line.amount
                assert all(abs(released) <= abs(accrued - back) for accrued, back, released in parts)
                if line.credited == 1:
                    assert all(accrued == back and released == 0 for accrued, back, released in parts)

    def teardown(self) -> None:
        if not hasattr(self, "conn"):
            return
        with self.conn:
            self.payees_are_owed_what_was_released()
            assert ledger.check(self.conn, TENANT) == []
            self.conn.rollback()

    def payees_are_owed_what_was_released(self) -> None:
        """Payout statements tell of every release once, and what is negative is carried forward."""
        for party in ("dev-a", "treasury", "west-hospital"):
            released = sum(
                line.state(self.reference.collected(bill)).get(party, (0, 0, 0))[2]
                for bill in self.reference.bills
                for line in bill.lines
            )
            account = Account(TENANT, "radmeter-imaging", party, "CNY")
            told = payout_statement.draft(self.conn, account, datetime(2027, 1, 15, tzinfo=UTC))
            assert (told.closing.amount_minor, told.to_pay.amount_minor) == (released, max(0, released))

    @property
    def now(self) -> datetime:
        return month_start(self.month) + timedelta(days=1)

    def creditable(self) -> list[tuple[Bill, int]]:
        return [
            (bill, number)
            for bill in self.reference.bills
            for number, line in enumerate(bill.lines, start=1)
            if line.credited < 1 and line.amount > 0
        ]

    def payable(self) -> list[Bill]:
        return [bill for bill in self.reference.bills if bill.due > bill.paid]


@pytest.mark.parametrize(
    ("examples", "steps"), [(12, 12), pytest.param(400, 30, marks=pytest.mark.soak)], ids=["short", "soak"]
)
def test_shares_stand_as_a_naive_reference_has_them(
    migrated_url: str, per_case: str, examples: int, steps: int
) -> None:
    class Here(Sharing):
        url = migrated_url
        contract_text = per_case

    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Here, settings=chosen)


def test_the_reference_is_naive_and_right() -> None:
    """What a person works out by hand."""
    terms = Terms(2, Fraction("0.6"), Fraction("0.8"), 300, {"a": Fraction(1), "b": Fraction(2)}, True)
    assert terms.shares(2, 101) == {"dev-a": 61, "a": 13, "b": 27}
    assert terms.shares(3, 1000) == {"dev-a": 300, "a": 233, "b": 467}
    assert date(2026, 1, 10) == month_start(0).date()
