"""Correct: late usage of a billed period, as the difference to what was billed for it.

The whole service period is rated again with everything known now; what its statements charged so far is
taken off line by line. So corrections add up to one full rating, however many there were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from decimal import Decimal
from fractions import Fraction

from billing.contracts.contract import Contract
from billing.metering.usage import plain
from billing.money import Money
from billing.period import Period
from billing.rating.aggregate import Billed
from billing.rating.rate import RatedLine

_NOTHING = Billed(Decimal(0), 0)


def correct(
    contract: Contract,
    period: Period,
    rated: Sequence[RatedLine],
    billed: Mapping[str, Billed],
    moved: Set[str] = frozenset(),
) -> tuple[RatedLine, ...]:
    """Correction lines for one service period; none where nothing changed.

    rated: what the period comes to now. billed: by line key, everything that issued statements hold for it. moved:
    keys of lines that lie on other sites than before, and so need a line even where their sum is what it was.
    """
    now = {line.key: Billed(line.quantity, line.amount.amount_minor) for line in rated}
    keys = [*now, *sorted(billed.keys() - now.keys())]
    lines = (
        _line(contract, period, key, billed.get(key, _NOTHING), now.get(key, _NOTHING))
        for key in keys
        if key in moved or now.get(key, _NOTHING) != billed.get(key, _NOTHING)
    )
    return tuple(lines)


def _line(contract: Contract, period: Period, key: str, before: Billed, now: Billed) -> RatedLine:
    source = contract.source_of(key)
    assert source is not None, "what was billed has a price in the version of its period"
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
        product=source.product,
        title=source.title,
        unit=source.unit,
        service_start=period.starts_on,
        service_end=period.ends_on,
        quantity=now.quantity - before.quantity,
        unit_price=None,
        exact=Fraction(amount.amount),
        amount=amount,
        explanation=explanation,
        tax_name=contract.tax.name,
        tax_rate=contract.tax.rate,
    )
