"""Routing rules as data: what a rule says, and the rule set that is in force for a tenant.

All matching rules apply, in their order. A product is taken once, by the first matching rule that names a model of it;
`stop` ends the list where its rule matches. Where no rule matches, the study is refused, visibly. A tenant without
active rules is routed by its list of models.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import time
from enum import StrEnum
from zoneinfo import ZoneInfo

from pipeline.prior_rule import PriorsRule
from pipeline.rule_expression import Expression
from pipeline.urgency import Priority, TimeWindow

OFF_PEAK = TimeWindow(time(20), time(6))
"""Of a document that names no hours."""


class Start(StrEnum):
    """What a rule waits for."""

    STUDY = "study"
    SERIES = "series"


@dataclass(frozen=True)
class Rule:
    """One rule. Conditions that are absent hold for everything.

    when: of the study. series: which series the models may read; one at least must be true of it.
    models: names or product codes. destinations: names; empty = the sender's own.
    emergency_when: raises the priority to emergency where it is true.
    shadow: the models run and their results are kept, neither delivered nor charged.
    required_series: each must be true of some series before the study counts as complete.
    start: whether it waits for the whole study, or starts with the series that are whole while others still arrive.
    quiet_time_s, late_policy: of the studies that it matches; None = as the peer and the tenant have it.
    force_after_s, force_policy: when a required series is waited for no longer, and then; None = as the peer has it.
    stop: where this rule matches, no later one is looked at.
    priors: which earlier studies of the patient are fetched; None = none.
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
    quiet_time_s: int | None = None
    late_policy: str | None = None
    force_after_s: int | None = None
    force_policy: str | None = None
    stop: bool = False
    priors: PriorsRule | None = None


@dataclass(frozen=True)
class RuleSet:
    """One version of a tenant's rules.

    version: 0 for a draft that is not stored. off_peak: when models of that priority run.
    """

    rules: tuple[Rule, ...]
    time_zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    off_peak: TimeWindow = OFF_PEAK
    version: int = 0
