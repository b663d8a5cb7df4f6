"""Usage in any order, late, void, at new prices, in any zone and currency: statements add up to one full rating."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing.books import ledger
from billing.contracts import store
from billing.metering import meter, voids
from billing.metering.usage import UsageEvent
from billing.money import exponent
from billing.statements import statement
from tests.billing import naive_rater
from tests.billing.naive_rater import Use

LAST_MONTH = 6
ZONES = ("Asia/Shanghai", "America/New_York", "Europe/London", "Asia/Kolkata")
CONTRACT = """\
contract: machine
seller: {{id: s, name: Seller}}
buyer: {{id: b, name: Buyer}}
currency: {currency}
time_zone: {zone}
effective_from: 2026-{month:02d}-01
term: {{months: 3, from: 2026-01-01}}
tax: {{name: VAT, rate: 0.0625}}
rates:
  - {{id: fee, product: fee, title: {{en: F, zh: F}}, unit: {{en: u, zh: u}}, price: {{model: flat, amount: 9000000}}}}
  - id: east
    product: ct
    title: {{en: E, zh: E}}
    unit: {{en: u, zh: u}}
    when: {{campus: east}}
    price: {{model: graduated, tiers: [{{up_to: 10, unit_price: {price}}}, {{unit_price: {third}}}]}}
  - id: other
    product: ct
    title: {{en: O, zh: O}}
    unit: {{en: u, zh: u}}
    over: term
    free_allowance: 5
    price: {{model: graduated, tiers: [{{up_to: 20, unit_price: {price}}}, {{unit_price: {quarter}}}]}}
  - id: mri
    product: mri
    title: {{en: M, zh: M}}
    unit: {{en: u, zh: u}}
    price: {{model: package, size: 3, package_price: 7.77}}
  - id: share
    product: revenue
    meter: revenue
    title: {{en: R, zh: R}}
    unit: {{en: u, zh: u}}
    price: {{model: percentage, share: 0.15, floor: 1, cap: 50, limits: event}}
commitments:
  - {{id: most, title: {{en: A, zh: A}}, maximum: 500, rates: [east, other]}}
  - {{id: least, title: {{en: B, zh: B}}, minimum: 3000, over: term, rates: [east, other, mri, share]}}
"""
_tenants = itertools.count()


class Billing(RuleBasedStateMachine):
    """Months are issued one after the other; a month is compared when everything known was billed."""

    transact: Callable[..., Any]

    @initialize(zone=st.sampled_from(ZONES), currency=st.sampled_from(["JPY", "CNY", "KWD"]))
    def begin(self, zone: str, currency: str) -> None:
        self.tenant, self.zone, self.currency = f"t{next(_tenants)}", zone, currency
        self.scale = 10 ** exponent(currency)
        self.count = 0
        self.month = 0  # the last one that was issued
        self.prices: dict[int, Decimal] = {}
        self.uses: dict[str, Use] = {}
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)
        self.contract_id = self._add(1, Decimal("12"))

    def _add(self, month: int, price: Decimal) -> int:
        """price: of a form that a third and a quarter of it have 8 decimals."""
        text = CONTRACT.format(
            currency=self.currency,
            zone=self.zone,
            month=month,
            price=price,
            third=price / 3,
            quarter=price / 4,
        )
        for later in range(month, LAST_MONTH + 1):
            self.prices[later] = price
        with self.transact(self.tenant) as conn:
            return store.add_contract(conn, self.tenant, text)

    @rule(
        product=st.sampled_from(["ct", "ct", "mri", "revenue"]),
        campus=st.sampled_from(["east", "west", ""]),
        quantity=st.sampled_from(["1", "1", "0.333333", "7.5", "30"]),
        amount=st.sampled_from([0, 1, -1, 667, 666_667, -40_000, 33_333, 33_334]),
        minutes=st.integers(-60, 210 * 24 * 60),
    )
    def deliver(self, product: str, campus: str, quantity: str, amount: int, minutes: int) -> None:
        """Anywhere from an hour before the contract to the end of July, in the future or long ago."""
        at = datetime(2026, 1, 1, 5, tzinfo=UTC) + timedelta(minutes=minutes)
        self._record(at, product, campus, quantity, amount)

    @rule(second=st.sampled_from([-1, 0]), month=st.integers(2, 6), product=st.sampled_from(["ct", "mri"]))
    def deliver_at_the_turn_of_a_month(self, second: int, month: int, product: str) -> None:
        midnight = datetime(2026, month, 1, tzinfo=ZoneInfo(self.zone)).astimezone(UTC)
        self._record(midnight + timedelta(seconds=second), product, "", "1", 0)

    def _record(self, at: datetime, product: str, campus: str, quantity: str, amount: int) -> None:
        self.count += 1
        name = f"e{self.count}"
        is_share = product == "revenue"
        event = UsageEvent(
            self.tenant, "test", name, "usage" if is_share else "result_delivered", product, Decimal(quantity), at,
            "study", name, {"campus": campus} if campus else {},
            amount_minor=amount if is_share else None, amount_currency=self.currency if is_share else None,
            meter="revenue" if is_share else "",
        )  # fmt: skip
        with self.transact(self.tenant) as conn:
            decision = meter.record(conn, event, received_at=max(self.clock, at))
        if decision.is_billable:
            self.uses[name] = Use(at, product, campus, Fraction(quantity), amount if is_share else 0)

    @precondition(lambda self: self.uses)
    @rule(data=st.data())
    def declare_void(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.uses)))
        del self.uses[name]
        with self.transact(self.tenant) as conn:
            voids.void(conn, self.tenant, "test", name, reason="wrong", by="auditor", now=self.clock)

    @precondition(lambda self: self.month < LAST_MONTH - 1)
    @rule(price=st.sampled_from(["12", "0.00000012", "33.3333336", "240"]), ahead=st.integers(0, 1))
    def reprice(self, price: str, ahead: int) -> None:
        month = self.month + 1 + ahead
        if (
            month > 1
            and self.prices[month] == self.prices[LAST_MONTH]
            and month > getattr(self, "repriced", 1)
        ):
            self.repriced = month
            self._add(month, Decimal(price))

    @precondition(lambda self: self.month < LAST_MONTH)
    @rule()
    def issue(self) -> None:
        self.month += 1
        at = datetime(2026, self.month, 15, tzinfo=UTC)
        self.clock = max(self.clock, datetime(2026, self.month + 1, 2, tzinfo=UTC))
        with self.transact(self.tenant) as conn:
            statement.issue(conn, self.tenant, self.contract_id, at, now=self.clock, nil=True)

    def teardown(self) -> None:
        if not hasattr(self, "contract_id"):
            return
        while self.month < LAST_MONTH:
            self.issue()
        with self.transact(self.tenant) as conn:  # July takes what came late for June
            at, now = datetime(2026, 7, 15, tzinfo=UTC), datetime(2026, 8, 2, tzinfo=UTC)
            statement.issue(conn, self.tenant, self.contract_id, at, now=now, nil=True)
            assert ledger.check(conn, self.tenant) == []
            issued = store.list_statements(conn, self.tenant)
        billed: dict[int, int] = defaultdict(int)
        for line in (line.rated for one in issued for line in one.lines):
            billed[line.service_start.month] += line.amount.amount_minor
        exact = {month: Fraction(price) for month, price in self.prices.items()}
        expected = naive_rater.month_totals(list(self.uses.values()), exact, self.zone, self.scale)
        assert {month: billed[month] for month in expected} == expected


def run(transact: Callable[..., Any], examples: int, steps: int) -> None:
    Billing.transact = staticmethod(transact)
    run_state_machine_as_test(
        Billing,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes minutes with a database
        ),
    )


def test_statements_add_up_to_one_full_rating(transact) -> None:
    run(transact, examples=8, steps=20)


@pytest.mark.soak
def test_statements_add_up_to_one_full_rating_for_long(transact) -> None:
    run(transact, examples=300, steps=40)
