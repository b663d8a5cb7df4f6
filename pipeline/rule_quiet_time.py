"""The quiet time that a routing rule gives to the studies that it matches, in place of the sender's."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dicom_gateway.inspect import InspectError, inspect_study
from dicom_gateway.quiet_time import QuietTime
from pipeline import store
from pipeline.completion_evidence import ArrivalState, Row
from pipeline.database import Connection
from pipeline.route_rules import applying_rules
from pipeline.rule_errors import EvaluationTooLong
from pipeline.rule_keywords import Arrival
from pipeline.rules import RuleSet
from pipeline.services import Services

_MEMORY = "rule_quiet_time"


@dataclass(frozen=True)
class QuietQuestion:
    """Rules with a quiet time, and the first instance of each series of the study that they are asked about."""

    rules: RuleSet
    arrival: Arrival
    instances: tuple[Row, ...]


def question_of(conn: Connection, state: ArrivalState, rules: RuleSet | None) -> QuietQuestion | None:
    """None where no rule has a quiet time, or where they were asked since the latest series began."""
    if rules is None or not any(rule.quiet_time_s for rule in rules.rules):
        return None
    row = state.row
    first = {one["series_instance_uid"]: one for one in reversed(_instances(conn, row))}
    known = state.memory.get(_MEMORY, {})
    if (known.get("version"), known.get("series")) == (rules.version, len(first)):
        return None
    called = store.get_tenant(conn, row["tenant"])["called_ae_title"]
    return QuietQuestion(rules, Arrival(row["ae_title"], called, row["now"]), tuple(first.values()))


def answer(services: Services, tenant: str, question: QuietQuestion) -> Row:
    """What is remembered with the arrival. Headers that cannot be read say nothing."""
    files = [(one["location"], services.folders.instances / one["location"]) for one in question.instances]
    seconds = None
    try:
        with services.folders.instances_at_hand(tenant, question.instances):
            study = inspect_study(files).study
        found = applying_rules(question.rules, study, question.arrival)
        seconds = next((rule.quiet_time_s for rule, _ in found if rule.quiet_time_s is not None), None)
    except (InspectError, EvaluationTooLong):
        pass  # the route step says so
    return {"version": question.rules.version, "series": len(question.instances), "seconds": seconds}


def applied(state: ArrivalState, heard: Row | None, rules: RuleSet | None) -> ArrivalState:
    """heard: what `answer` has just given; else what an earlier look remembered by the rules in force counts."""
    known = heard or state.memory.get(_MEMORY)
    if known is None or rules is None or known["version"] != rules.version:
        return state
    memory = state.memory | {_MEMORY: known}
    if known["seconds"] is None:
        return replace(state, memory=memory)
    policy = replace(state.policy, quiet=QuietTime(float(known["seconds"])))
    return replace(state, memory=memory, policy=policy)


def _instances(conn: Connection, row: Row) -> list[Row]:
    return store.instances(conn, row["tenant"], row["study_id"])
