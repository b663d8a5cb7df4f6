"""A rater of the plainest kind: loops over events, unit by unit where it can. Shares no code with `billing`.

It knows one agreement, `contract_text`, and says for each month what a full rating of it comes to.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

TERM_MONTHS = 3
FEE = 9_000_000


@dataclass(frozen=True)
class Use:
    at: datetime
    product: str
    campus: str
    quantity: Fraction
    amount_minor: int


def rounded(value: Fraction) -> int:
    doubled = abs(value) * 2
    nearest = (doubled.numerator // doubled.denominator + 1) // 2
    return nearest if value > 0 else -nearest


def month_totals(uses: list[Use], prices: dict[int, Fraction], zone: str, scale: int) -> dict[int, int]:
    """Minor units for each month from 1; prices: of the month's version; scale: minor units in a major unit."""
    by_month: dict[int, list[Use]] = defaultdict(list)
    for use in uses:
        by_month[use.at.astimezone(ZoneInfo(zone)).month].append(use)
    totals, usage_of = {}, {}
    for month, price in prices.items():
        own = by_month[month]
        first = month - (month - 1) % TERM_MONTHS
        before = [use for earlier in range(first, month) for use in by_month[earlier]]
        east = sum((u.quantity for u in own if (u.product, u.campus) == ("ct", "east")), Fraction(0))
        lines = [rounded(part * scale) for part in steps(east, [(Fraction(10), price), (None, price / 3)])]
        past, all_of = (other_ct(some) for some in (before, before + own))
        now_parts, past_parts = ([*steps(max(q - 5, Fraction(0)), term_tiers(price))] for q in (all_of, past))
        past_parts += [Fraction(0)] * (len(now_parts) - len(past_parts))
        lines += [rounded((now - then) * scale) for now, then in zip(now_parts, past_parts, strict=True)]
        ct = sum(lines)
        packages = 0
        while packages * 3 < sum((u.quantity for u in own if u.product == "mri"), Fraction(0)):
            packages += 1
        shares = sum((share(u.amount_minor, scale) for u in own if u.product == "revenue"), Fraction(0))
        usage = ct + rounded(packages * Fraction("7.77") * scale) + rounded(shares * scale)
        usage_of[month] = usage  # towards the term's minimum counts what was used, before the month's maximum
        usage -= max(ct - 500 * scale, 0)
        if month - first == TERM_MONTHS - 1:
            charged = sum(usage_of[one] for one in range(first, month + 1))
            usage += max(3000 * scale - charged, 0)
        totals[month] = usage + FEE * scale
    return totals


def other_ct(uses: list[Use]) -> Fraction:
    return sum((u.quantity for u in uses if u.product == "ct" and u.campus != "east"), Fraction(0))


def term_tiers(price: Fraction) -> list[tuple[Fraction | None, Fraction]]:
    return [(Fraction(20), price), (None, price / 4)]


def steps(units: Fraction, tiers: list[tuple[Fraction | None, Fraction]]) -> list[Fraction]:
    """Major units for each tier that the units reach."""
    parts, lower = [], Fraction(0)
    for upper, price in tiers:
        if units > lower:
            parts.append((units - lower if upper is None else min(units, upper) - lower) * price)
        lower = upper or lower
    return parts


def share(amount_minor: int, scale: int) -> Fraction:
    """15 % of one amount, at least 1 and at most 50; a refund mirrors its charge."""
    part = min(max(Fraction(abs(amount_minor), scale) * Fraction("0.15"), Fraction(1)), Fraction(50))
    return part if amount_minor >= 0 else -part
