"""Read a rule document: YAML → `RuleSet`, every mistake with its line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection
from datetime import time
from typing import TypeVar
from zoneinfo import ZoneInfo, available_timezones

from billing.contracts import yaml_reader
from billing.contracts.yaml_reader import YamlMap
from billing.errors import ContractError
from pipeline.prior_rule import PriorsRule
from pipeline.rule_errors import ExpressionRefused, RuleProblem, RulesInvalid
from pipeline.rule_expression import Expression
from pipeline.rules import Rule, RuleSet, Start
from pipeline.urgency import ALL_DAYS, Priority, TimeWindow
from study.errors import InvalidAETitle
from study.identifiers import AETitle

DOCUMENT_LENGTH_MAX = 64 * 1024
RULES_MAX = 100
LIST_LENGTH_MAX = 20
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FORCE_POLICIES = ("process", "discard", "ask")
LATE_POLICIES = ("run", "ask", "ignore")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,80}")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@ -]{0,63}", re.ASCII)
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)

_NO_DESTINATION = "there is no such destination and no peer of this AE title; add it first"

_E = TypeVar("_E")


def read_rules(
    text: str,
    default_time_zone: str = "UTC",
    version: int = 0,
    *,
    known_models: Collection[str] | None = None,
    known_destinations: Collection[str] | None = None,
) -> RuleSet:
    """The rules of a document; raises `RulesInvalid` with all that is wrong.

    default_time_zone: IANA name, for a document that names none.
    known_models: names and product codes of what is installed; known_destinations: names that results can be sent to;
        None = any is taken as good.
    """
    if len(text) > DOCUMENT_LENGTH_MAX:
        raise RulesInvalid([RuleProblem(1, f"longer than {DOCUMENT_LENGTH_MAX} characters")])
    try:
        reader, document = yaml_reader.parse(text)
        rules = _read_document(document, default_time_zone, version, known_models, known_destinations)
        reader.raise_problems()
    except ContractError as error:
        raise RulesInvalid([RuleProblem(one.line, one.message) for one in error.problems]) from error
    return rules


def _read_document(
    document: YamlMap,
    default_time_zone: str,
    version: int,
    known_models: Collection[str] | None,
    known_destinations: Collection[str] | None,
) -> RuleSet:
    time_zone = document.text("time_zone", default_time_zone)
    if time_zone not in available_timezones():
        document.problem("time_zone", "needs an IANA time zone like Europe/Berlin")
        time_zone = "UTC"
    off_peak = _window(document.map("off_peak")) if document.has("off_peak") else None
    rules: list[Rule] = []
    for number, values in enumerate(document.maps("rules"), start=1):
        if number > RULES_MAX:
            document.problem("rules", f"holds more than {RULES_MAX}")
            break
        rule = _read_rule(values)
        if any(other.name == rule.name for other in rules):
            values.problem("name", f"{rule.name!r} comes twice")
        for model in rule.models:
            if known_models is not None and model not in known_models:
                values.problem("models", _unknown(model, known_models, "no such model is installed"))
        for name in rule.destinations:
            if known_destinations is not None and name not in known_destinations:
                values.problem("destinations", _unknown(name, known_destinations, _NO_DESTINATION))
        rules.append(rule)
    document.finish()
    zone = ZoneInfo(time_zone)
    return (
        RuleSet(tuple(rules), zone, version=version)
        if off_peak is None
        else RuleSet(tuple(rules), zone, off_peak, version)
    )


def _read_rule(values: YamlMap) -> Rule:
    name = values.text("name")
    if name and _NAME.fullmatch(name) is None:
        values.problem("name", "needs at most 80 characters on one line")
    rule = Rule(
        name=name,
        enabled=_truth(values, "enabled", default=True),
        when=_expression(values, "when", of_series=False),
        series=_expression(values, "series", of_series=True),
        calling_ae_titles=_ae_titles(values, "calling_ae_titles"),
        called_ae_titles=_ae_titles(values, "called_ae_titles"),
        time_window=_window(values.map("time_window")) if values.has("time_window") else None,
        models=_references(values, "models", is_required=True),
        destinations=_references(values, "destinations"),
        priority=Priority(values.one_of("priority", tuple(Priority), Priority.NORMAL)),
        emergency_when=_expression(values, "emergency_when", of_series=False),
        shadow=_truth(values, "shadow", default=False),
        required_series=_expressions(values, "required_series"),
        start=Start(values.one_of("start", tuple(Start), Start.STUDY)),
        quiet_time_s=_optional(values, "quiet_time_s", lambda name: values.integer(name, 1, 3600)),
        late_policy=_optional(values, "late_policy", lambda name: values.one_of(name, LATE_POLICIES)),
        force_after_s=_optional(values, "force_after_s", lambda name: values.integer(name, 1, 86_400)),
        force_policy=_optional(values, "force_policy", lambda name: values.one_of(name, FORCE_POLICIES)),
        stop=_truth(values, "stop", default=False),
        priors=_priors(values.map("priors")) if values.has("priors") else None,
    )
    values.finish()
    return rule


def _priors(values: YamlMap) -> PriorsRule:
    """regions: words beside the usual ones, by region; a region of the same name gets these in their place."""
    usual = PriorsRule()
    regions = dict(usual.regions)
    if values.has("regions"):
        for region in values.maps("regions"):
            regions[region.text("name")] = tuple(word.lower() for word in _texts(region, "words") if word)
            region.finish()
    rule = PriorsRule(
        newest=values.integer("newest", 1, 20, usual.newest),
        within_months=values.integer("within_months", 1, 600, usual.within_months),
        images_max=values.integer("images_max", 1, 100_000, usual.images_max),
        same_modality=_truth(values, "same_modality", default=True),
        same_region=_truth(values, "same_region", default=True),
        regions=regions,
    )
    values.finish()
    return rule


def _unknown(name: str, known: Collection[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"{name[:40]!r}: " + (f"did you mean {near[0]}?" if near else otherwise)


def _optional(values: YamlMap, name: str, read: Callable[[str], _E]) -> _E | None:
    return read(name) if values.has(name) else None


def _truth(values: YamlMap, name: str, *, default: bool) -> bool:
    return values.one_of(name, ("true", "false"), str(default).lower()) == "true"


def _expression(values: YamlMap, name: str, *, of_series: bool) -> Expression | None:
    if not values.has(name):
        return None
    text = values.text(name)
    return _parse(values, name, text, of_series=of_series) if text else None


def _expressions(values: YamlMap, name: str) -> tuple[Expression, ...]:
    parsed = [_parse(values, name, text, of_series=True) for text in _texts(values, name)]
    return tuple(expression for expression in parsed if expression is not None)


def _parse(values: YamlMap, name: str, text: str, *, of_series: bool) -> Expression | None:
    from pipeline.rule_language import (
        parse_expression,  # makes the parser: 0.3 s that only who has rules pays
    )

    try:
        return parse_expression(text, of_series=of_series)
    except ExpressionRefused as error:
        values.problem(name, str(error))
        return None


def _texts(values: YamlMap, name: str) -> tuple[str, ...]:
    texts = values.texts(name)
    if len(texts) > LIST_LENGTH_MAX:
        values.problem(name, f"holds more than {LIST_LENGTH_MAX}")
    return texts[:LIST_LENGTH_MAX]


def _references(values: YamlMap, name: str, *, is_required: bool = False) -> tuple[str, ...]:
    if is_required and not values.has(name):
        values.problem(name, "is missing")
    texts = _texts(values, name)
    for text in texts:
        if _REFERENCE.fullmatch(text) is None:
            values.problem(name, f"{text[:40]!r} is not a name")
    if len(set(texts)) < len(texts):
        values.problem(name, "names one thing twice")
    return texts


def _ae_titles(values: YamlMap, name: str) -> tuple[str, ...]:
    titles = []
    for text in _texts(values, name):
        try:
            titles.append(str(AETitle(text)))
        except InvalidAETitle:
            values.problem(name, f"{text[:40]!r} is not an AE title")
    return tuple(titles)


def _window(values: YamlMap) -> TimeWindow:
    begins, ends = _clock(values, "from"), _clock(values, "to")
    if begins == ends:
        values.problem("to", "must differ from `from`")
    days = _texts(values, "days")
    for day in days:
        if day not in DAYS:
            values.problem("days", f"{day[:20]!r} is none of {', '.join(DAYS)}")
    values.finish()
    chosen = frozenset(DAYS.index(day) for day in days if day in DAYS)
    return TimeWindow(begins, ends, chosen or ALL_DAYS)


def _clock(values: YamlMap, name: str) -> time:
    text = values.text(name)
    if _CLOCK.fullmatch(text) is None:
        if text:
            values.problem(name, 'needs a time in quotes like "08:30"')
        return time(0)
    return time.fromisoformat(text)
