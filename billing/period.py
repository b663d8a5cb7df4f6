"""Billing periods: months from an anchor day, in the contract's time zone."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Period:
    """[local midnight of `starts_on`, local midnight of `ends_on`) in `time_zone` (IANA name).

    full_days: length of the whole period of the grid in days; longer than `days` only where the
        contract began inside it.
    """

    starts_on: date
    ends_on: date
    time_zone: str
    full_days: int

    def __post_init__(self) -> None:
        if not 0 < self.days <= self.full_days:
            raise ValueError(f"a period cannot run from {self.starts_on} to {self.ends_on}")

    @property
    def days(self) -> int:
        return (self.ends_on - self.starts_on).days

    @property
    def start_at(self) -> datetime:
        """First instant, inclusive, UTC."""
        return local_midnight(self.starts_on, self.time_zone)

    @property
    def end_at(self) -> datetime:
        """Last instant, exclusive, UTC."""
        return local_midnight(self.ends_on, self.time_zone)

    def __contains__(self, instant: datetime) -> bool:
        return self.start_at <= instant < self.end_at


def local_midnight(day: date, time_zone: str) -> datetime:
    """The first instant of `day` in `time_zone`, as UTC.

    Where clocks skip midnight, fold=0 reads it with the offset before the change, which is the
    instant of the change; where midnight comes twice, fold=0 is the first one. Both start the day.
    """
    return datetime.combine(day, time(0), ZoneInfo(time_zone)).astimezone(UTC)


def anchor_in(year: int, month: int, anchor_day: int) -> date:
    """The anchor's day in this month; 29 to 31 clamp to the month's last day, always from the anchor."""
    return date(year, month, min(anchor_day, calendar.monthrange(year, month)[1]))


def is_period_start(day: date, anchor_day: int) -> bool:
    return day == anchor_in(day.year, day.month, anchor_day)


def period_of(instant: datetime, time_zone: str, anchor_day: int, effective_from: date) -> Period | None:
    """The period that holds `instant`; None before the contract began.

    The first period starts on `effective_from`, which may lie inside the grid's month.
    """
    day = instant.astimezone(ZoneInfo(time_zone)).date()
    start = anchor_in(day.year, day.month, anchor_day)
    if day < start:
        start = anchor_in(*_month_before(day), anchor_day)
    end = anchor_in(*_month_after(start), anchor_day)
    if day < effective_from:
        return None
    return Period(max(start, effective_from), end, time_zone, (end - start).days)


def periods_between(
    first: datetime, last: datetime, time_zone: str, anchor_day: int, effective_from: date
) -> list[Period]:
    """Every period that holds an instant of [first, last], in order."""
    first = max(first, local_midnight(effective_from, time_zone))
    periods: list[Period] = []
    instant = first
    while instant <= last:
        period = period_of(instant, time_zone, anchor_day, effective_from)
        assert period is not None, "instants are taken from effective_from on"
        periods.append(period)
        instant = period.end_at
    return periods


def _month_before(day: date) -> tuple[int, int]:
    return (day.year, day.month - 1) if day.month > 1 else (day.year - 1, 12)


def _month_after(day: date) -> tuple[int, int]:
    return (day.year, day.month + 1) if day.month < 12 else (day.year + 1, 1)
