"""Routing rules as data: what a rule says, and the rule set that is in force for a tenant.

All matching rules apply, in their order. A product is taken once, by the first matching rule that names a model of it;
`stop` ends the list where its rule matches. Where no rule matches, the study is refused, visibly. A tenant without
active rules is routed by its list of models.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.rule_language import Expression

ALL_DAYS = frozenset(range(7))


class Priority(StrEnum):
    """How urgent a study is; its steps are taken before those of a lower one."""

    EMERGENCY = "emergency"
    NORMAL = "normal"
    OFF_PEAK = "off_peak"
    """Its models run only in the off-peak hours."""


MOST_URGENT_FIRST = (Priority.EMERGENCY, Priority.NORMAL, Priority.OFF_PEAK)


class Start(StrEnum):
    """What must be complete before the models may run."""

    STUDY = "study"
    SERIES = "series"


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


@dataclass(frozen=True)
class Rule:
    """One rule. Conditions that are absent hold for everything.

    when: of the study. series: which series the models may read; one at least must be true of it.
    models: names or product codes. destinations: names; empty = the sender's own.
    emergency_when: raises the priority to emergency where it is true.
    shadow: the models run and their results are kept, neither delivered nor charged.
    required_series: each must be true of some series before the study counts as complete.
    force_after_s, force_policy, quiet_time_s, late_policy: None = as the peer or the tenant has it.
    stop: where this rule matches, no later one is looked at.
    """

    name: str
    models: tuple[str, ...]
    enabled: bool = True
    when: Expression | None = None
    series: Expression | None = None
    calling_ae_titles: tuple[str, ...] = ()
    called_ae_titles: tuple[str, ...] = ()
    time_window: TimeWindow | None = None
    destinations: tuple[str, ...] = ()
    priority: Priority = Priority.NORMAL
    emergency_when: Expression | None = None
    shadow: bool = False
    required_series: tuple[Expression, ...] = ()
    start: Start = Start.STUDY
    force_after_s: int | None = None
    force_policy: str | None = None
    quiet_time_s: int | None = None
    late_policy: str | None = None
    stop: bool = False


@dataclass(frozen=True)
class RuleSet:
    """One version of a tenant's rules.

    version: 0 for a draft that is not stored. off_peak: when models of that priority run.
    """

    rules: tuple[Rule, ...]
    time_zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    off_peak: TimeWindow = TimeWindow(time(20), time(6))
    version: int = 0
