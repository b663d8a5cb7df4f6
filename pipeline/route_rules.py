"""Route by rules: which rules match a study, what each of them gives, and why the others do not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from models.manifest import Manifest
from pipeline.route import Route, choose
from pipeline.rule_errors import EvaluationTooLong
from pipeline.rule_expression import Expression, evaluate, first_not_true, names_in
from pipeline.rule_keywords import Arrival, Facts, Value, series_facts, study_facts
from pipeline.rules import Rule, RuleSet, Start
from pipeline.unfit import Unfit
from pipeline.urgency import MOST_URGENT_FIRST, Priority
from study.study import Series, Study

EVALUATION_CPU_S_MAX = 10.0
"""Processor time that the rules may take over one study; ordinary ones take milliseconds."""
_VALUE_LENGTH_SHOWN = 80


@dataclass(frozen=True)
class Obstacle:
    """What kept a rule from matching.

    what: the key of the rule that did. expression: the part that is not true. values: what its keywords were, of the
    series that came nearest. series: that series, "number description".
    """

    what: str
    expression: str = ""
    values: dict[str, Value] = field(default_factory=dict)
    series: str = ""


@dataclass(frozen=True)
class RuleTrace:
    """What became of one rule. series: those that it lets the models read."""

    rule: Rule
    obstacle: Obstacle | None
    series: tuple[Series, ...] = ()
    outcomes: tuple[tuple[str, Route | Unfit | None], ...] = ()
    """For each model that the rule names: its route, why it is unfit, or None where an earlier rule took it."""
    missing: tuple[str, ...] = ()
    """The series that the rule requires and the study, as far as it has come, does not hold: as expressions."""

    @property
    def is_match(self) -> bool:
        return self.obstacle is None


@dataclass(frozen=True)
class Choice:
    """One model reads one series because of one rule."""

    route: Route
    rule: Rule
    rule_set_version: int

    def as_json(self) -> dict[str, Any]:
        return self.route.as_json() | {
            "rule": self.rule.name,
            "rule_set_version": self.rule_set_version,
            "destinations": list(self.rule.destinations),
            "shadow": self.rule.shadow,
        }


@dataclass(frozen=True)
class Routing:
    """What a rule set makes of a study.

    misses: (product, why) of each model that found no input. priority: the most urgent of the rules that match.
    """

    traces: tuple[RuleTrace, ...]
    choices: tuple[Choice, ...]
    misses: tuple[tuple[str, Unfit], ...]
    priority: Priority

    @property
    def matched(self) -> tuple[Rule, ...]:
        return tuple(trace.rule for trace in self.traces if trace.is_match)


@dataclass
class Budget:
    """Ends an evaluation that takes too long, in processor time of this thread."""

    cpu_s: float = EVALUATION_CPU_S_MAX

    def __post_init__(self) -> None:
        self._until_s = time.thread_time() + self.cpu_s

    def tick(self) -> None:
        if time.thread_time() > self._until_s:
            raise EvaluationTooLong(f"the rules took more than {self.cpu_s:g} s over one study")


def route_by_rules(
    rule_set: RuleSet, study: Study, arrival: Arrival, find_manifest: Callable[[str], Manifest]
) -> Routing:
    """Apply every rule in order. Raises `EvaluationTooLong`."""
    seen = _Seen(rule_set, study, arrival)
    traces: list[RuleTrace] = []
    choices: list[Choice] = []
    misses: list[tuple[str, Unfit]] = []
    priority: Priority | None = None
    taken: set[str] = set()
    stopped = False
    for rule in rule_set.rules:
        found = Obstacle("stop") if stopped else seen.match(rule)
        if isinstance(found, Obstacle):
            traces.append(RuleTrace(rule, found))
            continue
        stopped = rule.stop
        priority = _more_urgent(priority, seen.priority(rule))
        outcomes: list[tuple[str, Route | Unfit | None]] = []
        for model in rule.models:
            manifest = find_manifest(model)
            outcome = None
            if manifest.product_code not in taken:
                taken.add(manifest.product_code)
                outcome = choose(replace(study, series=found), manifest)
            outcomes.append((model, outcome))
            if isinstance(outcome, Route):
                choices.append(Choice(outcome, rule, rule_set.version))
            elif isinstance(outcome, Unfit):
                misses.append((manifest.product_code, outcome))
        traces.append(RuleTrace(rule, None, found, tuple(outcomes), seen.missing_of(rule)))
    return Routing(tuple(traces), tuple(choices), tuple(misses), priority or Priority.NORMAL)


def applying_rules(
    rule_set: RuleSet, study: Study, arrival: Arrival
) -> tuple[tuple[Rule, tuple[str, ...]], ...]:
    """The rules that a study, as far as it has come, is going to: each with its required series that are missing.

    Conditions of series are not asked, for the series may still be on its way.
    """
    seen = _Seen(rule_set, study, arrival)
    found = []
    for rule in rule_set.rules:
        if seen.study_obstacle(rule) is None:
            found.append((rule, seen.missing_of(rule)))
            if rule.stop:
                break
    return tuple(found)


def early_rules(rule_set: RuleSet, study: Study, arrival: Arrival) -> frozenset[str]:
    """Names of the rules that may start with these series: `start: series`, and all that they require is among them."""
    found = applying_rules(rule_set, study, arrival)
    return frozenset(rule.name for rule, missing in found if rule.start is Start.SERIES and not missing)


class _Seen:
    """The facts of one study, read once for all rules."""

    def __init__(self, rule_set: RuleSet, study: Study, arrival: Arrival) -> None:
        self._zone = rule_set.time_zone
        self._arrival = arrival
        self._budget = Budget()
        self._study = study_facts(study, arrival, self._zone)
        self._series = [(series, self._study | series_facts(series)) for series in study.series]

    def match(self, rule: Rule) -> tuple[Series, ...] | Obstacle:
        """The series that the rule lets its models read, or what keeps it from matching."""
        obstacle = self.study_obstacle(rule)
        if obstacle is not None:
            return obstacle
        if rule.series is None:
            return tuple(series for series, _ in self._series)
        return self.series_of(rule.series) or self._series_obstacle(rule.series)

    def study_obstacle(self, rule: Rule) -> Obstacle | None:
        arrival = self._arrival
        if not rule.enabled:
            return Obstacle("enabled")
        if rule.calling_ae_titles and arrival.calling_ae_title not in rule.calling_ae_titles:
            return Obstacle("calling_ae_titles", values={"CallingAETitle": arrival.calling_ae_title})
        if rule.called_ae_titles and arrival.called_ae_title not in rule.called_ae_titles:
            return Obstacle("called_ae_titles", values={"CalledAETitle": arrival.called_ae_title})
        if rule.time_window is not None and not rule.time_window.is_open(arrival.at, self._zone):
            return Obstacle("time_window", values={"at": f"{arrival.at.astimezone(self._zone):%a %H:%M}"})
        if rule.when is not None and not self._holds(rule.when, self._study):
            return self._obstacle("when", rule.when, self._study)
        return None

    def missing_of(self, rule: Rule) -> tuple[str, ...]:
        return tuple(one.text for one in rule.required_series if not self.series_of(one))

    def series_of(self, expression: Expression) -> tuple[Series, ...]:
        return tuple(series for series, facts in self._series if self._holds(expression, facts))

    def priority(self, rule: Rule) -> Priority:
        if rule.emergency_when is not None and self._holds(rule.emergency_when, self._study):
            return Priority.EMERGENCY
        return rule.priority

    def _holds(self, expression: Expression, facts: Facts) -> bool:
        return evaluate(expression.node, facts, self._budget.tick) is True

    def _series_obstacle(self, expression: Expression) -> Obstacle:
        """Of the series with the most images, which is the one that a person has in mind."""
        if not self._series:
            return Obstacle("series")
        series, facts = max(self._series, key=lambda one: len(one[0].instances))
        return replace(self._obstacle("series", expression, facts), series=series_name(series))

    @staticmethod
    def _obstacle(what: str, expression: Expression, facts: Facts) -> Obstacle:
        part = first_not_true(expression.node, facts)
        assert part is not None, "an expression that holds is no obstacle"
        values = {name.keyword: _shown(facts[name.keyword]) for name in names_in(part)}
        return Obstacle(what, part.text, values)


def series_name(series: Series) -> str:
    number = "" if series.series_number is None else f"{series.series_number} "
    return f"{number}{series.description or series.modality}"[:_VALUE_LENGTH_SHOWN]


def _shown(value: Value) -> Value:
    if isinstance(value, str):
        return value[:_VALUE_LENGTH_SHOWN]
    return tuple(one[:_VALUE_LENGTH_SHOWN] for one in value[:10]) if isinstance(value, tuple) else value


def _more_urgent(one: Priority | None, other: Priority) -> Priority:
    return other if one is None else min(one, other, key=MOST_URGENT_FIRST.index)
