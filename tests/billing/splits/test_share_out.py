"""Shares sum to what is divided, whoever is there, whatever the sign, in whatever order."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.splits.share_out import Base, share_out
from billing.splits.terms import Basis, Claim, Payee, PayeeKind, ShareTier, Split

FEN = 100
PARTIES = [f"party-{letter}" for letter in "abcdefgh"]


def to(name: str) -> Payee:
    return Payee(PayeeKind.PARTY, name)


def share(text: str) -> tuple[ShareTier, ...]:
    return (ShareTier(None, Decimal(text)),)


def split(*claims: Claim) -> Split:
    return Split("s", Basis.BILLED, claims)


def one_line(split_: Split, amount: int, quantity: str = "1", members: Mapping = {}) -> dict[str, int]:
    return share_out(split_, [Base("ct/each", amount, Decimal(quantity))], members, FEN)["ct/each"]


SEVEN = split(*(Claim(to(f"p{number}"), weight=Decimal(1)) for number in range(1, 8)))


def test_one_fen_among_seven_goes_to_the_first_by_id() -> None:
    assert one_line(SEVEN, 1) == {"p1": 1, **{f"p{number}": 0 for number in range(2, 8)}}
    assert one_line(SEVEN, -1) == {"p1": -1, **{f"p{number}": 0 for number in range(2, 8)}}
    assert sorted(one_line(SEVEN, 100).values()) == [14, 14, 14, 14, 14, 15, 15]


def test_thirty_to_seventy_is_exact_to_the_fen() -> None:
    rule = split(Claim(to("contributors"), share("0.30")), Claim(to("platform"), weight=Decimal(1)))
    assert one_line(rule, 1001) == {"contributors": 300, "platform": 701}
    assert one_line(rule, -1001) == {"contributors": -300, "platform": -701}


def test_a_fixed_amount_is_paid_for_each_unit_even_where_the_rest_runs_short() -> None:
    rule = split(Claim(to("annotator"), fixed=Decimal("0.50")), Claim(to("platform"), weight=Decimal(1)))
    assert one_line(rule, 10_000, "150") == {"annotator": 7_500, "platform": 2_500}
    assert one_line(rule, 5_000, "150") == {"annotator": 7_500, "platform": -2_500}
    assert one_line(rule, 0, "150") == {"annotator": 0, "platform": 0}


TIERED = split(
    Claim(
        to("developer"),
        (ShareTier(Decimal(100), Decimal("0.6")), ShareTier(Decimal(500), Decimal("0.7")), *share("0.8")),
    ),
    Claim(to("store"), weight=Decimal(1)),
)


@pytest.mark.parametrize(("quantity", "part"), [(100, 600), (101, 700), (500, 700), (501, 800)])
def test_the_share_is_that_of_the_tier_the_period_reaches(quantity: int, part: int) -> None:
    assert one_line(TIERED, 1000, str(quantity))["developer"] == part


def test_the_tier_is_reached_by_all_lines_of_the_period_together() -> None:
    lines = [Base("a/each", 600, Decimal(60)), Base("b/each", 500, Decimal(50))]
    parts = share_out(TIERED, lines, {}, FEN)
    assert (parts["a/each"]["developer"], parts["b/each"]["developer"]) == (420, 350)


def test_a_cap_holds_over_the_lines_of_a_period_and_the_rest_gets_what_is_above() -> None:
    rule = split(
        Claim(to("treasury"), share("0.5"), cap=Decimal("1.00")), Claim(to("platform"), weight=Decimal(1))
    )
    lines = [Base(f"{name}/each", 101, Decimal(1)) for name in "abc"]
    parts = share_out(rule, lines, {}, FEN)
    assert [parts[line.key]["treasury"] for line in lines] == [34, 33, 33]
    assert sum(part["platform"] for part in parts.values()) == 303 - 100


def test_a_pool_is_divided_by_its_weights() -> None:
    pool = Claim(Payee(PayeeKind.POOL, "hospitals"), share("0.3"))
    rule = split(pool, Claim(to("platform"), weight=Decimal(1)))
    members = {"hospitals": {"east": Decimal("2.00000001"), "west": Decimal(1)}}
    assert one_line(rule, 1000, members=members) == {"east": 200, "platform": 700, "west": 100}


def test_the_publisher_of_the_line_gets_the_share() -> None:
    rule = split(Claim(Payee(PayeeKind.PUBLISHER), share("0.7")), Claim(to("store"), weight=Decimal(1)))
    lines = [Base("ct/each", 100, Decimal(1), "dev-a"), Base("mr/each", 100, Decimal(1), "dev-b")]
    assert share_out(rule, lines, {}, FEN) == {
        "ct/each": {"dev-a": 70, "store": 30},
        "mr/each": {"dev-b": 70, "store": 30},
    }
    assert rule.covers("ct", "ct", "dev-a")
    assert not rule.covers("ct", "ct", None)


weights = st.decimals(min_value=Decimal("0.00000001"), max_value=10**9, places=8)
shares = st.decimals(min_value=0, max_value=1, places=8)


@st.composite
def splits(draw: st.DrawFn) -> Split:
    """Shares that leave something, fixed amounts, caps and weights, over any number of parties."""
    names = draw(st.lists(st.sampled_from(PARTIES), min_size=1, max_size=8, unique=True))
    claims = [Claim(to(names[0]), weight=draw(weights))]
    for name in names[1:]:
        cap = draw(st.none() | st.decimals(min_value=0, max_value=100, places=2))
        match draw(st.sampled_from(("weight", "share", "fixed"))):
            case "weight":
                claims.append(Claim(to(name), weight=draw(weights)))
            case "share":
                part = draw(shares) / len(names)
                claims.append(Claim(to(name), (ShareTier(None, part),), cap=cap))
            case _:
                fixed = draw(st.decimals(min_value=0, max_value=10, places=4))
                claims.append(Claim(to(name), fixed=fixed, cap=cap))
    return split(*claims)


amounts = st.integers(min_value=-(10**12), max_value=10**12)
lines = st.lists(
    st.tuples(amounts, st.decimals(min_value=0, max_value=10**6, places=6)), min_size=1, max_size=6
).map(lambda items: [Base(f"line-{n}/x", amount, quantity) for n, (amount, quantity) in enumerate(items)])


@given(splits(), lines)
def test_every_line_is_divided_whole_and_no_cap_is_passed(rule: Split, bases: list[Base]) -> None:
    parts = share_out(rule, bases, {}, FEN)
    assert {key: sum(part.values()) for key, part in parts.items()} == {b.key: b.amount_minor for b in bases}
    for claim in rule.claims:
        if claim.cap is not None:
            taken = sum(part[claim.payee.name] for part in parts.values())
            assert abs(taken) <= claim.cap * FEN


@given(splits(), lines, st.randoms())
def test_the_order_of_lines_and_claims_does_not_matter(rule: Split, bases: list[Base], random) -> None:
    shuffled, claims = list(bases), list(rule.claims)
    random.shuffle(shuffled)
    random.shuffle(claims)
    assert share_out(split(*claims), shuffled, {}, FEN) == share_out(rule, bases, {}, FEN)


@given(st.lists(weights, min_size=1, max_size=8), amounts)
def test_negative_mirrors_positive_and_no_part_is_off_by_a_fen(values: list[Decimal], amount: int) -> None:
    rule = split(*(Claim(to(name), weight=w) for name, w in zip(PARTIES, values, strict=False)))
    parts = one_line(rule, amount)
    assert one_line(rule, -amount) == {party: -part for party, part in parts.items()}
    total = sum(map(Fraction, values))
    for name, weight in zip(PARTIES, values, strict=False):
        assert abs(parts[name] - amount * Fraction(weight) / total) < 1
