"""Route step: read the headers of what was received and choose the series that each model reads.

By the tenant's rules where it has some in force, else by its list of models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg.types.json import Jsonb

from dicom_gateway.inspect import InspectedStudy, InspectError, inspect_study
from pipeline import rule_store, store
from pipeline.database import Connection
from pipeline.errors import StudyFailed, StudyRefused
from pipeline.model_pause import MODEL_PAUSED, paused_products
from pipeline.models_for_study import ModelsForStudy, in_force, is_trial, trial_of
from pipeline.pauses import keep_pause, longest_pause_of
from pipeline.prior_rule import PriorsRule
from pipeline.refused_choices import refuse_choices
from pipeline.retention import require_images
from pipeline.route import Route, choose
from pipeline.route_rules import Routing, early_rules, route_by_rules
from pipeline.rule_errors import EvaluationTooLong
from pipeline.rule_keywords import Arrival
from pipeline.rules import RuleSet
from pipeline.services import Outcome, Services
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.study_facts import save_facts, summarize
from pipeline.study_file import save_study
from pipeline.urgency import Priority
from study.study import Series, Study


@dataclass(frozen=True)
class _Plan:
    """What is to be done with a study. refused: (product, code, sentence) of each model that found no input.

    reason: why nothing is done, unless it is the first of `refused`. detail: for the timeline, no header values.
    paused: the choices whose products are paused, out of `choices` and among `refused`.
    """

    choices: list[dict[str, Any]]
    refused: list[tuple[str, str, str]]
    priority: Priority = Priority.NORMAL
    rule_set: RuleSet | None = None
    reason: tuple[str, str] | None = None
    detail: dict[str, Any] | None = None
    priors: PriorsRule | None = None
    paused: list[dict[str, Any]] = field(default_factory=list)

    @property
    def run_window(self) -> dict[str, Any] | None:
        if self.rule_set is None or self.priority is not Priority.OFF_PEAK:
            return None
        return self.rule_set.off_peak.as_json() | {"time_zone": self.rule_set.time_zone.key}


def route_study(services: Services, record: StudyRecord) -> Outcome:
    """Inspect the study and route it. A study that no rule takes or no model reads is refused with the reason."""
    with services.database.transaction(record.tenant) as conn:
        rows = _readable(record, store.instances(conn, record.tenant, record.id))
        tenant = store.get_tenant(conn, record.tenant)
        rule_set = rule_store.active_rules(conn, record.tenant, services.time_zone)
        earlier = store.results(conn, record.tenant, record.id)
        decided = in_force(conn, record.tenant, record.id, record.ae_title)
        paused = paused_products(conn, record.tenant, decided.site)
    if not rows:
        raise StudyRefused(
            "INSTANCES_IN_CONFLICT",
            "Every instance that came carries a SOP Instance UID that was received before in another study.",
        )
    require_images(services, record, rows)
    with services.folders.instances_at_hand(record.tenant, rows):
        inspected = _inspect(services, rows)
    study = inspected.study
    save_study(services.folders.work_of(record), study)
    arrival = Arrival(record.ae_title, tenant["called_ae_title"], record.updated_at)
    models = ModelsForStudy(services.get_model, decided)
    if record.started_with is None:
        plan = _plan(models, study, arrival, tenant["models"], rule_set)
    else:
        plan = _early_plan(models, study, arrival, rule_set)
    plan = _without_paused(plan, paused)
    plan = replace(plan, choices=mark_standing(digested(plan.choices, study, rows), earlier))
    header, facts = header_of(study), summarize(study, arrival)
    pause_s = longest_pause_of(study, rows)

    def save(conn: Connection, record: StudyRecord) -> None:
        store.set_header(conn, record, header)
        _save_plan(conn, record, plan)
        if plan.choices and plan.paused:
            reasons = {product: (code, text) for product, code, text in plan.refused if code == MODEL_PAUSED}
            refuse_choices(conn, replace(record, route=plan.choices + plan.paused), reasons)
        if plan.choices and plan.priors is not None:
            services.defer_priors(conn, record.tenant, record.id, plan.priors.as_json())
        save_facts(conn, record, facts)
        if record.started_with is None:
            keep_pause(conn, record, pause_s)
        if not plan.choices:  # of an early start: nothing was started with
            conn.execute(
                "UPDATE study SET started_with = NULL WHERE tenant = %s AND id = %s",
                (record.tenant, record.id),
            )

    detail = {
        "explanation": [choice["explanation"] for choice in plan.choices],
        "unreadable": len(inspected.unreadable),
        "notes": list(inspected.notes),
        **(plan.detail or {}),
    }
    if not plan.choices and record.started_with is not None:
        # No rule wants it any more: it waits for the rest like any other.
        return Outcome(save, detail, gives=StudyStatus.RECEIVING)
    if not plan.choices:
        reason = plan.reason or plan.refused[0][1:]
        products = tuple(product for product, _, _ in plan.refused)
        return Outcome(save, detail, gives=StudyStatus.REJECTED, reason=reason, refused=products)
    if all("standing" in choice for choice in plan.choices):
        is_shadow = all(choice.get("shadow") for choice in plan.choices)
        gives = StudyStatus.SHADOWED if is_shadow else StudyStatus.DELIVERED
        return Outcome(save, detail, gives=gives, unchanged=True)
    return Outcome(save, detail)


def _plan(
    models: ModelsForStudy, study: Study, arrival: Arrival, names: list[str], rule_set: RuleSet | None
) -> _Plan:
    if rule_set is not None:
        plan = _plan_by_rules(_route(models, rule_set, study, arrival), rule_set)
        return replace(plan, choices=models.pin(plan.choices, study))
    choices: list[dict[str, Any]] = []
    refused = []
    for name in names:
        chosen = choose(study, models.manifest(name))
        if isinstance(chosen, Route):
            choices.append(chosen.as_json())
        else:
            refused.append((name, chosen.code, chosen.text))
    return _Plan(models.pin(choices, study), refused)


def _early_plan(models: ModelsForStudy, study: Study, arrival: Arrival, rule_set: RuleSet | None) -> _Plan:
    """What rules with `start: series` give on the series that are whole; the rest is refused when all is here."""
    if rule_set is None:
        return _Plan([], [])
    routing = _route(models, rule_set, study, arrival)
    early = early_rules(rule_set, study, arrival)
    choices = [choice.as_json() for choice in routing.choices if choice.rule.name in early]
    return replace(_plan_by_rules(routing, rule_set), choices=models.pin(choices, study), refused=[])


def early_choices(
    models: ModelsForStudy, rule_set: RuleSet, study: Study, arrival: Arrival
) -> list[dict[str, Any]]:
    """What a start with these series would run. Raises `EvaluationTooLong` and `StudyFailed`."""
    return _early_plan(models, study, arrival, rule_set).choices


def _route(models: ModelsForStudy, rule_set: RuleSet, study: Study, arrival: Arrival) -> Routing:
    try:
        return route_by_rules(rule_set, study, arrival, models.manifest)
    except EvaluationTooLong as error:
        raise StudyFailed("RULES_TOO_SLOW", f"The routing rules were given up: {error}.") from error


def _plan_by_rules(routing: Routing, rule_set: RuleSet) -> _Plan:
    reason = None
    if not routing.matched:
        text = f"None of {len(rule_set.rules)} routing rules (version {rule_set.version}) matches this study."
        reason = ("NO_RULE_MATCHED", text)
    traces = [
        {"rule": trace.rule.name, "obstacle": trace.obstacle and trace.obstacle.what}
        for trace in routing.traces
    ]
    return _Plan(
        [choice.as_json() for choice in routing.choices],
        [(product, unfit.code, unfit.text) for product, unfit in routing.misses],
        routing.priority,
        rule_set,
        reason,
        {"rule_set_version": rule_set.version, "rules": traces},
        next((rule.priors for rule in routing.matched if rule.priors is not None), None),
    )


def _without_paused(plan: _Plan, sentences: dict[str, str]) -> _Plan:
    """The plan without the products that are paused; where nothing else is left, the study is refused for it."""
    paused = [choice for choice in plan.choices if choice["product"] in sentences]
    if not paused:
        return plan
    refused = [(choice["product"], MODEL_PAUSED, sentences[choice["product"]]) for choice in paused]
    # Nor does another version of what is paused run in shadow beside nothing.
    left = [choice for choice in plan.choices if trial_of(choice) not in sentences and choice not in paused]
    return replace(plan, choices=left, refused=refused + plan.refused, paused=paused)


def _save_plan(conn: Connection, record: StudyRecord, plan: _Plan) -> None:
    store.set_route(conn, record, plan.choices)
    conn.execute(
        "UPDATE study SET rule_set_version = %s, priority = %s, run_window = %s WHERE tenant = %s AND id = %s",
        (
            plan.rule_set and plan.rule_set.version,
            plan.priority.value,
            Jsonb(plan.run_window) if plan.run_window else None,
            record.tenant,
            record.id,
        ),
    )


def _readable(record: StudyRecord, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What this revision may read: all that is here, or the series that it began with."""
    if record.started_with is None:
        return rows
    return [row for row in rows if row["series_instance_uid"] in record.started_with]


def _inspect(services: Services, rows: list[dict[str, Any]]) -> InspectedStudy:
    files = [(row["location"], services.folders.instances / row["location"]) for row in rows]
    try:
        return inspect_study(files)
    except InspectError as error:
        raise StudyRefused("HEADERS_UNREADABLE", f"The instances cannot be read: {error}.") from error


def input_digest(series: Series, digest_of: dict[str, str], sop_instance_uid: str = "") -> str:
    """Digest of what a model reads, the series or one image of it: UIDs and contents, in a stable order."""
    lines = sorted(
        f"{one.sop_instance_uid} {digest_of[one.location]}"
        for one in series.instances
        if sop_instance_uid in ("", one.sop_instance_uid)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def header_of(study: Study) -> dict[str, str]:
    """What the work list and the report show of a study."""
    return {
        "patient_id": study.patient.patient_id,
        "patient_name": study.patient.name,
        "patient_birth_date": study.patient.birth_date,
        "patient_age": study.patient.age,
        "patient_sex": study.patient.sex,
        "accession_number": study.accession_number,
        "study_date": study.study_date,
        "study_time": study.study_time,
        "description": study.description,
    }


def digested(
    choices: list[dict[str, Any]], study: Study, rows: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The choices, each with the digest of what its model reads."""
    digests = {row["location"]: row["blake3"] for row in rows}
    for choice in choices:
        series = study.series_of(choice["series_instance_uid"])
        choice["input_digest"] = input_digest(series, digests, choice.get("sop_instance_uid", ""))
    return choices


def mark_standing(choices: list[dict[str, Any]], earlier: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mark the choices whose result of an earlier revision stands: same input, model, threshold, delivered or shadow.

    They are not run again. Where only shadow models are new, all run again, for a study ends as shadowed or delivered;
    a version that merely runs beside the one that stands is not worth that and is left out.
    """
    known = {
        (*_identity(row), row.get("operating_threshold"), row["is_shadow"]): row["revision"]
        for row in earlier
        if row["is_delivered"] or row["is_shadow"]
    }
    found = [(one, _standing(one, known)) for one in choices]
    new = [one for one, revision in found if revision is None]
    if new and all(is_trial(one) for one in new):
        found = [(one, revision) for one, revision in found if revision is not None]
        new = []
    is_mixed = new and all(one.get("shadow") for one in new) and not all(one.get("shadow") for one in choices)
    for choice, revision in found:
        if revision is not None and not is_mixed:
            choice["standing"] = revision
    return [one for one, _ in found]


def _identity(of: dict[str, Any]) -> tuple[Any, ...]:
    return of["product"], of["model_version"], of["input_digest"]


def _standing(choice: dict[str, Any], known: dict[tuple[Any, ...], int]) -> int | None:
    """The revision whose result is this one; of older results nobody noted the threshold, it was the manifest's."""
    is_shadow = bool(choice.get("shadow"))
    thresholds = (choice.get("threshold"), None)
    return next(
        (known[key] for t in thresholds if (key := (*_identity(choice), t, is_shadow)) in known), None
    )
