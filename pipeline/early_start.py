"""Start with a series that is whole while others still arrive, where a routing rule says so (`start: series`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dicom_gateway.assemble import Decision, complete_series, series_values
from dicom_gateway.inspect import InspectError, inspect_study
from models.errors import ModelError
from pipeline import store
from pipeline.completion_evidence import ArrivalState, Row
from pipeline.database import Connection
from pipeline.errors import StudyFailed
from pipeline.models_for_study import InForce, ModelsForStudy, in_force
from pipeline.route_study import digested, early_choices, mark_standing
from pipeline.rule_errors import EvaluationTooLong
from pipeline.rule_keywords import Arrival
from pipeline.rules import RuleSet, Start
from pipeline.services import Services
from pipeline.status import TERMINAL, StudyStatus
from pipeline.store import StudyRecord

_MEMORY = "early"
_SOON_S = 0.2


@dataclass(frozen=True)
class EarlyQuestion:
    """The series that are whole, and the results that the study has already. key: what is remembered as asked."""

    rules: RuleSet
    arrival: Arrival
    decided: InForce
    series: tuple[str, ...]
    instances: tuple[Row, ...]
    results: tuple[Row, ...]
    key: Row


@dataclass(frozen=True)
class EarlyAnswer:
    """series: those to start with; empty when no model would run on what is whole."""

    series: tuple[str, ...]
    key: Row

    def is_remembered(self, state: ArrivalState) -> bool:
        """False when more has come since it was asked."""
        return bool(state.memory.get(_MEMORY) == self.key)


def has_early_rules(rules: RuleSet | None) -> bool:
    return rules is not None and any(rule.start is Start.SERIES for rule in rules.rules)


def may_start(study: StudyRecord) -> bool:
    """Before its first revision, or after one that has begun early and is over."""
    is_over = study.started_with is not None and study.status in TERMINAL
    return study.purpose != "prior" and (study.status is StudyStatus.RECEIVING or is_over)


def unread_series(state: ArrivalState) -> frozenset[str]:
    """Series that have fallen silent and whose headers say whether a slice is missing."""
    return frozenset(
        one.series_instance_uid
        for one in state.evidence.series
        if one.here and not one.missing and not one.is_read and one.silence_s >= state.policy.quiet.seconds
    )


def question_of(conn: Connection, state: ArrivalState, rules: RuleSet | None) -> EarlyQuestion | None:
    """None where no rule starts early, nothing is whole, or this was asked before."""
    if rules is None or not has_early_rules(rules):
        return None
    key = _key(state, rules)
    row = state.row
    if not key["series"] or state.memory.get(_MEMORY) == key:
        return None
    if not may_start(store.get_study(conn, row["tenant"], row["study_id"])):
        return None
    instances = store.instances(conn, row["tenant"], row["study_id"])
    called = store.get_tenant(conn, row["tenant"])["called_ae_title"]
    return EarlyQuestion(
        rules,
        Arrival(row["ae_title"], called, row["now"]),
        in_force(conn, row["tenant"], row["study_id"], row["ae_title"]),
        tuple(key["series"]),
        tuple(one for one in instances if one["series_instance_uid"] in key["series"]),
        tuple(store.results(conn, row["tenant"], row["study_id"])),
        key,
    )


def answer(services: Services, tenant: str, question: EarlyQuestion) -> EarlyAnswer:
    """Whether a rule that starts early has a model that reads what is whole and has not read it yet."""
    files = [(one["location"], services.folders.instances / one["location"]) for one in question.instances]
    try:
        with services.folders.instances_at_hand(tenant, question.instances):
            study = inspect_study(files).study
        models = ModelsForStudy(services.get_model, question.decided)
        choices = early_choices(models, question.rules, study, question.arrival)
    except (InspectError, EvaluationTooLong, ModelError, StudyFailed):
        return EarlyAnswer((), question.key)  # the whole study is told so by the route step
    choices = mark_standing(digested(choices, study, question.instances), question.results)
    has_new = any("standing" not in choice for choice in choices)
    return EarlyAnswer(question.series if has_new else (), question.key)


def remembered(state: ArrivalState, heard: EarlyAnswer, rules: RuleSet | None) -> ArrivalState:
    """The state that remembers what was asked, unless more has come since: then it is asked again."""
    if rules is None or _key(state, rules) != heard.key:
        return state
    return replace(state, memory=state.memory | {_MEMORY: heard.key})


def hurried(decision: Decision, state: ArrivalState) -> Decision:
    """The next look comes when a series will have fallen silent, although others go on."""
    quiet_s = state.policy.quiet.seconds
    due_s = [quiet_s - one.silence_s for one in state.evidence.series if one.here and one.silence_s < quiet_s]
    if decision.look_again_s is None or not due_s:
        return decision
    return replace(decision, look_again_s=max(min(decision.look_again_s, *due_s), _SOON_S))


def started(state: ArrivalState, uids: list[str] | tuple[str, ...]) -> Row:
    """What was started with, and what still arrives, as values of a sentence."""
    begun = [one for one in state.evidence.series if one.here]
    first = [one for one in begun if one.series_instance_uid in uids]
    values: Row = {"series_count": len(first), "images": sum(one.here for one in first)}
    others = len(begun) - len(first)
    return (dict(series_values(first[0])) if len(first) == 1 else {}) | values | {"others": others}


def _key(state: ArrivalState, rules: RuleSet) -> Row:
    whole = complete_series(state.evidence, state.policy)
    return {"version": rules.version, "series": {one.series_instance_uid: one.here for one in whole}}
