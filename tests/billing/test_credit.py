"""Invariant 6: credits on a line never exceed it, and equal it exactly once it is fully credited."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.claims.credit import Credited, share_out
from billing.money import round_half_away_from_zero
from billing.statements.document_errors import CreditExceedsLine

MINOR = st.integers(0, 10**13)
SIGN = st.sampled_from([1, -1])


@st.composite
def lines(draw, number: int = 1) -> Credited:
    amount, sign = draw(MINOR), draw(SIGN)
    return Credited(number, sign * amount, sign * draw(st.integers(0, amount)))


def parts_of_one(weights: list[int]) -> list[Fraction]:
    return [Fraction(weight, sum(weights)) for weight in weights]


@given(lines(), st.lists(st.integers(1, 1000), min_size=1, max_size=12))
def test_any_fractions_that_make_one_give_back_the_line(line: Credited, weights: list[int]) -> None:
    steps = [line]
    for part in parts_of_one(weights):
        steps.append(steps[-1].by_fraction(part))
        so_far = steps[-1]
        # The reference: what the whole fraction would have given at once.
        assert so_far.credited_amount == round_half_away_from_zero(line.amount_minor * so_far.fraction)
        assert so_far.credited_tax == round_half_away_from_zero(line.tax_minor * so_far.fraction)
    last = steps[-1]
    assert (last.fraction, last.credited_amount, last.credited_tax) == (1, line.amount_minor, line.tax_minor)
    assert last.rest == 0


@given(lines(), st.data())
def test_parts_of_every_kind_never_give_back_a_negative_or_too_much(line: Credited, data) -> None:
    """Fractions, amounts before tax and amounts with tax, mixed in any order, then the rest."""
    sign = 1 if line.rest > 0 else -1
    now = line
    for _ in range(data.draw(st.integers(0, 8))):
        before = now
        kind = data.draw(st.sampled_from(["fraction", "amount", "total"]))
        left = abs(now.amount_minor - now.credited_amount)
        if kind == "fraction" and now.fraction < 1:
            now = now.by_fraction((1 - now.fraction) * Fraction(1, data.draw(st.integers(1, 50))))
        elif kind == "amount" and left:
            asked = sign * data.draw(st.integers(1, left))
            now = now.by_amount(asked)
            assert now.credited_amount - before.credited_amount == asked
        elif kind == "total" and now.rest:
            asked = sign * data.draw(st.integers(1, abs(now.rest)))
            now = now.by_total(asked)
            assert before.rest - now.rest == asked
        assert sign * (now.credited_amount - before.credited_amount) >= 0
        assert sign * (now.credited_tax - before.credited_tax) >= 0
        assert sign * now.credited_amount <= sign * line.amount_minor
        assert sign * now.credited_tax <= sign * line.tax_minor
        assert before.fraction <= now.fraction <= 1
    if now.fraction < 1:
        now = now.by(None)
    assert (now.credited_amount, now.credited_tax) == (line.amount_minor, line.tax_minor)


@given(st.lists(lines(), min_size=1, max_size=8), st.data())
def test_an_amount_is_shared_out_to_the_last_minor_unit(drawn: list[Credited], data) -> None:
    numbered = [
        Credited(number, line.amount_minor, line.tax_minor) for number, line in enumerate(drawn, start=1)
    ]
    left = sum(line.rest for line in numbered if line.rest > 0)
    if not left:
        with pytest.raises(CreditExceedsLine):
            share_out(numbered, 1)
        return
    amount = data.draw(st.integers(1, left))
    after = share_out(numbered, amount)
    assert sum(line.credited_amount + line.credited_tax for line in after) == amount
    assert all(line.credited_amount + line.credited_tax > 0 and line.rest >= 0 for line in after)
    if amount == left:
        assert all(line.rest == 0 for line in after)


def test_a_credit_in_thirds_adds_up() -> None:
    """100.00 and its 6 % tax: no tolerance, no remainder."""
    steps = [Credited(1, 10000, 600)]
    for _ in range(3):
        steps.append(steps[-1].by_fraction(Fraction(1, 3)))
    amounts = [(b.credited_amount - a.credited_amount) for a, b in pairwise(steps)]
    assert amounts == [3333, 3334, 3333]
    fen = Credited(1, 1, 0)
    assert [fen.by_fraction(Fraction(n, 3)).credited_amount for n in (1, 2, 3)] == [0, 1, 1]


@pytest.mark.parametrize(
    ("share", "left"),
    [
        (Fraction(2, 3), "1/2 of it"),
        (Fraction(0), "1/2 of it"),
        (Fraction(-1, 2), "1/2 of it"),
        (5001, "5000 minor"),
        (0, "5000 minor"),
        (-1, "5000 minor"),
    ],
)
def test_more_than_is_left_is_refused_with_what_is_left(share: Fraction | int, left: str) -> None:
    half = Credited(4, 10000, 600).by_fraction(Fraction(1, 2))
    with pytest.raises(CreditExceedsLine, match=f"{left}.* of line 4"):
        half.by(share)
    done = half.by(None)
    with pytest.raises(CreditExceedsLine):
        done.by(None)
    with pytest.raises(CreditExceedsLine):
        Credited(1, 0, 0).by_amount(1)
