"""Units come in packages; a package that was begun is paid whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar

from billing.contracts.yaml_reader import YamlMap
from billing.metering.usage import plain
from billing.pricing.part import WHOLE_PERIOD, PeriodShare, PricedPart

_SMALLEST = Decimal("0.000001")


@dataclass(frozen=True)
class Package:
    """size: units in a package. package_price: major units for one package, tax excluded."""

    is_metered: ClassVar[bool] = True
    model: ClassVar[str] = "package"
    size: Decimal
    package_price: Decimal

    @classmethod
    def read(cls, source: YamlMap) -> Package:
        return cls(source.decimal("size", minimum=_SMALLEST), source.decimal("package_price"))

    def price(self, quantity: Decimal, share: PeriodShare = WHOLE_PERIOD) -> tuple[PricedPart, ...]:
        """⌈quantity / size⌉ packages, counted exactly; `share` does not matter."""
        del share
        if not quantity:
            return ()
        packages = math.ceil(Fraction(quantity) / Fraction(self.size))
        explanation = {
            "code": "package",
            "packages": str(packages),
            "size": plain(self.size),
            "quantity": plain(quantity),
            "unit_price": f"{self.package_price:f}",
        }
        amount = packages * Fraction(self.package_price)
        return (PricedPart("packages", Decimal(packages), self.package_price, amount, explanation),)
