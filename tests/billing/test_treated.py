"""What treated usage costs: a line for each treatment, and bundles whose parts are the bundle's price to the fen."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.contracts import contract as contracts
from billing.contracts.contract import Contract
from billing.metering.usage_totals import UsageGroup, UsageTotals
from billing.money import to_money
from billing.rating import explain
from billing.rating.rate import RatedLine, rate
from billing.rating.treatment import FULL_PRICE, Treatment

HEAD = """
contract: rules
seller: {id: vendor, name: Vendor}
buyer: {id: hospital, name: Hospital}
currency: CNY
time_zone: Asia/Shanghai
effective_from: 2026-01-01
tax: {name: VAT, rate: 0.06}
rates:
"""
RULES = """
case_rules:
  - {{id: pair, kind: bundle, products: [a, b, c], unit_price: {price}, shares: {{a: {a}, b: {b}, c: {c}}}}}
  - {{id: second, kind: sequence_discount, products: [d], fractions: [1, 0.335]}}
"""


def contract(
    price: str = "0.05", a: str = "0.3", b: str = "0.3", c: str = "0.4", model: str = ""
) -> Contract:
    rates = "".join(
        f"  - {{product: {name}, title: {{en: {name}, zh: {name}}}, unit: {{en: case, zh: 例}}, "
        f"price: {{model: per_unit, unit_price: 10.01}}}}\n"
        for name in "abcd"
    )
    return contracts.load(HEAD + rates + RULES.format(price=price, a=a, b=b, c=c) + model)


def lines(terms: Contract, *groups: tuple[str, str, Treatment]) -> tuple[RatedLine, ...]:
    period = terms.period_of(datetime(2026, 1, 20, tzinfo=UTC))
    assert period is not None
    usage = tuple(
        UsageGroup(product, Decimal(quantity), 1, Decimal(quantity), treatment=treatment)
        for product, quantity, treatment in groups
    )
    return rate(terms, period, UsageTotals(usage, "0" * 64)).lines


def share(part: str) -> Treatment:
    return Treatment("bundle_share", "pair", Fraction(Decimal(part)))


def test_each_treatment_is_a_line_with_its_sentence() -> None:
    second = Treatment("sequence_discount", "second", Fraction("0.335"))
    free = Treatment("included", "inside", Fraction(0))
    found = lines(contract(), ("d", "2", FULL_PRICE), ("d", "3", second), ("d", "4", free))
    told = [(line.key, str(line.amount), explain.line(line.explanation, "en")) for line in found]
    assert told == [
        ("d/units", "20.02", "2 × 10.01"),
        ("d/inside", "0.00", "Part of another item of the same request: 4 at no charge"),
        ("d/second-67-200", "10.06", "Further results of the same request: 3 × 10.01 × 33.5%"),
    ]
    for line in found:
        assert explain.line(line.explanation, "zh")


def test_the_parts_of_five_fen_are_five_fen() -> None:
    found = lines(contract(), ("a", "1", share("0.3")), ("b", "1", share("0.3")), ("c", "1", share("0.4")))
    assert [line.amount.amount_minor for line in found] == [2, 1, 2]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 10**6),
    st.decimals("0.001", "9999", places=3),
    st.integers(0, 1000),
    st.integers(0, 1000),
)
def test_a_bundles_lines_sum_to_its_price_rounded_once(
    count: int, price: Decimal, first: int, second: int
) -> None:
    low, high = sorted((first, second))
    parts = [Decimal(low) / 1000, Decimal(high - low) / 1000, Decimal(1000 - high) / 1000]
    terms = contract(f"{price:f}", *(f"{part:f}" for part in parts))
    groups = [(name, str(count), share(f"{part:f}")) for name, part in zip("abc", parts, strict=True)]
    found = lines(terms, *groups)
    assert (
        sum(line.amount.amount_minor for line in found)
        == to_money(count * Fraction(price), "CNY").amount_minor
    )


def test_the_floor_and_the_cap_of_a_period_are_lines_of_their_own() -> None:
    outcome = "outcome: {products: [d], window_days: 3, none: 0, floor: 15, cap: 25.5}\n"
    terms = contract(model=outcome)
    rejected = Treatment("verdict_rejected", "verdict-rejected", Fraction(0))
    assert [str(one.amount) for one in lines(terms, ("d", "1", FULL_PRICE))] == ["10.01", "4.99"]
    assert [str(one.amount) for one in lines(terms, ("d", "2", FULL_PRICE))] == ["20.02"]
    assert [str(one.amount) for one in lines(terms, ("d", "3", FULL_PRICE))] == ["30.03", "-4.53"]
    assert [str(one.amount) for one in lines(terms, ("d", "3", rejected))] == ["0.00", "15.00"]
    assert lines(terms) == (), "without deliveries there is no floor"
