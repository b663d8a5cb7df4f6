"""A fixed fee for each period, whatever was used."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar

from billing.contracts.yaml_reader import YamlMap
from billing.pricing.part import WHOLE_PERIOD, PeriodShare, PricedPart


@dataclass(frozen=True)
class Flat:
    """amount: major units for a full period, tax excluded.

    is_prorated: a first period that began late costs its days over the full period's days.
    """

    is_metered: ClassVar[bool] = False
    model: ClassVar[str] = "flat"
    amount: Decimal
    is_prorated: bool = True

    @classmethod
    def read(cls, source: YamlMap) -> Flat:
        proration = source.one_of("proration", ("by_day", "none"), default="by_day")
        return cls(source.decimal("amount"), is_prorated=proration == "by_day")

    def price(self, quantity: Decimal, share: PeriodShare = WHOLE_PERIOD) -> tuple[PricedPart, ...]:
        """The fee, by days where the contract covers only a part of the period."""
        del quantity
        fee = Fraction(self.amount)
        explanation = {"code": "flat", "fee": f"{self.amount:f}"}
        if self.is_prorated and share.fraction != 1:
            fee *= share.fraction
            explanation = {
                "code": "flat_prorated",
                "fee": f"{self.amount:f}",
                "days": str(share.days),
                "full_days": str(share.full_days),
            }
        return (PricedPart("fee", Decimal(1), self.amount, fee, explanation),)
