"""All units cost what the tier of the whole quantity says."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar

from billing.contracts.yaml_reader import YamlMap
from billing.metering.usage import plain
from billing.pricing.part import WHOLE_PERIOD, PeriodShare, PricedPart
from billing.pricing.tier import Tier, read_tiers


@dataclass(frozen=True)
class Volume:
    """tiers: rising, the last one open; checked by `find_tier_problem` when a contract is read."""

    is_metered: ClassVar[bool] = True
    model: ClassVar[str] = "volume"
    tiers: tuple[Tier, ...]

    @classmethod
    def read(cls, source: YamlMap) -> Volume:
        return cls(read_tiers(source))

    def price(self, quantity: Decimal, share: PeriodShare = WHOLE_PERIOD) -> tuple[PricedPart, ...]:
        """One part at the price of the tier in which `quantity` lies; `share` does not matter."""
        del share
        if not quantity:
            return ()
        number, tier = self._tier_of(quantity)
        explanation = {
            "code": "volume",
            "tier": str(number),
            "quantity": plain(quantity),
            "unit_price": f"{tier.unit_price:f}",
            "flat_fee": f"{tier.flat_fee:f}" if tier.flat_fee else "",
        }
        amount = Fraction(quantity) * Fraction(tier.unit_price) + Fraction(tier.flat_fee)
        return (PricedPart(f"tier-{number}", quantity, tier.unit_price, amount, explanation),)

    def _tier_of(self, quantity: Decimal) -> tuple[int, Tier]:
        for number, tier in enumerate(self.tiers, start=1):
            if tier.up_to is None or quantity <= tier.up_to:
                return number, tier
        raise AssertionError("the last tier is open")
