"""Every unit costs the same."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar

from billing.contracts.yaml_reader import YamlMap
from billing.metering.usage import plain
from billing.pricing.part import WHOLE_PERIOD, PeriodShare, PricedPart


@dataclass(frozen=True)
class PerUnit:
    """unit_price: major units of the contract's currency, tax excluded."""

    is_metered: ClassVar[bool] = True
    model: ClassVar[str] = "per_unit"
    unit_price: Decimal

    @classmethod
    def read(cls, source: YamlMap) -> PerUnit:
        return cls(source.decimal("unit_price"))

    def price(self, quantity: Decimal, share: PeriodShare = WHOLE_PERIOD) -> tuple[PricedPart, ...]:
        """quantity × unit price; `share` does not matter."""
        del share
        if not quantity:
            return ()
        explanation = {"code": "per_unit", "quantity": plain(quantity), "unit_price": f"{self.unit_price:f}"}
        amount = Fraction(quantity) * Fraction(self.unit_price)
        return (PricedPart("units", quantity, self.unit_price, amount, explanation),)
