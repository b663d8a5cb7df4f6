"""Forecast to the end of the billing month: each day that is left brings what its weekday brought lately.

Expected: the mean of that weekday in the trailing four weeks. Range: the least and the most of them. Where a weekday
has not occurred yet, all days there are stand in for it. What today brings counts as it is, or as expected if that
is more. Holidays and growth are not known to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from billing.contracts.store import StoredContract
from billing.metering import usage_days
from billing.metering.usage_days import UsageDay
from billing.metering.usage_totals import UsageGroup, UsageTotals
from billing.money import Money, round_half_away_from_zero
from billing.period import Period
from billing.rating.rate import rate

Connection = psycopg.Connection[Any]
TRAILING_DAYS = 28


@dataclass(frozen=True)
class Estimate:
    """quantity: units in the period. amount: what the rates make of them, before tax and corrections."""

    quantity: Decimal
    amount: Money


@dataclass(frozen=True)
class DayAhead:
    """What a day that is left is expected to have brought at its end, in units."""

    day: date
    low: Fraction
    expected: Fraction
    high: Fraction


@dataclass(frozen=True)
class Forecast:
    """How the period ends. days_seen: how many days that rests on; 0: nothing is known beyond what is there.

    days: the days that are left, today first.
    """

    period: Period
    days_seen: int
    so_far: Estimate
    low: Estimate
    expected: Estimate
    high: Estimate
    days: tuple[DayAhead, ...]


def to_month_end(conn: Connection, tenant: str, stored: StoredContract, *, now: datetime) -> Forecast | None:
    """The forecast for the billing month that holds `now`; None before the contract began."""
    period = stored.period_of(now)
    if period is None:
        return None
    today = now.astimezone(ZoneInfo(stored.contract.time_zone)).date()
    first = max(stored.first_day, today - timedelta(days=TRAILING_DAYS))
    found = usage_days.read(conn, tenant, stored.contract_id, min(first, period.starts_on), period.ends_on)
    names = stored.contract.grouping.names
    series = _series([one for one in found if not one.is_prepaid], names)
    trailing = tuple(first + timedelta(days=number) for number in range((today - first).days))
    left = tuple(today + timedelta(days=number) for number in range((period.ends_on - today).days))
    ends = [_Ends(stored, period, series, trailing, left, pick) for pick in (_nothing, min, _mean, max)]
    so_far, low, expected, high = (one.estimate for one in ends)
    days = tuple(DayAhead(day, *(one.of_day(day) for one in ends[1:])) for day in left)
    return Forecast(period, len(trailing), so_far, low, expected, high, days)


_Kind = tuple[str, str, tuple[tuple[str, str], ...], str]
_Pick = Callable[[list[Fraction]], Fraction]


@dataclass(frozen=True)
class _Ends:
    """How the month ends where each day that is left brings what `pick` makes of its weekday's trailing days."""

    stored: StoredContract
    period: Period
    series: Mapping[_Kind, Mapping[date, UsageDay]]
    trailing: tuple[date, ...]
    left: tuple[date, ...]
    pick: _Pick

    @property
    def estimate(self) -> Estimate:
        contract, groups = self.stored.contract, self._groups()
        rating = rate(contract, self.period, UsageTotals(groups, ""))
        quantity = sum((group.quantity for group in groups), Decimal(0))
        return Estimate(quantity, rating.total(contract.currency))

    def of_day(self, day: date) -> Fraction:
        """Units that the day will have brought at its end."""
        there = (
            Fraction(days[day].quantity) if day in days else Fraction(0) for days in self.series.values()
        )
        more = (self._more(days, day) for days in self.series.values())
        return sum((*there, *more), Fraction(0))

    def _groups(self) -> tuple[UsageGroup, ...]:
        return tuple(self._group(kind, days) for kind, days in sorted(self.series.items()))

    def _group(self, kind: _Kind, days: Mapping[date, UsageDay]) -> UsageGroup:
        product, meter, told, currency = kind
        inside = [one for one in days.values() if self.period.starts_on <= one.day < self.period.ends_on]
        more = sum((self._more(days, day) for day in self.left), Fraction(0))
        more_units = round_half_away_from_zero(more)  # a case comes whole
        return UsageGroup(
            product,
            sum((one.quantity for one in inside), Decimal(0)) + more_units,
            sum(one.event_count for one in inside) + more_units,
            max((one.peak for one in inside), default=Decimal(0)),
            dict(told),
            meter,
            self._amount(inside, more_units),
            currency,
        )

    def _amount(self, inside: list[UsageDay], more_units: int) -> int:
        """Carried amounts grow as the units do."""
        units = sum((Fraction(one.quantity) for one in inside), Fraction(0))
        amount = sum(one.amount_minor for one in inside)
        return amount + (round_half_away_from_zero(amount * more_units / units) if units else 0)

    def _more(self, days: Mapping[date, UsageDay], day: date) -> Fraction:
        """What a day adds to what it has brought already."""
        alike = [one for one in self.trailing if one.weekday() == day.weekday()] or self.trailing
        brought = [Fraction(days[one].quantity) if one in days else Fraction(0) for one in alike]
        so_far = Fraction(days[day].quantity) if day in days else Fraction(0)
        return max(self.pick(brought) - so_far, Fraction(0)) if brought else Fraction(0)


def _series(found: Sequence[UsageDay], names: Sequence[str]) -> dict[_Kind, dict[date, UsageDay]]:
    """By what prices tell apart, and by day."""
    series: dict[_Kind, dict[date, UsageDay]] = defaultdict(dict)
    for one in found:
        told = tuple((name, one.dimensions[name]) for name in names if name in one.dimensions)
        days = series[one.product, one.meter, told, one.amount_currency]
        before = days.get(one.day)
        if before is not None:
            one = replace(
                one,
                quantity=one.quantity + before.quantity,
                event_count=one.event_count + before.event_count,
                peak=max(one.peak, before.peak),
                amount_minor=one.amount_minor + before.amount_minor,
            )
        days[one.day] = one
    return series


def _nothing(_: list[Fraction]) -> Fraction:
    return Fraction(0)


def _mean(values: list[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)
