"""Treatment: what the rest of a request, or a verdict, makes of a case's price."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Treatment:
    """What a rule makes of a price.

    code: its sentence in `billing.explain`. rule: the contract's id of the rule, "" for the price as it is.
    fraction: of the product's price; for a bundle, of the bundle's price. item: where the line stands: a
        bundle's id, or "" for the product's own rate.
    """

    code: str
    rule: str
    fraction: Fraction
    item: str = ""

    @property
    def key(self) -> str:
        """Names the line within its item, stable when the same period is rated again."""
        if self.code == "sequence_discount":
            return f"{self.rule}-{self.fraction.numerator}-{self.fraction.denominator}"
        return self.rule


FULL_PRICE = Treatment("", "", Fraction(1))
