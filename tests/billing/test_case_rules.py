"""What becomes of the results of one request: deterministic whatever their order, and never a price too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.contracts.case_rules_terms import Bundle, CaseRule, Exclusion, RequiresPrimary, SequenceDiscount
from billing.rating.case_rules import Case, treat
from billing.rating.treatment import FULL_PRICE, Treatment

START = datetime(2026, 1, 5, tzinfo=UTC)
HALF = Fraction(1, 2)
SEQUENCE = SequenceDiscount("second", ("chest", "abdomen", "head"), (Fraction(1), HALF, Fraction(1, 4)))
ADD_ON = RequiresPrimary("add-on", ("cad",), ("chest",))
INSIDE = Exclusion("inside", ("ribs",), ("chest", "abdomen"))
PAIR = Bundle("pair", ("efficacy", "diagnosis"), True, Decimal(1500), {"efficacy": HALF, "diagnosis": HALF})
REPORT = Bundle("report", ("retina", "breast"), False, Decimal(800))
RULES = (SEQUENCE, ADD_ON, INSIDE, PAIR, REPORT)
PRODUCTS = ("chest", "abdomen", "head", "cad", "ribs", "efficacy", "diagnosis", "retina", "breast", "other")


def case(number: int, product: str, request: str = "r1", minutes: int = 0, quantity: str = "1") -> Case:
    at = START + timedelta(minutes=minutes)
    return Case("test", f"e{number:03d}", product, Decimal(quantity), at, request)


def of_products(*products: str, rules: Sequence[CaseRule] = RULES) -> list[Treatment]:
    """One request with these results, each a minute after the one before."""
    return list(treat([case(n, product, minutes=n) for n, product in enumerate(products)], rules))


@pytest.mark.parametrize(
    ("products", "expected"),
    [
        (["chest"], ["1"]),
        (["chest", "abdomen", "head", "head"], ["1", "1/2", "1/4", "1/4"]),
        (["head", "chest"], ["1/2", "1"]),  # the rank decides, not who came first
        (["cad"], ["0"]),
        (["cad", "chest"], ["1", "1"]),
        (["ribs", "abdomen"], ["0", "1"]),
        (["ribs", "head"], ["1", "1"]),
        (["efficacy", "diagnosis"], ["1/2", "1/2"]),
        (["efficacy"], ["1"]),
        (["efficacy", "efficacy", "diagnosis"], ["1/2", "1", "1/2"]),
        (["breast", "retina", "breast"], ["0", "1", "0"]),
        (["other", "other"], ["1", "1"]),
    ],
)
def test_a_request_is_treated_as_the_contract_says(products: list[str], expected: list[str]) -> None:
    assert [str(one.fraction) for one in of_products(*products)] == expected


def test_a_result_without_a_request_stands_alone() -> None:
    cases = [case(1, "cad", request=""), case(2, "chest", request=""), case(3, "abdomen", request="")]
    assert [one.fraction for one in treat(cases, RULES)] == [0, 1, 1]


def test_requests_do_not_see_one_another() -> None:
    cases = [case(1, "chest", "r1"), case(2, "cad", "r2"), case(3, "abdomen", "r2")]
    assert [one.fraction for one in treat(cases, RULES)] == [1, 0, 1]


def test_a_late_result_may_change_who_is_first() -> None:
    before = treat([case(2, "abdomen", minutes=5)], RULES)
    after = treat([case(2, "abdomen", minutes=5), case(1, "chest", minutes=90)], RULES)
    assert (before[0].fraction, [one.fraction for one in after]) == (1, [HALF, 1])


def test_of_two_alike_the_earlier_delivery_is_first_and_then_the_id() -> None:
    at_once = [case(2, "chest"), case(1, "chest"), case(3, "chest", minutes=-1)]
    assert [one.fraction for one in treat(at_once, RULES)] == [Fraction(1, 4), HALF, 1]


def test_a_bundle_takes_whole_cases_only() -> None:
    cases = [case(1, "efficacy", quantity="2"), case(2, "diagnosis")]
    assert treat(cases, RULES) == (FULL_PRICE, FULL_PRICE)


def test_the_line_of_a_bundle_without_shares_is_its_own() -> None:
    first, second = of_products("retina", "breast")
    assert (first.item, first.code, second.item, second.code) == ("report", "bundle", "", "in_bundle")


CASES = st.lists(
    st.builds(
        case,
        st.integers(0, 999),
        st.sampled_from(PRODUCTS),
        st.sampled_from(["r1", "r2", ""]),
        st.integers(0, 3),
        st.sampled_from(["1", "1", "0.5"]),
    ),
    max_size=14,
    unique_by=lambda one: one.event_id,
)


@given(CASES, st.randoms(use_true_random=False))
def test_the_order_of_the_events_does_not_matter(cases: list[Case], random) -> None:
    shuffled = list(cases)
    random.shuffle(shuffled)
    assert dict(zip(cases, treat(cases, RULES), strict=True)) == dict(
        zip(shuffled, treat(shuffled, RULES), strict=True)
    )


@given(CASES)
def test_bundles_are_whole_and_nothing_costs_more_than_its_price(cases: list[Case]) -> None:
    found = treat(cases, RULES)
    assert all(0 <= one.fraction <= 1 for one in found)
    for request in ("r1", "r2"):
        own = [(c, t) for c, t in zip(cases, found, strict=True) if c.request == request]
        shared = Counter(c.product for c, t in own if t.rule == "pair")
        assert shared["efficacy"] == shared["diagnosis"]
        reports = [t for c, t in own if t.rule == "report"]
        assert sum(t.item == "report" for t in reports) == bool(reports)
        first = [t for c, t in own if c.product in SEQUENCE.products and t == FULL_PRICE]
        assert len(first) == any(c.product in SEQUENCE.products for c, _ in own)
