"""Correct: late usage of a billed period, as the difference to what was billed for it.

The whole service period is rated again with everything known now; what its statements charged so far is
taken off line by line. So corrections add up to one full rating, however many there were.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from billing.aggregate import Billed
from billing.contract import Contract
from billing.money import Money
from billing.rate import RatedLine, Rating
from billing.usage import plain

_NOTHING = Billed(Decimal(0), 0)


def correct(contract: Contract, rating: Rating, billed: Mapping[str, Billed]) -> tuple[RatedLine, ...]:
    """Correction lines for one service period; none where nothing changed.

    billed: by line key, everything that issued statements hold for the service period.
    """
    now = {line.key: Billed(line.quantity, line.amount.amount_minor) for line in rating.lines}
    keys = [*now, *sorted(billed.keys() - now.keys())]
    lines = (
        _line(contract, rating, key, billed.get(key, _NOTHING), now.get(key, _NOTHING))
        for key in keys
        if now.get(key, _NOTHING) != billed.get(key, _NOTHING)
    )
    return tuple(lines)


def _line(contract: Contract, rating: Rating, key: str, before: Billed, now: Billed) -> RatedLine:
    rate = contract.source_of(key)
    assert rate is not None, "what was billed has a rate in the version of its period"
    amount = Money(now.amount_minor - before.amount_minor, contract.currency)
    explanation = {
        "code": "late_usage",
        "now": str(Money(now.amount_minor, contract.currency)),
        "quantity_now": plain(now.quantity),
        "before": str(Money(before.amount_minor, contract.currency)),
        "quantity_before": plain(before.quantity),
    }
    return RatedLine(
        key=key,
        kind="correction",
        product=rate.product,
        title=rate.title,
        unit=rate.unit,
        service_start=rating.period.starts_on,
        service_end=rating.period.ends_on,
        quantity=now.quantity - before.quantity,
        unit_price=None,
        exact=Fraction(amount.amount),
        amount=amount,
        explanation=explanation,
        tax_name=contract.tax.name,
        tax_rate=contract.tax.rate,
    )
