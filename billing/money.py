"""Money as integer minor units, and the only places where amounts are rounded or shared out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from billing.errors import AllocationImpossible, CurrencyMismatch, CurrencyUnknown

# ISO 4217 active currencies by number of minor-unit digits. CLDR (Babel) differs from ISO for some
# of them (it gives AFN and IQD none), and a ledger follows ISO.
_TWO_DIGITS = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY
COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS
INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR
MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD
SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW ZWG
"""
_NO_DIGITS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE_DIGITS = "BHD IQD JOD KWD LYD OMR TND"
EXPONENTS: dict[str, int] = {
    **dict.fromkeys(_TWO_DIGITS.split(), 2),
    **dict.fromkeys(_NO_DIGITS.split(), 0),
    **dict.fromkeys(_THREE_DIGITS.split(), 3),
}


def exponent(currency: str) -> int:
    """How many decimal digits the minor unit of `currency` has (ISO 4217)."""
    try:
        return EXPONENTS[currency]
    except KeyError:
        raise CurrencyUnknown(currency) from None


@dataclass(frozen=True)
class Money:
    """amount_minor: integer minor units of `currency` (ISO 4217)."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        exponent(self.currency)

    @classmethod
    def zero(cls, currency: str) -> Money:
        return cls(0, currency)

    def __add__(self, other: Money) -> Money:
        self._require_same_currency(other)
        return Money(self.amount_minor + other.amount_minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        return self + -other

    def __neg__(self) -> Money:
        return Money(-self.amount_minor, self.currency)

    def __bool__(self) -> bool:
        return self.amount_minor != 0

    @property
    def amount(self) -> Decimal:
        """The amount in major units, exact."""
        sign, digits = int(self.amount_minor < 0), tuple(int(digit) for digit in str(abs(self.amount_minor)))
        return Decimal((sign, digits, -exponent(self.currency)))

    def __str__(self) -> str:
        """`1,234.50`: grouped by thousands, always all minor digits, no currency sign."""
        return f"{self.amount:,f}"

    def _require_same_currency(self, other: Money) -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(self.currency, other.currency)


def round_half_away_from_zero(value: Fraction) -> int:
    """The nearest integer; a half goes away from zero, so a credit mirrors its charge."""
    magnitude = math.floor(abs(value) + Fraction(1, 2))
    return magnitude if value >= 0 else -magnitude


def to_money(amount: Fraction, currency: str) -> Money:
    """An exact amount in major units, rounded once to the currency's minor unit."""
    return Money(round_half_away_from_zero(amount * 10 ** exponent(currency)), currency)


def allocate(total: int, weights: Sequence[Fraction], keys: Sequence[str]) -> tuple[int, ...]:
    """Share `total` minor units out by `weights` so that the parts sum to it exactly.

    Largest remainder; among equal remainders the smallest key wins, so the order of the input does
    not matter. A negative total mirrors the positive one.
    """
    weight_sum = sum(weights, Fraction(0))
    if any(weight < 0 for weight in weights) or (weight_sum == 0 and total != 0):
        raise AllocationImpossible(f"cannot share {total} out over {len(weights)} weight(s)")
    if total == 0:
        return (0,) * len(weights)
    return push_down(total, [total * weight / weight_sum for weight in weights], keys)


def push_down(total: int, shares: Sequence[Fraction], keys: Sequence[str]) -> tuple[int, ...]:
    """Round exact `shares` of either sign to integers that sum to `total`, their own sum rounded.

    Used for tax: computed once from the group, then stored on each line. Mirrors like `allocate`.
    """
    if total < 0:
        return tuple(-part for part in push_down(-total, [-share for share in shares], keys))
    parts = [math.floor(share) for share in shares]
    leftover = total - sum(parts)
    if not 0 <= leftover <= len(parts):
        raise AllocationImpossible(f"the shares do not add up to {total}")
    by_remainder = sorted(range(len(parts)), key=lambda i: (parts[i] - shares[i], keys[i]))
    for index in by_remainder[:leftover]:
        parts[index] += 1
    return tuple(parts)
