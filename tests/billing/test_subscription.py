"""A subscription costs its days: what the periods of a term bill adds up to the fee of each day, whatever changes."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.contracts import contract
from billing.contracts.term import Term
from billing.errors import ContractError
from billing.period import anchor_in
from billing.pricing.day_count import days_between
from billing.pricing.subscription import Item, Subscription

D = Decimal
YEAR = (date(2026, 1, 1), date(2027, 1, 1))
MONTHS = [date(2026, month, 1) for month in range(1, 13)] + [date(2027, 1, 1)]


def billed(subscription: Subscription, start: date, end: date, span: tuple[date, date]) -> Fraction:
    return sum((part.amount for part in subscription.price(start, end, *span)), Fraction(0))


@st.composite
def timelines(draw: st.DrawFn) -> tuple[Item, ...]:
    """One party's items, which never overlap, and another's from the start of the year."""
    days = sorted(draw(st.sets(st.dates(YEAR[0], date(2026, 12, 31)), min_size=2, max_size=7)))
    items = [
        Item("a", "A", D(draw(st.integers(0, 900))), D(draw(st.integers(0, 50_000))) / 100, first, last)
        for first, last in pairwise(days)
        if draw(st.booleans())
    ]
    return (*items, Item("b", "B", D(3), D("0.00000001"), date(2025, 6, 1)))


def fee_of_day(items: tuple[Item, ...], day: date) -> Fraction:
    active = [item for item in items if item.starts_on <= day < item.ends_before]
    return sum((Fraction(item.quantity) * Fraction(item.unit_price) for item in active), Fraction(0))


@given(timelines())
def test_the_periods_of_a_term_add_up_to_the_fee_of_each_day(items: tuple[Item, ...]) -> None:
    subscription = Subscription(items, is_per_term=True)
    total = sum((billed(subscription, *month, YEAR) for month in pairwise(MONTHS)), Fraction(0))
    days = [YEAR[0] + timedelta(days=number) for number in range(365)]
    assert total == sum((fee_of_day(items, day) / 365 for day in days), Fraction(0))


@given(timelines())
def test_a_period_bills_its_own_days(items: tuple[Item, ...]) -> None:
    for start, end in pairwise(MONTHS):
        count = (end - start).days
        days = [start + timedelta(days=number) for number in range(count)]
        expected = sum((fee_of_day(items, day) / count for day in days), Fraction(0))
        assert billed(Subscription(items), start, end, (start, end)) == expected


@given(timelines(), st.integers(1, 11))
def test_what_comes_later_changes_nothing_that_was_billed(items: tuple[Item, ...], month: int) -> None:
    """A new version may add what changes from its first day on; the months before it stay as they are."""
    cut = MONTHS[month]
    known = tuple(
        Item(one.party, one.label, one.quantity, one.unit_price, one.starts_on, min(one.ends_before, cut))
        for one in items
        if one.starts_on < cut
    )
    for start, end in pairwise(MONTHS[: month + 1]):
        before, after = Subscription(known, is_per_term=True), Subscription(items, is_per_term=True)
        assert billed(before, start, end, YEAR) == billed(after, start, end, YEAR)


def test_a_short_first_period_of_the_contract_pays_its_days() -> None:
    subscription = Subscription((Item("a", "A", D(1), D(310), date(2026, 1, 1)),))
    assert (
        billed(subscription, date(2026, 1, 22), date(2026, 2, 1), (date(2026, 1, 1), date(2026, 2, 1))) == 100
    )


def test_a_term_is_earned_over_its_days_and_a_change_from_its_day_on() -> None:
    items = (Item("a", "A", D(2), D(365), date(2026, 1, 1), date(2026, 7, 1)),)
    subscription = Subscription(items, is_per_term=True)
    [first] = subscription.price(*MONTHS[:2], *YEAR)
    assert (first.amount, first.recognise) == (730, YEAR)
    [stop] = subscription.price(*MONTHS[6:8], *YEAR)
    assert (stop.amount, stop.quantity, stop.recognise) == (-368, -2, (date(2026, 7, 1), YEAR[1]))
    assert subscription.price(*MONTHS[7:9], *YEAR) == ()


@given(st.dates(), st.dates(), st.dates())
def test_counted_days_add_up(one: date, two: date, three: date) -> None:
    first, middle, last = sorted((one, two, three))
    for day_count in ("actual/actual", "30/360"):
        whole = days_between(day_count, first, last)
        assert days_between(day_count, first, middle) + days_between(day_count, middle, last) == whole


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        # ISDA 2006 section 4.16(g), Eurobond basis: D1 and D2 of 31 become 30
        (date(2007, 1, 15), date(2007, 1, 30), 15),
        (date(2007, 1, 15), date(2007, 2, 15), 30),
        (date(2007, 9, 30), date(2008, 3, 31), 180),
        (date(2007, 9, 30), date(2007, 10, 31), 30),
        (date(2008, 2, 29), date(2008, 3, 31), 31),
        (date(2008, 8, 31), date(2009, 2, 28), 178),
    ],
)
def test_thirty_days_a_month_as_isda_counts_them(first: date, last: date, days: int) -> None:
    assert days_between("30/360", first, last) == days


@given(st.integers(1, 36), st.integers(1, 31), st.dates(date(2026, 1, 1), date(2060, 1, 1)))
def test_terms_follow_each_other_without_a_gap(months: int, anchor: int, day: date) -> None:
    term = Term(months, anchor_in(2026, 1, anchor), anchor)
    found = term.containing(day)
    if found is None:
        assert day < term.starts_on
        return
    start, end = found
    assert start <= day < end
    assert term.containing(end - timedelta(days=1)) == found
    following = term.containing(end)
    assert following is not None
    assert following[0] == end


HEAD = """\
contract: subscribed
seller: {id: s, name: Seller}
buyer: {id: b, name: Buyer, facts: {grade: primary, beds: 200}}
currency: CNY
time_zone: Asia/Shanghai
effective_from: 2026-01-01
tax: {name: VAT, rate: 0}
parties:
  - {id: big, name: Big, role: site, facts: {grade: tertiary, beds: many}}
rates:
  - product: fee
    title: {en: Fee, zh: 费}
    unit: {en: month, zh: 月}
    price:
      model: subscription
"""


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ("amount: 5\n      items: [{party: nobody, from: 2026-01-01}]", "names nobody in this contract"),
        (
            "by_grade: {primary: 5}\n      items: [{party: big, from: 2026-01-01}]",
            "no price for the grade tertiary",
        ),
        (
            "amount: 5\n      of: beds\n      items: [{party: big, from: 2026-01-01}]",
            "no whole number of beds",
        ),
        ("amount: 5\n      items: [{from: 2026-01-01, until: 2026-01-01}]", "must be later than `from`"),
        ("amount: 5\n      items: [{from: 2026-01-01}, {from: 2026-01-01}]", "two items of b that begin on"),
        ("amount: 5\n      per: term\n      items: [{from: 2026-01-01}]", "count over a term: say `term:"),
        ("amount: 5", "`items` is missing"),
    ],
)
def test_what_cannot_be_subscribed_to_is_refused_by_line(price: str, message: str) -> None:
    with pytest.raises(ContractError) as caught:
        contract.load(f"{HEAD}      {price}\n")
    assert any(message in str(problem) for problem in caught.value.problems), caught.value


def test_grade_and_beds_come_from_the_facts_of_the_party() -> None:
    text = (
        HEAD
        + "      of: beds\n      by_grade: {primary: 5, tertiary: 9}\n      items: [{from: 2026-01-01}]\n"
    )
    [rate] = contract.load(text).rates
    assert isinstance(rate.pricing, Subscription)
    assert [(item.label, item.quantity, item.unit_price) for item in rate.pricing.items] == [
        ("Buyer", 200, 5)
    ]
