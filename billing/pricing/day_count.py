"""Days between two dates as a contract counts them."""

from __future__ import annotations

from datetime import date

DAY_COUNTS = ("actual/actual", "30/360")


def days_between(day_count: str, first: date, last: date) -> int:
    """Days of [first, last); parts of a span add up to it.

    actual/actual: the days of the calendar, so a part of a period is its days over the period's own days.
    30/360: every month has thirty days (ISDA 30E/360: a 31st counts as the 30th).
    """
    if day_count == "30/360":
        return _thirties(last) - _thirties(first)
    return (last - first).days


def _thirties(day: date) -> int:
    return 360 * day.year + 30 * day.month + min(day.day, 30)
