"""What the routing rules require before a study counts as complete, and what late images do then."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dicom_gateway.arrival_evidence import ForcePolicy
from dicom_gateway.inspect import InspectError, inspect_study
from pipeline import store
from pipeline.completion_evidence import ArrivalState, Row
from pipeline.database import Connection
from pipeline.route_rules import applying_rules
from pipeline.rule_errors import EvaluationTooLong
from pipeline.rule_keywords import Arrival
from pipeline.rules import RuleSet
from pipeline.services import Services


@dataclass(frozen=True)
class Requirements:
    """missing: expressions that no series fulfils. force_*: of the first rule that has a missing series, or None.

    late_policy: of the first rule that has one, or None.
    """

    missing: tuple[str, ...] = ()
    force_after_s: int | None = None
    force_policy: str | None = None
    late_policy: str | None = None

    def applied_to(self, state: ArrivalState) -> ArrivalState:
        policy = state.policy
        if self.force_after_s is not None:
            policy = replace(policy, force_after_s=float(self.force_after_s))
        if self.force_policy is not None:
            policy = replace(policy, force_policy=ForcePolicy(self.force_policy))
        return replace(state, policy=policy, evidence=replace(state.evidence, required_missing=self.missing))


@dataclass(frozen=True)
class Question:
    """Rules that require series or say what late images do, and the study that they are asked about."""

    rules: RuleSet
    arrival: Arrival
    instances: tuple[Row, ...]


def question_of(conn: Connection, row: Row, rules: RuleSet | None) -> Question | None:
    """None where the rules in force say nothing of this."""
    if rules is None or not any(rule.required_series or rule.late_policy for rule in rules.rules):
        return None
    called = store.get_tenant(conn, row["tenant"])["called_ae_title"]
    instances = tuple(store.instances(conn, row["tenant"], row["study_id"]))
    return Question(rules, Arrival(row["ae_title"], called, row["now"]), instances)


def answer(services: Services, tenant: str, question: Question) -> Requirements:
    """Read the headers of what is here. Headers that cannot be read, or rules too slow, are told by the route step."""
    files = [(one["location"], services.folders.instances / one["location"]) for one in question.instances]
    try:
        with services.folders.instances_at_hand(tenant, question.instances):
            study = inspect_study(files).study
        found = applying_rules(question.rules, study, question.arrival)
    except (InspectError, EvaluationTooLong):
        return Requirements()
    late_policy = next((rule.late_policy for rule, _ in found if rule.late_policy is not None), None)
    lacking = [(rule, missing) for rule, missing in found if missing]
    if not lacking:
        return Requirements(late_policy=late_policy)
    first = lacking[0][0]
    every = dict.fromkeys(text for _, missing in lacking for text in missing)
    return Requirements(tuple(every), first.force_after_s, first.force_policy, late_policy)
