"""What makes up a commitment: the rest of a minimum, and what goes beyond a maximum, taken off."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from billing.contracts.commitment_terms import Commitment
from billing.contracts.contract import Contract
from billing.money import Money, exponent
from billing.period import Period
from billing.pricing.part import PricedPart

Amounts = Sequence[tuple[str, Money]]


def price_commitment(
    contract: Contract, period: Period, commitment: Commitment, charges: Amounts, earlier: Amounts
) -> tuple[PricedPart, ...]:
    """charges: (rate id, amount) of the period's lines. earlier: those of the earlier periods of the term."""
    now = _sum(contract, commitment, charges)
    if not commitment.is_per_term:
        share = Fraction(period.days, period.full_days)
        return (
            *_minimum(contract, commitment, now, share),
            *_maximum(contract, commitment, now, Fraction(0)),
        )
    term = contract.term.containing(period.starts_on) if contract.term else None
    if term is None:
        return ()
    before = _sum(contract, commitment, earlier)
    is_last = period.ends_on == term[1]
    minimum = _minimum(contract, commitment, before + now, Fraction(1)) if is_last else ()
    return (*minimum, *_maximum(contract, commitment, before + now, before))


def _sum(contract: Contract, commitment: Commitment, amounts: Amounts) -> Fraction:
    counted = (amount for rate_id, amount in amounts if rate_id in commitment.rates)
    return Fraction(sum(counted, Money.zero(contract.currency)).amount)


def _minimum(
    contract: Contract, commitment: Commitment, charged: Fraction, share: Fraction
) -> tuple[PricedPart, ...]:
    """share: of a full period that the contract covers; the minimum of a short first period is by days."""
    if commitment.minimum is None:
        return ()
    rest = Fraction(commitment.minimum) * share - charged
    code = "minimum_of_term" if commitment.is_per_term else "minimum" if share == 1 else "minimum_by_days"
    explanation = {
        "code": code,
        "minimum": f"{commitment.minimum:f}",
        "charged": _text(contract, charged),
        "days": str(share.numerator),
        "full_days": str(share.denominator),
    }
    return (PricedPart("true-up", Decimal(1), None, rest, explanation),) if rest > 0 else ()


def _maximum(
    contract: Contract, commitment: Commitment, charged: Fraction, before: Fraction
) -> tuple[PricedPart, ...]:
    """before: what earlier periods of the term came to; what they went beyond is taken off already."""
    if commitment.maximum is None:
        return ()
    limit = Fraction(commitment.maximum)
    beyond = max(charged - limit, Fraction(0)) - max(before - limit, Fraction(0))
    explanation = {
        "code": "maximum_of_term" if commitment.is_per_term else "maximum",
        "maximum": f"{commitment.maximum:f}",
        "charged": _text(contract, charged),
    }
    return (PricedPart("beyond-maximum", Decimal(1), None, -beyond, explanation),) if beyond else ()


def _text(contract: Contract, amount: Fraction) -> str:
    return str(Money(int(amount * 10 ** exponent(contract.currency)), contract.currency))
