"""What every pricing model gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction


@dataclass(frozen=True)
class PricedPart:
    """One future line of a statement.

    key: names the part within its rate, stable when the same rate is rated again.
    quantity: how many units the part covers; for packages, how many packages.
    unit_price: major units for each of `quantity`; None where there is no such price.
    amount: exact, major units, not rounded.
    explanation: `code` and its values as text; `billing.explain` makes the sentence.
    recognise: [first day, end) over which the amount is earned, where that is not the period itself.
    """

    key: str
    quantity: Decimal
    unit_price: Decimal | None
    amount: Fraction
    explanation: Mapping[str, str]
    recognise: tuple[date, date] | None = None


@dataclass(frozen=True)
class PeriodShare:
    """How much of a full period the contract covers: `days` of `full_days`."""

    days: int
    full_days: int

    @property
    def fraction(self) -> Fraction:
        return Fraction(self.days, self.full_days)


WHOLE_PERIOD = PeriodShare(1, 1)
