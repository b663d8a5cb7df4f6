"""Each unit costs what its tier says: the first hundred at one price, the next at another."""

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
class Graduated:
    """tiers: rising, the last one open; checked by `find_tier_problem` when a contract is read."""

    is_metered: ClassVar[bool] = True
    model: ClassVar[str] = "graduated"
    tiers: tuple[Tier, ...]

    @classmethod
    def read(cls, source: YamlMap) -> Graduated:
        return cls(read_tiers(source))

    def price(self, quantity: Decimal, share: PeriodShare = WHOLE_PERIOD) -> tuple[PricedPart, ...]:
        """One part for each tier that the quantity reaches; `share` does not matter."""
        del share
        parts = []
        lower = Decimal(0)
        for number, tier in enumerate(self.tiers, start=1):
            if quantity <= lower:
                break
            upper = quantity if tier.up_to is None else min(quantity, tier.up_to)
            parts.append(_part(number, tier, lower, upper))
            lower = upper
        return tuple(parts)


def _part(number: int, tier: Tier, lower: Decimal, upper: Decimal) -> PricedPart:
    units = upper - lower
    explanation = {
        "code": "graduated_open" if tier.up_to is None else "graduated",
        "tier": str(number),
        "above": plain(lower),
        "up_to": "" if tier.up_to is None else plain(tier.up_to),
        "quantity": plain(units),
        "unit_price": f"{tier.unit_price:f}",
        "flat_fee": f"{tier.flat_fee:f}" if tier.flat_fee else "",
    }
    amount = Fraction(units) * Fraction(tier.unit_price) + Fraction(tier.flat_fee)
    return PricedPart(f"tier-{number}", units, tier.unit_price, amount, explanation)
