"""What one rate of a contract makes of the usage that it took: its parts, one for each line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from billing.contracts.contract import Contract
from billing.contracts.rate_terms import Rate
from billing.errors import AmountUnusable
from billing.metering.usage import plain
from billing.metering.usage_totals import UsageGroup, exact_decimal
from billing.money import exponent, to_money
from billing.period import Period
from billing.pricing.part import PeriodShare, PricedPart
from billing.pricing.percentage import Percentage
from billing.pricing.subscription import Subscription


def price_rate(
    contract: Contract,
    period: Period,
    item: Rate,
    groups: Sequence[UsageGroup],
    before: Sequence[UsageGroup] = (),
) -> tuple[PricedPart, ...]:
    """groups: the period's. before: those of the earlier periods of the term; they count where the rate says so."""
    if isinstance(item.pricing, Subscription):
        span = _span(contract, period, item.pricing)
        return item.pricing.price(period.starts_on, period.ends_on, *span) if span else ()
    if not item.is_per_term:
        return _price_usage(contract, period, item, groups)
    now = _price_usage(contract, period, item, (*before, *groups))
    return _less(contract, now, _price_usage(contract, period, item, before))


def _span(contract: Contract, period: Period, pricing: Subscription) -> tuple[date, date] | None:
    """What the fee is for: the whole period, or the term that holds it."""
    if pricing.is_per_term:
        return contract.term.containing(period.starts_on) if contract.term else None
    return period.ends_on - timedelta(days=period.full_days), period.ends_on


def _price_usage(
    contract: Contract, period: Period, item: Rate, groups: Sequence[UsageGroup]
) -> tuple[PricedPart, ...]:
    if isinstance(item.pricing, Percentage):
        for group in groups:
            if group.amount_currency != contract.currency:
                raise AmountUnusable(group.product, group.amount_currency, contract.currency)
        return item.pricing.price(groups, exponent(contract.currency), contract.grouping.thresholds)
    assert not isinstance(item.pricing, Subscription), "a subscription prices no usage"
    quantity = _measure(item, groups)
    free = min(quantity, item.free_allowance)
    share = PeriodShare(period.days, period.full_days)
    return (*_free_part(item, free), *item.pricing.price(quantity - free, share))


def _measure(item: Rate, groups: Sequence[UsageGroup]) -> Decimal:
    """How much of its events the rate prices."""
    match item.measure:
        case "events":
            return Decimal(sum(group.event_count for group in groups))
        case "peak":
            return max((group.peak for group in groups), default=Decimal(0))
        case _:
            return exact_decimal(sum((Fraction(group.quantity) for group in groups), Fraction(0)))


def _free_part(item: Rate, free: Decimal) -> tuple[PricedPart, ...]:
    if not free:
        return ()
    explanation = {
        "code": "free_allowance_of_term" if item.is_per_term else "free_allowance",
        "quantity": plain(free),
        "allowance": plain(item.free_allowance),
    }
    return (PricedPart("free", free, Decimal(0), Fraction(0), explanation),)


def _less(
    contract: Contract, now: tuple[PricedPart, ...], before: tuple[PricedPart, ...]
) -> tuple[PricedPart, ...]:
    """The parts of the term so far, less those of its earlier periods; nothing where they are the same."""
    earlier = {part.key: part for part in before}
    parts = []
    for part in now:
        past = earlier.pop(part.key, None)
        if past is None:
            parts.append(part)
        elif (part.quantity, part.amount) != (past.quantity, past.amount):
            parts.append(_rest(contract, part, past))
    return (*parts, *(_taken_back(contract, past) for past in earlier.values()))


def _rest(contract: Contract, part: PricedPart, past: PricedPart) -> PricedPart:
    """What this period adds to a part that began earlier in the term."""
    told = {
        "term_quantity": plain(past.quantity),
        "term_amount": str(to_money(past.amount, contract.currency)),
    }
    return replace(
        part,
        quantity=part.quantity - past.quantity,
        amount=part.amount - past.amount,
        explanation={**part.explanation, **told},
    )


def _taken_back(contract: Contract, past: PricedPart) -> PricedPart:
    """A part that no longer stands, since the term's volume has reached another tier."""
    explanation = {
        "code": "term_repriced",
        "quantity": plain(past.quantity),
        "amount": str(to_money(past.amount, contract.currency)),
    }
    return replace(past, quantity=-past.quantity, amount=-past.amount, explanation=explanation)
