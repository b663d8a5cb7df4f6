"""A share of the amounts that events carry: of a revenue, or of a price that the event itself names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar

from billing.contracts.yaml_reader import YamlMap
from billing.metering.usage import plain
from billing.metering.usage_totals import UsageGroup
from billing.pricing.part import PricedPart

_SMALLEST = Decimal("0.00000001")


@dataclass(frozen=True)
class Percentage:
    """share: a fraction of the carried amounts, 0.15 for 15 %; above 1 it is a price with its mark-up.

    floor, cap: major units, of each event or of the period's sum; None: no limit. A refund mirrors its charge.
    """

    model: ClassVar[str] = "percentage"
    is_metered: ClassVar[bool] = True
    share: Decimal
    floor: Decimal | None = None
    cap: Decimal | None = None
    is_limited_by_event: bool = False

    @classmethod
    def read(cls, source: YamlMap) -> Percentage:
        share = source.decimal("share", minimum=_SMALLEST)
        floor = source.decimal("floor") if source.has("floor") else None
        cap = source.decimal("cap") if source.has("cap") else None
        by_event = source.one_of("limits", ("event", "period"), default="period") == "event"
        if floor is not None and cap is not None and floor > cap:
            source.problem("floor", "is above the cap")
        return cls(share, floor, cap, by_event)

    @classmethod
    def read_dynamic(cls, source: YamlMap) -> Percentage:
        """The event carries its price; `mark_up` is a fraction of it."""
        return cls(1 + source.decimal("mark_up", default=Decimal(0)))

    @property
    def has_floor_of_period(self) -> bool:
        return self.floor is not None and not self.is_limited_by_event

    def thresholds(self, exponent: int) -> tuple[int, ...]:
        """Amounts in minor units at which an event meets its floor, and at which it goes beyond its cap."""
        if not self.is_limited_by_event:
            return ()
        scale = Fraction(10**exponent) / Fraction(self.share)
        floor = () if self.floor is None else (math.ceil(Fraction(self.floor) * scale),)
        cap = () if self.cap is None else (math.floor(Fraction(self.cap) * scale) + 1,)
        return (*floor, *cap)

    def price(
        self, groups: Sequence[UsageGroup], exponent: int, thresholds: Sequence[int]
    ) -> tuple[PricedPart, ...]:
        """groups: cut at `thresholds`, the contract's, ascending; each lies wholly below, within or beyond a limit."""
        raised = limited = 0
        amount = Fraction(0)
        lowest, highest = self._bands(exponent, thresholds)
        for group in groups:
            sign = -1 if group.is_refund else 1
            if group.band < lowest:
                raised += group.event_count
                amount += sign * group.event_count * Fraction(self.floor or 0)
            elif group.band > highest:
                limited += group.event_count
                amount += sign * group.event_count * Fraction(self.cap or 0)
            else:
                amount += Fraction(group.amount_minor, 10**exponent) * Fraction(self.share)
        share = amount
        if not self.is_limited_by_event:
            amount = amount if self.floor is None else max(amount, Fraction(self.floor))
            amount = amount if self.cap is None else min(amount, Fraction(self.cap))
        count = sum(group.event_count for group in groups)
        if not count and not amount:
            return ()
        explanation = {
            "code": "percentage",
            "percent": f"{plain(self.share * 100)}%",
            "carried": _major(sum(group.amount_minor for group in groups), exponent),
            "count": str(count),
            "raised": str(raised) if raised else "",
            "limited": str(limited) if limited else "",
            "floor": "" if self.floor is None else f"{self.floor:f}",
            "cap": "" if self.cap is None else f"{self.cap:f}",
            "below": "yes" if amount > share else "",
            "beyond": "yes" if amount < share else "",
        }
        return (PricedPart("share", Decimal(count), None, amount, explanation),)

    def _bands(self, exponent: int, thresholds: Sequence[int]) -> tuple[int, int]:
        """The lowest band that meets the floor and the highest that keeps to the cap."""
        own = list(self.thresholds(exponent))
        lowest = 0 if self.floor is None or not own else thresholds.index(own[0]) + 1
        highest = len(thresholds) if self.cap is None or not own else thresholds.index(own[-1])
        return lowest, highest


def _major(minor: int, exponent: int) -> str:
    return f"{Decimal(minor).scaleb(-exponent):,f}"
