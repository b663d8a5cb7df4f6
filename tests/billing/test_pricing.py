"""Each model against its table of values, and the laws that all of them keep."""

from __future__ import annotations

import itertools
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing.flat import Flat
from billing.pricing.graduated import Graduated
from billing.pricing.package import Package
from billing.pricing.part import PeriodShare, PricedPart
from billing.pricing.per_unit import PerUnit
from billing.pricing.tier import Tier, find_tier_problem
from billing.pricing.volume import Volume

D = Decimal
TIERS = (Tier(D(100), D(80)), Tier(D(500), D(60)), Tier(None, D("45.5")))


def total(parts: tuple[PricedPart, ...]) -> Fraction:
    return sum((part.amount for part in parts), Fraction(0))


@pytest.mark.parametrize(("quantity", "amount"), [("0", 0), ("1", 100), ("3", 300), ("0.333333", "33.3333")])
def test_per_unit(quantity: str, amount: object) -> None:
    assert total(PerUnit(D(100)).price(D(quantity))) == Fraction(str(amount))


@pytest.mark.parametrize(
    ("quantity", "amount", "part_count"),
    [
        (0, 0, 0),
        (1, 80, 1),
        (100, 8000, 1),
        (101, 8060, 2),
        (500, 32000, 2),
        (501, "32045.5", 3),
        (612, 37096, 3),
    ],
)
def test_graduated(quantity: int, amount: object, part_count: int) -> None:
    parts = Graduated(TIERS).price(D(quantity))
    assert total(parts) == Fraction(str(amount))
    assert len(parts) == part_count


@pytest.mark.parametrize(
    ("quantity", "amount"), [(0, 0), (100, 8000), (101, 6060), (500, 30000), (501, "22795.5")]
)
def test_volume(quantity: int, amount: object) -> None:
    assert total(Volume(TIERS).price(D(quantity))) == Fraction(str(amount))


@pytest.mark.parametrize(
    ("quantity", "packages"), [("0", 0), ("1", 1), ("50", 1), ("50.000001", 2), ("51", 2), ("150", 3)]
)
def test_a_package_that_was_begun_is_paid_whole(quantity: str, packages: int) -> None:
    assert total(Package(D(50), D(3500)).price(D(quantity))) == packages * 3500


def test_packages_are_counted_exactly_where_floats_are_off_by_one() -> None:
    # 0.3 / 0.1 is 2.9999999999999996 in binary floating point, 0.7 / 0.1 is 6.999…
    assert total(Package(D("0.1"), D(1)).price(D("0.3"))) == 3
    assert total(Package(D("0.1"), D(1)).price(D("0.7"))) == 7


def test_a_flat_fee_is_due_without_usage_and_by_days_in_a_short_period() -> None:
    short = PeriodShare(10, 31)
    assert total(Flat(D(500)).price(D(0))) == 500
    assert total(Flat(D(500)).price(D(9), short)) == Fraction(5000, 31)
    assert total(Flat(D(500), is_prorated=False).price(D(9), short)) == 500


def test_a_tier_can_carry_a_fee_of_its_own() -> None:
    tiers = (Tier(D(10), D(1), flat_fee=D(5)), Tier(None, D("0.5"), flat_fee=D(7)))
    assert total(Graduated(tiers).price(D(12))) == 5 + 10 + 7 + 1
    assert total(Volume(tiers).price(D(12))) == 7 + 6


@pytest.mark.parametrize(
    "tiers",
    [
        (),
        (Tier(D(1), D(1)),),
        (Tier(None, D(1)), Tier(None, D(1))),
        (Tier(D(5), D(1)), Tier(D(5), D(1)), Tier(None, D(1))),
        (Tier(D(0), D(1)), Tier(None, D(1))),
    ],
)
def test_tiers_that_cannot_price_every_quantity_are_found(tiers: tuple[Tier, ...]) -> None:
    assert find_tier_problem(tiers)


prices = st.decimals(0, 1000, places=4)
quantities = st.decimals(0, 100_000, places=6)


@st.composite
def tier_lists(draw: st.DrawFn) -> tuple[Tier, ...]:
    ends = sorted(draw(st.sets(st.decimals(1, 50_000, places=2), max_size=4)))
    return tuple(Tier(end, draw(prices)) for end in [*ends, None])


@given(tier_lists(), quantities, quantities)
def test_graduated_is_monotone(tiers: tuple[Tier, ...], a: Decimal, b: Decimal) -> None:
    low, high = sorted((a, b))
    assert total(Graduated(tiers).price(low)) <= total(Graduated(tiers).price(high))


@given(tier_lists(), st.integers(0, 300))
def test_graduated_adds_up_unit_by_unit(tiers: tuple[Tier, ...], units: int) -> None:
    """Independent reference: walk through thousandths of a unit… in pieces cut at the tiers' ends."""
    cuts = sorted(
        {Fraction(units), Fraction(0), *(Fraction(t.up_to) for t in tiers if t.up_to and t.up_to < units)}
    )
    expected = Fraction(0)
    for start, end in itertools.pairwise(cuts):
        tier = next(t for t in tiers if t.up_to is None or start < Fraction(t.up_to))
        expected += (end - start) * Fraction(tier.unit_price)
    assert total(Graduated(tiers).price(Decimal(units))) == expected


@given(tier_lists(), quantities.filter(bool))
def test_the_parts_cover_the_quantity(tiers: tuple[Tier, ...], quantity: Decimal) -> None:
    for pricing in (Graduated(tiers), Volume(tiers), PerUnit(tiers[0].unit_price)):
        parts = pricing.price(quantity)
        assert sum(Fraction(part.quantity) for part in parts) == Fraction(quantity)
        assert len({part.key for part in parts}) == len(parts)
        assert all(
            part.amount == Fraction(part.quantity) * Fraction(part.unit_price)
            for part in parts
            if part.unit_price
        )


@given(st.decimals("0.000001", 1000, places=6), prices, quantities)
def test_packages_are_enough_and_not_one_too_many(size: Decimal, price: Decimal, quantity: Decimal) -> None:
    parts = Package(size, price).price(quantity)
    packages = parts[0].quantity if parts else D(0)
    assert Fraction(packages) * Fraction(size) >= Fraction(quantity)
    assert not packages or Fraction(packages - 1) * Fraction(size) < Fraction(quantity)
