"""Who pays how much of a line, and for which site: parts that sum to the fen, for amounts of either sign."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.contracts import contract as contracts
from billing.contracts.contract import Contract
from billing.contracts.payer_terms import CoPay
from billing.errors import ContractError
from billing.metering.usage_totals import UsageGroup, UsageTotals
from billing.money import Money, to_money
from billing.period import Period
from billing.rating import shares
from billing.rating.rate import Rating, rate

BASE = """
contract: shared
seller: {id: vendor, name: Vendor}
buyer: {id: insurer, name: Insurer}
parties:
  - {id: members, name: Members, role: payer}
  - {id: state, name: State, role: payer}
  - {id: site-a, name: Site A, role: site}
  - {id: site-b, name: Site B, role: site}
currency: CNY
time_zone: Asia/Shanghai
effective_from: 2026-01-01
tax: {name: VAT, rate: 0.06}
rates:
  - product: ct
    title: {en: CT, zh: CT}
    unit: {en: case, zh: 例}
    price:
      model: graduated
      tiers: [{up_to: 5, unit_price: 33.335}, {unit_price: 20.01}]
  - product: beds
    title: {en: Beds, zh: 床}
    unit: {en: bed, zh: 床}
    measure: peak
    price: {model: per_unit, unit_price: 1}
  - product: fee
    title: {en: Fee, zh: 费}
    unit: {en: month, zh: 月}
    price: {model: flat, amount: 100.01}
"""
PAYERS = """
payers:
  - when: {payer_class: [thirds]}
    shares: {insurer: 1, members: 1, state: 1}
  - when: {payer_class: copay}
    copay: {payer: members, per_case: 3.33, fraction: 0.1, cap: 6.005}
    residual: insurer
  - shares: {insurer: 0.7, state: 0.3}
"""
SITES = "site_statements: {by: department}\n"
CONTRACT = contracts.load(BASE + PAYERS + SITES)
JANUARY = CONTRACT.period_of(datetime(2026, 1, 20, tzinfo=UTC))


def january() -> Period:
    assert JANUARY is not None
    return JANUARY


def group(quantity: str = "1", **dimensions: str) -> UsageGroup:
    told = {name: value for name, value in dimensions.items() if value}
    return UsageGroup("ct", Decimal(quantity), 1, Decimal(quantity), told)


def rated(contract: Contract, *groups: UsageGroup) -> Rating:
    return rate(contract, january(), UsageTotals(groups, "0" * 64))


def amounts(contract: Contract, *groups: UsageGroup) -> dict[str, str]:
    """The sum of each payer's lines; a payer without lines is left out."""
    shared = shares.share(contract, rated(contract, *groups))
    return {
        payer: str(sum((line.rated.amount for line in lines), Money.zero("CNY")))
        for payer, lines in shared.items()
        if lines
    }


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        ([], {"insurer": "70.01", "state": "30.00"}),
        ([group(payer_class="thirds")], {"insurer": "81.13", "members": "11.11", "state": "41.11"}),
        ([group(payer_class="copay")], {"insurer": "97.34", "members": "6.01", "state": "30.00"}),
        ([group("2", payer_class="other")], {"insurer": "116.68", "state": "50.00"}),
    ],
)
def test_the_first_rule_that_matches_a_case_divides_it(
    cases: list[UsageGroup], expected: dict[str, str]
) -> None:
    assert amounts(CONTRACT, *cases) == expected


def test_without_payers_the_buyer_owes_every_line_as_it_was_rated() -> None:
    contract = contracts.load(BASE)
    rating = rated(contract, group("7"))
    shared = shares.share(contract, rating)
    assert {payer: [line.rated for line in lines] for payer, lines in shared.items()} == {
        "insurer": list(rating.lines)
    }


@pytest.mark.parametrize(
    ("copay", "amount", "cases", "expected"),
    [
        (CoPay("p", per_case=Fraction(20)), 100, 1, 20),
        (CoPay("p", per_case=Fraction(20)), 100, 3, 60),
        (CoPay("p", per_case=Fraction(20)), 50, 3, 50),  # never more than the amount
        (CoPay("p", fraction=Fraction(1, 10)), 100, 3, 10),
        (CoPay("p", fraction=Fraction(1, 2), cap=Fraction(15)), 100, 3, 45),
        (CoPay("p", per_case=Fraction(20)), -100, -3, -60),
        (CoPay("p", per_case=Fraction(20)), 100, 0, 0),  # a fee
    ],
)
def test_a_copay_is_fixed_or_a_part_and_has_a_cap(
    copay: CoPay, amount: int, cases: int, expected: int
) -> None:
    assert copay.of(Fraction(amount), Fraction(cases)) == expected


def test_a_line_without_usage_lies_on_the_sites_by_the_agreed_weights() -> None:
    contract = contracts.load(BASE + "site_statements: {weights: {site-a: 3, site-b: 1}}\n")
    [fee] = [line for line in shares.share(contract, rated(contract))["insurer"] if line.sites]
    assert [(part.site, str(part.amount)) for part in fee.sites] == [("site-a", "75.01"), ("site-b", "25.00")]


def test_a_share_of_carried_amounts_lies_on_the_sites_by_the_amounts() -> None:
    share = """
  - product: value
    title: {en: V, zh: V}
    unit: {en: v, zh: v}
    price: {model: percentage, share: 0.15}
"""
    contract = contracts.load(BASE + share + "site_statements: {by: site}\n")
    carried = [
        UsageGroup(
            "value", Decimal(1), 1, Decimal(1), {"site": "a"}, amount_minor=30000, amount_currency="CNY"
        ),
        UsageGroup(
            "value", Decimal(9), 9, Decimal(1), {"site": "b"}, amount_minor=10000, amount_currency="CNY"
        ),
    ]
    line = next(
        one
        for one in shares.share(contract, rated(contract, *carried))["insurer"]
        if one.rated.product == "value"
    )
    assert [(part.site, str(part.amount)) for part in line.sites] == [("a", "45.00"), ("b", "15.00")]


GROUPS = st.lists(
    st.builds(
        group,
        st.sampled_from(["1", "3", "0.333333", "17"]),
        payer_class=st.sampled_from(["thirds", "copay", "other", ""]),
        site=st.sampled_from(["site-a", "site-b", ""]),
        department=st.sampled_from(["ct", "er", ""]),
    ),
    max_size=12,
    unique_by=lambda one: tuple(sorted(one.dimensions.items())),
)


@settings(max_examples=150, deadline=None)
@given(GROUPS, st.booleans())
def test_payers_sum_to_each_line_and_sites_to_each_payers_part(
    groups: list[UsageGroup], is_credit: bool
) -> None:
    rating = rated(CONTRACT, *groups)
    if is_credit:
        turned = tuple(
            replace(line, exact=-line.exact, amount=-line.amount, quantity=-line.quantity)
            for line in rating.lines
        )
        rating = replace(rating, lines=turned)
    sums: dict[str, int] = defaultdict(int)
    for lines in shares.share(CONTRACT, rating).values():
        for line in lines:
            sums[line.rated.key] += line.rated.amount.amount_minor
            assert sum(part.amount.amount_minor for part in line.sites) == line.rated.amount.amount_minor
            by_place = {part.place for part in line.sites}
            assert len(by_place) == len(line.sites)
            if line.rated.product == "ct":
                assert sum(part.quantity for part in line.sites) == line.rated.quantity
    assert sums == {line.key: line.amount.amount_minor for line in rating.lines}


@settings(max_examples=80, deadline=None)
@given(GROUPS)
def test_a_part_is_never_a_whole_fen_away_from_its_exact_share(groups: list[UsageGroup]) -> None:
    for lines in shares.share(CONTRACT, rated(CONTRACT, *groups)).values():
        for line in lines:
            exact = line.rated.exact * 100
            assert abs(line.rated.amount.amount_minor - exact) < 1 + abs(
                to_money(line.rated.exact, "CNY").amount_minor - exact
            )


@settings(max_examples=50, deadline=None)
@given(GROUPS, st.randoms(use_true_random=False))
def test_the_order_of_the_groups_does_not_matter(groups: list[UsageGroup], random) -> None:
    shuffled = list(groups)
    random.shuffle(shuffled)
    assert amounts(CONTRACT, *groups) == amounts(CONTRACT, *shuffled)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("payers:\n  - shares: {nobody: 1}\n", "`nobody` is not the buyer or one of `parties`"),
        ("payers:\n  - shares: {insurer: 0.7, state: 0.2}\n", "`shares` must sum to 1, or be whole numbers"),
        (
            "payers:\n  - when: {payer_class: a}\n    shares: {insurer: 1}\n",
            "one rule without `when`, the last",
        ),
        ("payers:\n  - when: {colour: a}\n    shares: {insurer: 1}\n", "`colour` is no dimension of usage"),
        ("payers:\n  - copay: {payer: state}\n    residual: insurer\n", "`payer` pays nothing"),
        (
            "payers:\n  - copay: {payer: state, fraction: 2}\n    residual: insurer\n",
            "`fraction` is a part of",
        ),
        ("site_statements: {weights: {members: 1}}\n", "`members` is no party of role site"),
        ("site_statements: {weights: {site-a: 0}}\n", "`weights` need at least one above 0"),
        ("outcome: {products: [mr], window_days: 3, none: 0}\n", "mr has no price in this contract"),
        ("outcome: {products: [ct], window_days: 3, none: 0.5}\n", "need a price per unit where a part"),
        ("outcome: {products: [ct], window_days: 0, none: 0}\n", "`window_days` needs a whole number"),
        ("outcome: {products: [ct], window_days: 3}\n", "`none` is missing"),
        (
            "outcome: {products: [ct], window_days: 3, none: 0, floor: 9, cap: 8}\n",
            "must not be below `floor`",
        ),
        (
            "case_rules:\n  - {id: a, kind: sequence_discount, products: [ct], fractions: [1, 0.5]}\n",
            "ct needs a price per unit to be discounted",
        ),
        (
            "case_rules:\n  - {id: a, kind: exclusion, products: [ct], inside: [fee]}\n"
            "  - {id: b, kind: exclusion, products: [fee], inside: [ct]}\n",
            "has exclusions in a circle",
        ),
        (
            "outcome: {products: [beds], window_days: 3, none: 0}\n",
            "beds counts by `measure: peak`; a rule needs quantities",
        ),
        ("case_rules:\n  - {id: ct, kind: exclusion, products: [ct], inside: [fee]}\n", "`id` is taken"),
        (
            "case_rules:\n  - {id: a, kind: exclusion, products: [ct], inside: [ct]}\n",
            "cannot stand in for itself",
        ),
        (
            "case_rules:\n  - {id: a, kind: bundle, products: [ct, fee], unit_price: 9, shares: {ct: 0.3, fee: 0.6}}\n",
            "`shares` must sum to 1",
        ),
        (
            "case_rules:\n  - id: a\n    kind: bundle\n    needs: any\n    products: [ct]\n    unit_price: 9\n"
            "    title: {en: A, zh: A}\n    unit: {en: a, zh: a}\n"
            "outcome: {products: [ct], window_days: 3, none: 0}\n",
            "ct is in case rule a: leave it out here or there",
        ),
    ],
)
def test_what_cannot_be_shared_or_ruled_is_refused_with_a_sentence(text: str, problem: str) -> None:
    with pytest.raises(ContractError, match=problem.replace("(", r"\(")) as error:
        contracts.load(BASE + text)
    assert all(one.line > 1 for one in error.value.problems)
