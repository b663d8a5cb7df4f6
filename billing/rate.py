"""Rate: quantity × price → rated lines, the same whatever the order or the batch size of the events."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from billing.contract import Contract
from billing.decide import Outcome, decide
from billing.errors import NoRate
from billing.money import Money, to_money
from billing.period import Period
from billing.pricing.part import PeriodShare, PricedPart
from billing.rate_terms import Rate, takers
from billing.usage import UsageEvent, plain
from billing.usage_totals import UsageGroup, UsageTotals, exact_decimal, total_usage

RATING_VERSION = "1"
"""Goes up whenever the same input could give another output."""


@dataclass(frozen=True)
class RatedLine:
    """One line before tax.

    key: `rate/part`; stable when the same service period is rated again.
    kind: `usage`, or `correction` of a service period that was billed before.
    service_start, service_end: local days of the contract's zone, [start, end).
    quantity, unit_price: what is printed; `amount` does not depend on their product.
    exact: major units before rounding. amount: `exact`, rounded once.
    """

    key: str
    kind: str
    product: str
    title: Mapping[str, str]
    unit: Mapping[str, str]
    service_start: date
    service_end: date
    quantity: Decimal
    unit_price: Decimal | None
    exact: Fraction
    amount: Money
    explanation: Mapping[str, str]
    tax_name: str
    tax_rate: Decimal


@dataclass(frozen=True)
class Rating:
    """The outcome of rating one period. output_digest: SHA-256 (hex) of the lines."""

    period: Period
    lines: tuple[RatedLine, ...]
    inputs_digest: str

    @property
    def output_digest(self) -> str:
        return digest_lines(self.lines)

    def total(self, currency: str) -> Money:
        """Sum of the lines, tax excluded."""
        return sum((line.amount for line in self.lines), Money.zero(currency))


def rate(contract: Contract, period: Period, totals: UsageTotals) -> Rating:
    """Price a period's usage, in the contract's order of rates."""
    taken: dict[str, list[UsageGroup]] = defaultdict(list)
    for group in totals.groups:
        taken[rate_of(contract, period, group).id].append(group)
    lines: list[RatedLine] = []
    for item in contract.rates:
        if item.is_in_force(period.starts_on):
            lines += _rate_item(contract, period, item, _measure(item, taken[item.id]))
    return Rating(period, tuple(lines), totals.inputs_digest)


def rate_of(contract: Contract, period: Period, group: UsageGroup) -> Rate:
    """The first rate of the product, in the contract's order, that matches.

    What the events do not say is taken from the facts of their site, else of the buyer.
    """
    site = contract.party(group.dimensions.get("site", ""))
    dimensions = {**contract.buyer.facts, **(site.facts if site else {}), **group.dimensions}
    for item in takers(contract.rates, group.product, group.meter):
        if item.is_in_force(period.starts_on) and item.matches(dimensions):
            return item
    raise NoRate(
        group.product, period.starts_on, {name: dimensions.get(name, "") for name in group.dimensions}
    )


def _measure(item: Rate, groups: Iterable[UsageGroup]) -> Decimal:
    """How much of its events the rate prices."""
    match item.measure:
        case "events":
            return Decimal(sum(group.event_count for group in groups))
        case "peak":
            return max((group.peak for group in groups), default=Decimal(0))
        case _:
            return exact_decimal(sum((Fraction(group.quantity) for group in groups), Fraction(0)))


def _rate_item(contract: Contract, period: Period, item: Rate, quantity: Decimal) -> list[RatedLine]:
    share = PeriodShare(period.days, period.full_days)
    free = min(quantity, item.free_allowance)
    parts = [*_free_part(item, free), *item.pricing.price(quantity - free, share)]
    return [
        RatedLine(
            key=f"{item.id}/{part.key}",
            kind="usage",
            product=item.product,
            title=item.title,
            unit=item.unit,
            service_start=period.starts_on,
            service_end=period.ends_on,
            quantity=part.quantity,
            unit_price=part.unit_price,
            exact=part.amount,
            amount=to_money(part.amount, contract.currency),
            explanation=part.explanation,
            tax_name=contract.tax.name,
            tax_rate=contract.tax.rate,
        )
        for part in parts
    ]


def _free_part(item: Rate, free: Decimal) -> list[PricedPart]:
    if not free:
        return []
    explanation = {
        "code": "free_allowance",
        "quantity": plain(free),
        "allowance": plain(item.free_allowance),
    }
    return [PricedPart("free", free, Decimal(0), Fraction(0), explanation)]


@dataclass(frozen=True)
class Simulation:
    """What a contract would have made of some usage. not_charged: events by reason code."""

    ratings: tuple[Rating, ...]
    not_charged: Mapping[str, int]
    total: Money


def simulate(contract: Contract, events: Iterable[UsageEvent]) -> Simulation:
    """Price `events` by `contract` alone; nothing is stored. The first event of a case key is charged."""
    seen: set[str] = set()
    by_period: dict[Period, list[UsageEvent]] = defaultdict(list)
    not_charged: dict[str, int] = defaultdict(int)
    for event in sorted(events, key=lambda event: (event.occurred_at, event.event_id)):
        period = contract.period_of(event.occurred_at)
        is_priced = period is not None and event.product in contract.products
        outcome, reason = decide(event, event.occurred_at, has_contract=is_priced)
        if outcome is Outcome.BILLABLE and event.case_key in seen:
            reason_text = "already_charged"
        elif outcome is Outcome.BILLABLE and period is not None:
            seen.add(event.case_key)
            by_period[period].append(event)
            continue
        else:
            reason_text = reason.value
        not_charged[reason_text] += 1
    ratings = tuple(
        rate(contract, period, total_usage(by_period[period], contract.filter_dimensions))
        for period in _all_periods(contract, by_period)
    )
    total = sum((rating.total(contract.currency) for rating in ratings), Money.zero(contract.currency))
    return Simulation(ratings, dict(not_charged), total)


def _all_periods(contract: Contract, by_period: Mapping[Period, object]) -> list[Period]:
    """From the first period with usage to the last: fixed fees are due in quiet months too."""
    if not by_period:
        return []
    periods = sorted(by_period, key=lambda period: period.starts_on)
    between = [periods[0]]
    while between[-1].starts_on < periods[-1].starts_on:
        following = contract.period_of(between[-1].end_at)
        assert following is not None, "a period follows every period of a contract"
        between.append(following)
    return between


def digest_lines(lines: Iterable[RatedLine]) -> str:
    """SHA-256 (hex) of everything that the lines say, and of the version of the rules."""
    rows = [line_values(line) for line in lines]
    text = json.dumps([RATING_VERSION, rows], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def line_values(line: RatedLine) -> dict[str, object]:
    """A line as JSON values, exact numbers as text."""
    return {
        "key": line.key,
        "kind": line.kind,
        "product": line.product,
        "title": dict(line.title),
        "unit": dict(line.unit),
        "service_start": line.service_start.isoformat(),
        "service_end": line.service_end.isoformat(),
        "quantity": plain(line.quantity),
        "unit_price": None if line.unit_price is None else f"{line.unit_price:f}",
        "exact": str(line.exact),
        "amount_minor": line.amount.amount_minor,
        "currency": line.amount.currency,
        "explanation": dict(line.explanation),
        "tax_name": line.tax_name,
        "tax_rate": f"{line.tax_rate:f}",
    }


def line_from(values: Mapping[str, object]) -> RatedLine:
    """The inverse of `line_values`."""
    unit_price = values["unit_price"]
    amount_minor, title, unit, explanation = (
        values[k] for k in ("amount_minor", "title", "unit", "explanation")
    )
    assert isinstance(amount_minor, int)
    assert isinstance(title, dict)
    assert isinstance(unit, dict)
    assert isinstance(explanation, dict)
    return RatedLine(
        key=str(values["key"]),
        kind=str(values["kind"]),
        product=str(values["product"]),
        title=title,
        unit=unit,
        service_start=date.fromisoformat(str(values["service_start"])),
        service_end=date.fromisoformat(str(values["service_end"])),
        quantity=Decimal(str(values["quantity"])),
        unit_price=None if unit_price is None else Decimal(str(unit_price)),
        exact=Fraction(str(values["exact"])),
        amount=Money(amount_minor, str(values["currency"])),
        explanation=explanation,
        tax_name=str(values["tax_name"]),
        tax_rate=Decimal(str(values["tax_rate"])),
    )
