"""Amounts are integers of the minor unit, rounded once and shared out exactly."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.errors import AllocationImpossible, CurrencyMismatch, CurrencyUnknown
from billing.money import Money, allocate, exponent, push_down, round_half_away_from_zero, to_money


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.5", 1),
        ("-0.5", -1),
        ("1.5", 2),
        ("2.5", 3),
        ("-2.5", -3),
        ("2.4999", 2),
        ("-2.4999", -2),
        ("0", 0),
    ],
)
def test_a_half_rounds_away_from_zero(value: str, expected: int) -> None:
    assert round_half_away_from_zero(Fraction(value)) == expected


@pytest.mark.parametrize(
    ("amount", "currency", "minor", "text"),
    [
        ("1234.505", "CNY", 123451, "1,234.51"),
        ("1234.5", "JPY", 1235, "1,235"),
        ("1.0005", "KWD", 1001, "1.001"),
        ("-0.005", "EUR", -1, "-0.01"),
    ],
)
def test_money_has_the_minor_digits_of_iso_4217(amount: str, currency: str, minor: int, text: str) -> None:
    money = to_money(Fraction(amount), currency)
    assert money.amount_minor == minor
    assert str(money) == text
    assert money.amount == Decimal(minor).scaleb(-exponent(currency))


def test_currencies_do_not_mix_and_unknown_ones_are_refused() -> None:
    with pytest.raises(CurrencyMismatch):
        Money(1, "CNY") + Money(1, "EUR")
    with pytest.raises(CurrencyUnknown):
        Money(1, "RMB")


def test_a_total_is_shared_by_largest_remainder_with_ties_to_the_smallest_key() -> None:
    thirds = [Fraction(1)] * 3
    assert allocate(100, thirds, ["c", "a", "b"]) == (33, 34, 33)
    assert allocate(-100, thirds, ["c", "a", "b"]) == (-33, -34, -33)
    # 30 % to contributing hospitals by contribution, the rest to the platform (pricing model P5).
    assert allocate(1000, [Fraction(7), Fraction(2), Fraction(1)], ["p", "x", "y"]) == (700, 200, 100)


def test_what_cannot_be_shared_is_refused() -> None:
    with pytest.raises(AllocationImpossible):
        allocate(1, [Fraction(0)], ["a"])
    with pytest.raises(AllocationImpossible):
        allocate(1, [Fraction(-1), Fraction(3)], ["a", "b"])
    with pytest.raises(AllocationImpossible):
        push_down(9, [Fraction(1)], ["a"])


weights = st.lists(st.fractions(min_value=0, max_value=10**6, max_denominator=997), min_size=1, max_size=12)


@given(st.integers(-(10**15), 10**15), weights.filter(lambda ws: sum(ws) > 0), st.randoms())
def test_parts_sum_to_the_total_whatever_the_order(total: int, ws: list[Fraction], rng) -> None:
    keys = [f"payee-{i}" for i in range(len(ws))]
    parts = allocate(total, ws, keys)
    assert sum(parts) == total
    assert allocate(-total, ws, keys) == tuple(-part for part in parts)
    assert all(abs(part - total * w / sum(ws)) < 1 for part, w in zip(parts, ws, strict=True))
    shuffled = list(range(len(ws)))
    rng.shuffle(shuffled)
    again = allocate(total, [ws[i] for i in shuffled], [keys[i] for i in shuffled])
    assert again == tuple(parts[i] for i in shuffled)


@given(
    st.lists(st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=1000), min_size=1, max_size=12)
)
def test_pushed_down_shares_sum_to_their_rounded_sum(shares: list[Fraction]) -> None:
    total = round_half_away_from_zero(sum(shares, Fraction(0)))
    parts = push_down(total, shares, [str(i) for i in range(len(shares))])
    assert sum(parts) == total
    assert all(abs(part - share) <= 1 for part, share in zip(parts, shares, strict=True))
