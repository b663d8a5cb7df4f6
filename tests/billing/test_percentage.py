"""A share of what events carry: each event's own limit, summed by the database in bands, equals one event at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.contracts import contract, store
from billing.errors import AmountUnusable, ContractError
from billing.metering import meter, usage_totals
from billing.metering.usage import UsageEvent
from billing.pricing.percentage import Percentage
from billing.rating import aggregate, rate
from billing.statements import statement

TENANT = "hospital-a"
NOVEMBER = datetime(2026, 11, 20, tzinfo=UTC)
MakeEvent = Callable[..., UsageEvent]
D = Decimal


def text(price: str, currency: str = "CNY") -> str:
    return f"""\
contract: share
seller: {{id: s, name: Seller}}
buyer: {{id: b, name: Buyer}}
currency: {currency}
time_zone: Asia/Shanghai
effective_from: 2026-01-01
tax: {{name: VAT, rate: 0}}
rates:
  - product: diagnosis
    meter: revenue
    title: {{en: Share, zh: 分成}}
    unit: {{en: case, zh: 例}}
    price: {{{price}}}
"""


def events(make_event: MakeEvent, amounts: list[int], currency: str = "CNY") -> list[UsageEvent]:
    return [
        make_event(
            number,
            kind="usage",
            product="diagnosis",
            meter="revenue",
            amount_minor=amount,
            amount_currency=currency,
        )
        for number, amount in enumerate(amounts)
    ]


def naive(pricing: Percentage, amounts: list[int], digits: int) -> Fraction:
    """One event at a time, major units; a refund is the mirror of its charge."""
    total = Fraction(0)
    for amount in amounts:
        share = Fraction(abs(amount), 10**digits) * Fraction(pricing.share)
        if pricing.floor is not None:
            share = max(share, Fraction(pricing.floor))
        if pricing.cap is not None:
            share = min(share, Fraction(pricing.cap))
        total += share if amount >= 0 else -share
    return total


limits = st.decimals(0, 300, places=3)
amount_lists = st.lists(
    st.integers(-(10**6), 10**6) | st.sampled_from([0, 1, -1, 6666, 6667, 200_000]), max_size=30
)


@given(
    st.decimals("0.00000001", 3, places=8),
    st.none() | limits,
    st.none() | limits,
    amount_lists,
    st.sampled_from([0, 2, 3]),
)
def test_bands_give_what_one_event_at_a_time_gives(
    share: Decimal, floor: Decimal | None, cap: Decimal | None, amounts: list[int], digits: int
) -> None:
    if floor is not None and cap is not None:
        floor, cap = sorted((floor, cap))
    pricing = Percentage(share, floor, cap, is_limited_by_event=True)
    amounts = [*amounts, *(end + near for end in pricing.thresholds(digits) for near in (-1, 0, 1))]
    thresholds = tuple(sorted({*pricing.thresholds(digits), 500}))  # another rate's threshold does no harm
    found = usage_totals.total_usage(
        [_event(number, amount) for number, amount in enumerate(amounts)],
        usage_totals.Grouping((), thresholds),
    )
    parts = pricing.price(found.groups, digits, thresholds)
    assert sum((part.amount for part in parts), Fraction(0)) == naive(pricing, amounts, digits)


def _event(number: int, amount: int) -> UsageEvent:
    return UsageEvent(
        "t", "test", f"e{number}", "usage", "diagnosis", D(1), NOVEMBER, "s", f"c{number}",
        amount_minor=amount, amount_currency="CNY", meter="revenue",
    )  # fmt: skip


def test_a_limit_of_the_period_is_due_without_usage_too(make_event: MakeEvent) -> None:
    terms = contract.load(text("model: percentage, share: 0.15, floor: 1000, cap: 2000"))
    for amounts, amount in (
        ([], 100_000),
        ([500_000], 100_000),
        ([1_000_000], 150_000),
        ([9_000_000], 200_000),
    ):
        assert _billed(terms, events(make_event, amounts)) == amount


def test_a_price_that_the_event_carries_is_marked_up(make_event: MakeEvent) -> None:
    assert _billed(contract.load(text("model: dynamic")), events(make_event, [333, 333])) == 666
    assert _billed(contract.load(text("model: dynamic, mark_up: 0.055")), events(make_event, [333])) == 351


def _billed(terms: contract.Contract, of: list[UsageEvent]) -> int:
    period = terms.period_of(NOVEMBER)
    assert period is not None
    rated = rate.rate(terms, period, usage_totals.total_usage(of, terms.grouping))
    return rated.total(terms.currency).amount_minor


@pytest.mark.parametrize("currency", ["JPY", "CNY", "KWD"])
def test_the_database_sums_what_memory_sums(transact, make_event: MakeEvent, currency: str) -> None:
    source = text("model: percentage, share: 0.15, floor: 10, cap: 300, limits: event", currency)
    amounts = [0, 1, 66, 67, 6666, 6667, 66666, 66667, 199999, 200000, 200001, 2000001, -200001, -5]
    of = events(make_event, amounts, currency)
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, source)
        for event in of:
            meter.record(conn, event, received_at=NOVEMBER)
        draft = statement.draft(conn, TENANT, contract_id, NOVEMBER)
    assert draft.subtotal.amount_minor == _billed(contract.load(source), of)
    assert draft.charged_event_count == len(amounts)


@pytest.mark.parametrize(
    ("amount", "currency", "said"), [(None, None, "no amount"), (5, "EUR", "an amount in EUR")]
)
def test_an_amount_that_cannot_be_shared_stops_the_statement(
    make_event: MakeEvent, amount: int | None, currency: str | None, said: str
) -> None:
    event = make_event(
        1, kind="usage", product="diagnosis", meter="revenue", amount_minor=amount, amount_currency=currency
    )
    with pytest.raises(
        AmountUnusable, match=f"carries {said}: void it and send it again with an amount in CNY"
    ):
        _billed(contract.load(text("model: percentage, share: 0.15")), [event])


def test_a_floor_of_a_term_is_a_commitment() -> None:
    source = text("model: percentage, share: 0.15, floor: 5").replace(
        "meter: revenue", "meter: revenue\n    over: term"
    )
    with pytest.raises(ContractError, match="a commitment has the minimum of a term"):
        contract.load(source + "term: {months: 12, from: 2026-01-01}\n")


def test_a_floor_above_its_cap_is_refused() -> None:
    with pytest.raises(ContractError, match="`floor` is above the cap"):
        contract.load(text("model: percentage, share: 0.1, floor: 5, cap: 4"))


def test_memory_and_database_name_the_same_set_of_events(transact, make_event: MakeEvent) -> None:
    source = text("model: percentage, share: 0.15, floor: 10, cap: 300, limits: event")
    terms, of = contract.load(source), events(make_event, [1, 6667, 200_000, -3])
    period = terms.period_of(NOVEMBER)
    assert period is not None
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, source)
        for event in of:
            meter.record(conn, event, received_at=NOVEMBER)
        found = aggregate.usage_totals(conn, TENANT, contract_id, terms, period, cutoff=10**9)
    assert found.inputs_digest == usage_totals.total_usage(of[::-1]).inputs_digest
    assert found.inputs_digest != usage_totals.total_usage(of[1:]).inputs_digest
