"""How urgent a study is, and the hours in which the models of one that is not may run.

Apart from the rules, because every process that queues a job needs it and none of them needs the rules' parser.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

ALL_DAYS = frozenset(range(7))


class Priority(StrEnum):
    """How urgent a study is; its steps are taken before those of a lower one."""

    EMERGENCY = "emergency"
    NORMAL = "normal"
    OFF_PEAK = "off_peak"
    """Its models run only in the off-peak hours."""


MOST_URGENT_FIRST = (Priority.EMERGENCY, Priority.NORMAL, Priority.OFF_PEAK)


@dataclass(frozen=True)
class TimeWindow:
    """[begins, ends) on `days` (0 = Monday), local time; one that ends earlier than it begins runs past midnight."""

    begins: time
    ends: time
    days: frozenset[int] = ALL_DAYS

    def is_open(self, at: datetime, zone: ZoneInfo) -> bool:
        local = at.astimezone(zone)
        day, clock = local.weekday(), local.time().replace(tzinfo=None)
        if self.begins < self.ends:
            return day in self.days and self.begins <= clock < self.ends
        yesterday = (day - 1) % 7
        return (day in self.days and clock >= self.begins) or (yesterday in self.days and clock < self.ends)

    def next_open(self, at: datetime, zone: ZoneInfo) -> datetime:
        """`at` where the window is open, else the next instant at which it opens, UTC."""
        if self.is_open(at, zone):
            return at
        today = at.astimezone(zone).date()
        openings = (self._opening(today + timedelta(days=days), zone) for days in range(9))
        return next(opening for opening in openings if opening is not None and opening > at)

    def _opening(self, day: date, zone: ZoneInfo) -> datetime | None:
        if day.weekday() not in self.days:
            return None
        return datetime.combine(day, self.begins, zone).astimezone(UTC)

    def as_json(self) -> dict[str, Any]:
        return {"begins": f"{self.begins:%H:%M}", "ends": f"{self.ends:%H:%M}", "days": sorted(self.days)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TimeWindow:
        begins, ends = (time.fromisoformat(values[name]) for name in ("begins", "ends"))
        return cls(begins, ends, frozenset(values["days"]))
