"""Rating is deterministic: the same events give the same lines, whatever their order."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.contracts import contract
from billing.errors import NoRate
from billing.metering import usage_totals
from billing.metering.usage import UsageEvent
from billing.metering.usage_totals import UsageGroup, UsageTotals
from billing.money import Money
from billing.rating import rate, tax

MakeEvent = Callable[..., UsageEvent]
NOVEMBER = datetime(2026, 11, 20, tzinfo=UTC)


def totals(**quantities: str) -> UsageTotals:
    groups = (UsageGroup(name, Decimal(value), 1, Decimal(value)) for name, value in quantities.items())
    return UsageTotals(tuple(groups), "digest")


def rated(text: str, at: datetime, **quantities: str) -> list[tuple[str, int]]:
    terms = contract.load(text)
    period = terms.period_of(at)
    assert period is not None
    lines = rate.rate(terms, period, totals(**quantities)).lines
    return [(line.key, line.amount.amount_minor) for line in lines]


def test_a_free_allowance_is_a_line_at_zero_and_comes_before_the_price(graduated: str) -> None:
    assert rated(graduated, NOVEMBER, lung_nodule_ct="7") == [("lung_nodule_ct/free", 0)]
    assert rated(graduated, NOVEMBER, lung_nodule_ct="12") == [
        ("lung_nodule_ct/free", 0),
        ("lung_nodule_ct/tier-1", 16000),
    ]


def test_a_fixed_fee_is_due_without_usage_and_by_days_in_the_first_short_period(package: str) -> None:
    assert rated(package, NOVEMBER) == [("service_fee/fee", 50000)]
    # 1 to 14 January of a period from 15 December: 14 of 31 days, 500.00 × 14/31 = 225.806…
    assert rated(package, datetime(2026, 1, 5, tzinfo=UTC)) == [("service_fee/fee", 22581)]


def test_each_line_is_rounded_once_half_away_from_zero(per_case: str) -> None:
    cheap = per_case.replace("unit_price: 100.00", "unit_price: 0.005")
    assert rated(cheap, NOVEMBER, lung_nodule_ct="1") == [("lung_nodule_ct/units", 1)]
    assert rated(cheap, NOVEMBER, lung_nodule_ct="3") == [("lung_nodule_ct/units", 2)]


def test_large_quantities_keep_every_digit(per_case: str) -> None:
    # 28 significant digits, the default of Decimal, would lose the end of this product.
    exact = per_case.replace("unit_price: 100.00", "unit_price: 1234567890123.123456")
    [(_, amount)] = rated(exact, NOVEMBER, lung_nodule_ct="999999999999.999999")
    expected = 1234567890123123456 * 999999999999999999
    assert amount == (2 * expected + 10**10) // (2 * 10**10)


def test_usage_without_a_price_is_never_dropped(per_case: str) -> None:
    with pytest.raises(NoRate, match="no rate of something_else"):
        rated(per_case, NOVEMBER, something_else="1")


@given(
    st.lists(st.decimals("0.000001", 1000, places=6), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_totals_do_not_depend_on_order_or_batches(quantities: list[Decimal], rng: random.Random) -> None:
    events = [_event(number, quantity) for number, quantity in enumerate(quantities)]
    shuffled = events.copy()
    rng.shuffle(shuffled)
    assert usage_totals.total_usage(shuffled) == usage_totals.total_usage(events)
    cut = rng.randrange(len(events) + 1)
    parts = [
        group.quantity
        for part in (events[:cut], events[cut:])
        for group in usage_totals.total_usage(part).groups
    ]
    assert sum(parts) == usage_totals.total_usage(events).groups[0].quantity


def _event(number: int, quantity: Decimal) -> UsageEvent:
    return UsageEvent(
        "t", "test", f"e{number}", "result_delivered", "ct", quantity, NOVEMBER, "s", f"c{number}"
    )


def test_the_digest_names_the_set_of_events() -> None:
    events = [_event(number, Decimal(1)) for number in range(5)]
    digest = usage_totals.total_usage(events).inputs_digest
    assert usage_totals.total_usage(events[::-1]).inputs_digest == digest
    assert usage_totals.total_usage(events[:4]).inputs_digest != digest


def test_lines_survive_being_stored(graduated: str, package: str) -> None:
    for text in (graduated, package):
        terms = contract.load(text)
        period = terms.period_of(datetime(2026, 1, 5, tzinfo=UTC))
        assert period is not None
        lines = rate.rate(terms, period, totals(lung_nodule_ct="612.5")).lines
        again = tuple(rate.line_from(rate.line_values(line)) for line in lines)
        assert again == lines
        assert rate.digest_lines(again) == rate.digest_lines(lines)


def test_a_simulation_charges_each_case_once_and_fills_quiet_months(
    package: str, make_event: MakeEvent
) -> None:
    january = datetime(2026, 1, 20, tzinfo=UTC)
    events = [
        make_event(1, occurred_at=january),
        make_event(2, occurred_at=january + timedelta(days=1), case_key="case-1"),
        make_event(3, occurred_at=january + timedelta(days=70)),
        make_event(4, occurred_at=january, kind="refused"),
        make_event(5, occurred_at=january, product="other"),
        make_event(6, occurred_at=january - timedelta(days=60)),
    ]
    simulation = rate.simulate(contract.load(package), random.Random(1).sample(events, len(events)))
    assert [str(rating.period.starts_on) for rating in simulation.ratings] == [
        "2026-01-15",
        "2026-02-15",
        "2026-03-15",
    ]
    assert simulation.not_charged == {"already_charged": 1, "refused": 1, "no_contract": 2}
    assert simulation.total == Money(2 * 350000 + 3 * 50000, "CNY")


amounts = st.integers(-(10**9), 10**9)


@given(st.lists(amounts, min_size=1, max_size=20), st.sampled_from(["0", "0.06", "0.13", "0.065"]))
def test_tax_of_the_lines_sums_to_the_tax_of_their_total(minors: list[int], tax_rate: str) -> None:
    lines = [_line(index, minor, tax_rate) for index, minor in enumerate(minors)]
    tax_lines, each = tax.compute(lines, "CNY")
    assert sum(part.amount_minor for part in each) == sum(line.tax.amount_minor for line in tax_lines)
    [line] = tax_lines
    assert line.base.amount_minor == sum(minors)
    assert abs(line.tax.amount_minor - sum(minors) * Decimal(tax_rate)) <= Decimal("0.5")
    credits = [_line(index, -minor, tax_rate) for index, minor in enumerate(minors)]
    assert [-part.amount_minor for part in tax.compute(credits, "CNY")[1]] == [
        part.amount_minor for part in each
    ]


def _line(index: int, minor: int, tax_rate: str) -> rate.RatedLine:
    day = NOVEMBER.date()
    return rate.RatedLine(
        key=f"p{index}/units", kind="usage", product=f"p{index}", title={}, unit={}, service_start=day,
        service_end=day, quantity=Decimal(1), unit_price=None, exact=rate.Fraction(minor, 100),
        amount=Money(minor, "CNY"), explanation={}, tax_name="VAT", tax_rate=Decimal(tax_rate),
    )  # fmt: skip
