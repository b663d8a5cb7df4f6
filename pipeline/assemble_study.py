"""Assemble: decide whether what arrives is a complete study, store why, and start its path or look again later."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from billing.metering import meter
from dicom_gateway.assemble import Decision, Reason, Verdict, decide
from dicom_gateway.inspect import InspectError, inspect_study
from dicom_gateway.series_gaps import missing_slices
from pipeline import early_start, prior_studies, required_series, rule_quiet_time, rule_store, store
from pipeline.arrival_closed import note_transfer, tell
from pipeline.begin_anew import begin_anew, may_begin_anew
from pipeline.completion_evidence import ArrivalState, gather, lock_open_arrival
from pipeline.completion_text import sentence
from pipeline.database import Connection
from pipeline.finish import record_outcome, usage_event
from pipeline.pauses import Habits, record_habits
from pipeline.rules import RuleSet
from pipeline.services import Services
from pipeline.status import TERMINAL, StudyStatus

# A study that is still on its way when more instances have come: look again after this time.
_BUSY_DELAY_S = 2.0
_SOON_S = 0.2
_ASK_AGAIN_S = 60.0
# Series whose evidence is stored with a decision; more of them are a peer's mistake or worse.
_SERIES_KEPT = 200

Row = dict[str, Any]
DeferAgain = Callable[[Connection, float], None]


def assemble_study(services: Services, tenant: str, arrival_id: int, *, defer_again: DeferAgain) -> None:
    """Close the arrival if it is complete, else look again later. The decision and what follows commit together."""
    headers: Row | None = None
    quiet: Row | None = None
    required: required_series.Requirements | None = None
    early: early_start.EarlyAnswer | None = None
    while True:
        with services.database.transaction(tenant) as conn:
            row = lock_open_arrival(conn, tenant, arrival_id)
            if row is None:
                return  # closed already by an earlier run of this job
            rules = rule_store.active_rules(conn, tenant, services.time_zone)
            state = rule_quiet_time.applied(gather(conn, row, headers), quiet, rules)
            if required is not None:
                state = required.applied_to(state)
            if early is not None:
                state = early_start.remembered(state, early, rules)
            decision = decide(state.evidence, state.policy)
            quiet_asked = rule_quiet_time.question_of(conn, state, rules) if quiet is None else None
            wanted = _headers_wanted(conn, state, decision, rules) if headers is None else []
            required_asked = early_asked = None
            if decision.verdict is Verdict.COMPLETE and required is None:
                required_asked = required_series.question_of(conn, row, rules)
            elif decision.verdict is Verdict.WAIT and early is None:
                early_asked = early_start.question_of(conn, state, rules)
            if not (quiet_asked or wanted or required_asked or early_asked):
                if early_start.has_early_rules(rules) and decision.verdict is Verdict.WAIT:
                    decision = early_start.hurried(decision, state)
                late_policy = required.late_policy if required else None
                series = early.series if early and early.is_remembered(state) else ()
                _act(services, conn, state, decision, defer_again, late_policy, series)
                if closed_as := note_transfer(conn, tenant, arrival_id):
                    tell(services, state, closed_as)
                return
        # Outside the transaction, because instances wait for it.
        if quiet_asked:
            quiet = rule_quiet_time.answer(services, tenant, quiet_asked)
        elif wanted:
            headers = read_headers(services, tenant, wanted)
        elif required_asked:
            required = required_series.answer(services, tenant, required_asked)
        elif early_asked:
            early = early_start.answer(services, tenant, early_asked)


def _headers_wanted(
    conn: Connection, state: ArrivalState, decision: Decision, rules: RuleSet | None
) -> list[Row]:
    """The instances whose headers decide, or name the series that is waited for."""
    unnamed = decision.reason.code == "missing_of_series" and decision.reason.values["series"] == ""
    silent = frozenset[str]()
    if decision.verdict is Verdict.WAIT and early_start.has_early_rules(rules):
        silent = early_start.unread_series(state)
    if decision.verdict is not Verdict.READ_HEADERS and not unnamed and not silent:
        return []
    rows = store.instances(conn, state.row["tenant"], state.row["study_id"])
    if decision.verdict is Verdict.READ_HEADERS:
        return rows
    if silent:
        return [row for row in rows if row["series_instance_uid"] in silent]
    seen = state.memory.get("headers", {})
    first = {row["series_instance_uid"]: row for row in reversed(rows)}
    return [row for uid, row in first.items() if uid not in seen]


def read_headers(services: Services, tenant: str, rows: list[Row]) -> Row:
    """By Series Instance UID: how many headers were read, the Series Number, the slices missing among them.

    Headers that cannot be read say nothing; the route step refuses them, with the reason.
    """
    facts: Row = {}
    for row in rows:
        fact = facts.setdefault(row["series_instance_uid"], {"here": 0, "number": None, "missing": 0})
        fact["here"] += 1
    files = [(row["location"], services.folders.instances / row["location"]) for row in rows]
    with contextlib.suppress(InspectError), services.folders.instances_at_hand(tenant, rows):
        for series in inspect_study(files).study.series:
            if fact := facts.get(series.series_instance_uid):
                fact |= {"number": series.series_number, "missing": missing_slices(series)}
    return facts


def _act(
    services: Services,
    conn: Connection,
    state: ArrivalState,
    decision: Decision,
    defer_again: DeferAgain,
    late_policy: str | None,
    early: tuple[str, ...],
) -> None:
    """late_policy: of a rule; None = the tenant's. early: series to start with while others still arrive."""
    row = state.row
    if state.should_ask:
        services.ask_counts(conn, row["tenant"], row["study_id"])
    study = store.lock_study(conn, row["tenant"], row["study_id"])
    if decision.verdict is Verdict.READ_HEADERS:  # more came while they were read
        decision = replace(decision, verdict=Verdict.WAIT, look_again_s=_SOON_S)
    is_fetched = study.purpose == "prior" and prior_studies.is_retrieved(
        conn, study, row["first_at"], row["last_at"]
    )
    if study.purpose == "prior" and not is_fetched:
        study = prior_studies.promote(conn, study, row["ae_title"])
    if is_fetched and decision.verdict is not Verdict.WAIT:
        _close(conn, state, decision, "assembled")
        prior_studies.keep(conn, study, row["new_count"])
    elif early and decision.verdict is Verdict.WAIT and early_start.may_start(study):
        _start_early(services, conn, state, study, early)
        _look_again(conn, replace(state, row=row | {"started_with": early}), decision, defer_again)
    elif decision.verdict in (Verdict.WAIT, Verdict.ASK):
        _look_again(conn, state, decision, defer_again)
    elif row["new_count"] == 0 and study.status is not StudyStatus.RECEIVING and study.started_with is None:
        # A study without any instance of its own has only conflicts: the route step refuses it, visibly.
        reason = _close(conn, state, decision, "seen_again")
        store.note(conn, study, "study_seen_again", detail={"arrival": row["id"], "reason": reason})
        _record_seen_again(conn, study, row["id"], row["now"])
        if decision.verdict is Verdict.COMPLETE and may_begin_anew(study):
            begin_anew(conn, study, services.defer_step, reason=reason, instances=0)
    elif study.status not in (StudyStatus.RECEIVING, StudyStatus.HELD) and study.status not in TERMINAL:
        # Late instances wait for the end of the revision in progress.
        _look_again(conn, state, Decision(Verdict.WAIT, Reason("busy"), _BUSY_DELAY_S), defer_again)
    else:
        _end(services, conn, state, decision, study, defer_again, late_policy)


def _start_early(
    services: Services,
    conn: Connection,
    state: ArrivalState,
    study: store.StudyRecord,
    series: tuple[str, ...],
) -> None:
    """A revision that reads these series only begins; the arrival stays open for the others."""
    values = early_start.started(state, series)
    reason = sentence({"code": "series" if "series" in values else "several_series", "values": values})
    conn.execute(
        "UPDATE study SET completion = %s, started_with = %s WHERE tenant = %s AND id = %s",
        (reason, list(series), study.tenant, study.id),
    )
    revision = study.revision + (study.status in TERMINAL)
    detail = {"reason": reason, "instances": values["images"]}
    services.defer_step(
        conn, store.advance(conn, study, StudyStatus.ASSEMBLED, detail=detail, revision=revision)
    )


def _end(
    services: Services,
    conn: Connection,
    state: ArrivalState,
    decision: Decision,
    study: store.StudyRecord,
    defer_again: DeferAgain,
    late_policy: str | None,
) -> None:
    """The arrival is over: its study goes on its path, or nothing comes of it and the reason is shown."""
    is_late = study.status in TERMINAL
    if decision.verdict is Verdict.DISCARD:
        reason = _close(conn, state, decision, "discarded")
        if is_late:
            store.note(conn, study, "late_images_left_aside", detail={"reason": reason})
        else:
            after = store.advance(conn, study, StudyStatus.REJECTED, reason=("DISCARDED", _capital(reason)))
            record_outcome(conn, after, unchanged=False)
        return
    late = Reason("ask_late", {"images": state.row["new_count"]})
    if not is_late or study.started_with is not None:  # the rest of a study that began early is not late
        late_policy = "run"
    late_policy = late_policy or store.get_tenant(conn, study.tenant)["late_policy"]
    if late_policy == "ask" and state.evidence.order is None:
        _look_again(conn, state, Decision(Verdict.ASK, late, _ASK_AGAIN_S), defer_again)
    elif late_policy == "ignore" and state.evidence.order is None:
        ignored = Decision(Verdict.DISCARD, Reason("late_ignored", late.values))
        reason = _close(conn, state, ignored, "ignored")
        store.note(conn, study, "late_images_left_aside", detail={"reason": reason})
    else:
        reason = _close(conn, state, decision, "assembled")
        conn.execute(
            "UPDATE study SET completion = %s WHERE tenant = %s AND id = %s", (reason, study.tenant, study.id)
        )
        _record_habits(conn, study, state)
        detail = {"reason": reason, "instances": state.row["new_count"]}
        revision = study.revision + is_late
        after = store.advance(conn, study, StudyStatus.ASSEMBLED, detail=detail, revision=revision)
        services.defer_step(conn, after)


def _record_habits(conn: Connection, study: store.StudyRecord, state: ArrivalState) -> None:
    """What the next studies of this sender are judged by."""
    counted = any(one.counted is not None for one in state.evidence.series)
    grew = state.evidence.archive_grew if counted else None
    listed_less = not_sent = None
    if state.evidence.steps_ended:
        listed_less = any(one.unlisted for one in state.evidence.series)
        not_sent = sum(one.is_absent and not one.counted for one in state.evidence.series)
    habits = Habits(archive_grew=grew, steps_listed_less=listed_less, series_not_sent=not_sent)
    record_habits(conn, study, state.row, state.modality, habits)


def _look_again(conn: Connection, state: ArrivalState, decision: Decision, defer_again: DeferAgain) -> None:
    """Store what is waited for; queue the next look unless one that comes no later is queued already."""
    row, delay_s = state.row, decision.look_again_s or _SOON_S
    at = row["now"] + timedelta(seconds=delay_s)
    is_due = row["look_at"] is None or row["look_at"] <= row["now"] or at < row["look_at"]
    _store(conn, state, decision, at if is_due else row["look_at"])
    if is_due:
        defer_again(conn, delay_s)


def _close(conn: Connection, state: ArrivalState, decision: Decision, outcome: str) -> str:
    """Returns the reason as a sentence."""
    reason = sentence(_store(conn, state, decision, None))
    conn.execute(
        """UPDATE arrival SET closed_at = now(), outcome = %s, completion = %s, memory = '{}'
           WHERE tenant = %s AND id = %s""",
        (outcome, reason, state.row["tenant"], state.row["id"]),
    )
    conn.execute(
        "UPDATE study SET started_with = NULL WHERE tenant = %s AND id = %s AND started_with IS NOT NULL",
        (state.row["tenant"], state.row["study_id"]),
    )
    return reason


def _store(conn: Connection, state: ArrivalState, decision: Decision, look_at: datetime | None) -> Row:
    """The decision with the evidence that made it."""
    evidence = asdict(state.evidence)
    evidence["series"] = evidence["series"][:_SERIES_KEPT]
    stored = {
        "verdict": decision.verdict,
        "code": decision.reason.code,
        "values": decision.reason.values,
        "association": state.evidence.association,
        "evidence": evidence,
    }
    is_waiting = decision.verdict in (Verdict.WAIT, Verdict.ASK) and decision.reason.code != "busy"
    if state.row["started_with"] is not None and is_waiting:
        stored["started"] = early_start.started(state, state.row["started_with"])
    conn.execute(
        "UPDATE arrival SET decision = %s, memory = %s, look_at = %s WHERE tenant = %s AND id = %s",
        (Jsonb(stored), Jsonb(state.memory), look_at, state.row["tenant"], state.row["id"]),
    )
    return stored


def _capital(sentence: str) -> str:
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _record_seen_again(conn: Connection, study: store.StudyRecord, arrival_id: int, at: datetime) -> None:
    """The same instances again: nothing runs, nothing is charged, and the books say so."""
    for product in store.delivered_products(conn, study):
        event = usage_event(conn, study, product, "seen_again", at, key=f"arrival-{arrival_id}")
        meter.record(conn, event, received_at=at)
