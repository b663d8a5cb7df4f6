"""Each event of a product has exactly one rate: a gap and a rate that nothing reaches are told by line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from billing.contracts import contract
from billing.errors import ContractError
from billing.metering import usage_totals
from billing.metering.usage import UsageEvent
from billing.rating import rate

MakeEvent = Callable[..., UsageEvent]
HEAD = """\
contract: covered
seller: {id: s, name: Seller}
buyer: {id: b, name: Buyer, facts: {grade: primary}}
currency: CNY
time_zone: Asia/Shanghai
effective_from: 2026-01-01
tax: {name: VAT, rate: 0}
"""


def with_rates(*rates: str, parties: str = "") -> str:
    lines = [
        f"  - {{product: ct, title: {{en: CT, zh: CT}}, unit: {{en: case, zh: 例}}, {rate}}}\n"
        for rate in rates
    ]
    return HEAD + parties + "rates:\n" + "".join(lines)


def per_unit(price: str) -> str:
    return f"price: {{model: per_unit, unit_price: {price}}}"


def problems(text: str) -> list[str]:
    with pytest.raises(ContractError) as caught:
        contract.load(text)
    return [str(problem) for problem in caught.value.problems]


def test_a_value_that_no_filter_names_is_a_gap() -> None:
    text = with_rates(f"id: east, when: {{campus: [east, south]}}, {per_unit('1')}")
    assert problems(text) == [
        "line 9: no rate of ct for campus=(any other) from 2026-01-01 on: add one without `when` below the "
        "others, or dates that meet"
    ]


def test_a_rate_below_one_that_takes_everything_is_never_reached() -> None:
    text = with_rates(f"id: all, {per_unit('1')}", f"id: east, when: {{campus: east}}, {per_unit('2')}")
    assert problems(text) == ["line 10: no event ever reaches rate east: rates above it take them all"]


def test_a_month_without_a_price_is_a_gap_in_time() -> None:
    old, new = f"id: old, until: 2026-06-01, {per_unit('1')}", f"id: new, from: 2026-07-01, {per_unit('2')}"
    assert "no rate of ct from 2026-06-01 on" in problems(with_rates(old, new))[0]
    assert contract.load(with_rates(old, new.replace("2026-07-01", "2026-06-01")))


def test_prices_that_overlap_in_time_leave_no_doubt() -> None:
    """The first in the contract's order wins; a second one that could never win is refused."""
    both = with_rates(f"id: old, {per_unit('1')}", f"id: new, from: 2026-07-01, {per_unit('2')}")
    assert problems(both) == ["line 10: no event ever reaches rate new: rates above it take them all"]


def test_a_price_changes_with_a_period() -> None:
    text = with_rates(f"id: old, until: 2026-06-15, {per_unit('1')}", f"id: new, {per_unit('2')}")
    assert problems(text) == ["line 9: `until` of old must be the first day of a period"]


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ([f"when: {{colour: red}}, {per_unit('1')}"], "`colour` is no dimension of usage"),
        ([per_unit("1"), per_unit("2")], "`product` has a price above already; give it an `id`"),
        ([f"meter: void, {per_unit('1')}"], "`meter` is no meter that a price can count"),
        (["price: {model: flat, amount: 1, currency: EUR}"], "`currency` is not CNY, the contract's"),
    ],
)
def test_a_filter_or_a_rate_without_a_name_is_refused(rates: list[str], message: str) -> None:
    assert message in problems(with_rates(*rates))[0]


def test_a_site_speaks_for_its_events_and_the_buyer_for_the_others(make_event: MakeEvent) -> None:
    """Grade: of the event, else of its site, else of the buyer."""
    text = with_rates(
        f"id: tertiary, when: {{grade: tertiary}}, {per_unit('3')}",
        f"id: other, {per_unit('1')}",
        parties="parties:\n  - {id: big, name: Big, role: site, facts: {grade: tertiary}}\n",
    )
    terms = contract.load(text)
    period = terms.period_of(datetime(2026, 11, 10, tzinfo=UTC))
    assert period is not None
    said = [
        {"site": "big"},
        {"site": "small"},
        {},
        {"grade": "tertiary"},
        {"site": "big", "grade": "primary"},
    ]
    events = [make_event(number, product="ct", dimensions=one) for number, one in enumerate(said)]
    assert terms.grouping.names == ("grade", "site")
    lines = rate.rate(terms, period, usage_totals.total_usage(events, terms.grouping)).lines
    assert [(line.key, line.quantity) for line in lines] == [("tertiary/units", 2), ("other/units", 3)]
