"""Rate: quantity × price → rated lines, the same whatever the order or the batch size of the events."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction

from billing.contracts.case_rules_terms import Bundle
from billing.contracts.commitment_terms import Commitment
from billing.contracts.contract import Contract
from billing.contracts.rate_terms import Rate, takers
from billing.errors import NoRate
from billing.metering.decide import Outcome, decide
from billing.metering.usage import UsageEvent, plain
from billing.metering.usage_totals import UsageGroup, UsageTotals, total_usage
from billing.money import Money, to_money
from billing.period import Period
from billing.pricing.part import PricedPart
from billing.rating import treated
from billing.rating.price_commitment import price_commitment
from billing.rating.price_rate import price_rate
from billing.rating.treatment import FULL_PRICE

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
    recognise_from, recognise_until: local days, [from, until), over which the amount is earned; None: the period.
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
    recognise_from: date | None = None
    recognise_until: date | None = None


@dataclass(frozen=True)
class Rating:
    """The outcome of rating one period. output_digest: SHA-256 (hex) of the lines. taken: usage by rate id."""

    period: Period
    lines: tuple[RatedLine, ...]
    inputs_digest: str
    taken: Mapping[str, Sequence[UsageGroup]] = field(default_factory=dict, compare=False)

    @property
    def output_digest(self) -> str:
        return digest_lines(self.lines)

    @property
    def event_count(self) -> int:
        return sum(group.event_count for groups in self.taken.values() for group in groups)

    def total(self, currency: str) -> Money:
        """Sum of the lines, tax excluded."""
        return sum((line.amount for line in self.lines), Money.zero(currency))


def rate(contract: Contract, period: Period, totals: UsageTotals, earlier: Sequence[Rating] = ()) -> Rating:
    """Price a period's usage, in the contract's order of rates, then its commitments.

    earlier: the earlier periods of the term, each rated by its own version, where the contract counts over a term.
    """
    taken: dict[str, list[UsageGroup]] = defaultdict(list)
    for group in totals.groups:
        taken[rate_of(contract, period, group).id].append(group)
    lines: list[RatedLine] = []
    for item in contract.rates:
        if item.is_in_force(period.starts_on):
            before = [group for rating in earlier for group in rating.taken.get(item.id, ())]
            parts = price_rate(contract, period, item, _untreated(taken[item.id]), _untreated(before))
            special = treated.parts(contract, item, taken[item.id])
            lines += [_line(contract, period, item, part) for part in (*parts, *special)]
    for bundle, part in treated.bundle_parts(contract, totals.groups):
        lines.append(_line(contract, period, bundle, part))
    lines = treated.round_bundles(contract, lines)
    lines += [_line(contract, period, item, part) for item, part in treated.outcome_limit(contract, lines)]
    usage, past = tuple(lines), [line for rating in earlier for line in rating.lines]
    for commitment in contract.commitments:
        parts = price_commitment(contract, period, commitment, _amounts(usage), _amounts(past))
        lines += [_line(contract, period, commitment, part) for part in parts]
    return Rating(period, tuple(lines), totals.inputs_digest, taken)


def _untreated(groups: Iterable[UsageGroup]) -> list[UsageGroup]:
    return [group for group in groups if group.treatment == FULL_PRICE]


def _amounts(lines: Iterable[RatedLine]) -> list[tuple[str, Money]]:
    return [(line.key.split("/")[0], line.amount) for line in lines]


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


def _line(
    contract: Contract, period: Period, source: Rate | Commitment | Bundle, part: PricedPart
) -> RatedLine:
    recognise_from, recognise_until = part.recognise or (None, None)
    return RatedLine(
        key=f"{source.id}/{part.key}",
        kind="usage",
        product=source.product,
        title=source.title,
        unit=source.unit,
        service_start=period.starts_on,
        service_end=period.ends_on,
        quantity=part.quantity,
        unit_price=part.unit_price,
        exact=part.amount,
        amount=to_money(part.amount, contract.currency),
        explanation=part.explanation,
        tax_name=contract.tax.name,
        tax_rate=contract.tax.rate,
        recognise_from=recognise_from,
        recognise_until=recognise_until,
    )


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
        rate(contract, period, total_usage(by_period[period], contract.grouping))
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
    """A line as JSON values, exact numbers as text. What came later is named only where it is said."""
    recognised = {
        name: day.isoformat()
        for name, day in (("recognise_from", line.recognise_from), ("recognise_until", line.recognise_until))
        if day is not None
    }
    return {
        **recognised,
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
        recognise_from=_day_or_none(values.get("recognise_from")),
        recognise_until=_day_or_none(values.get("recognise_until")),
    )


def _day_or_none(text: object) -> date | None:
    return None if text is None else date.fromisoformat(str(text))
