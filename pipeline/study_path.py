"""The path of a study.

receive → assemble → route → decode → infer → encode → deliver (and meter); rating and statements follow from the
usage events. Receiving is `receive.py`, called by the acceptor; assembling is `assemble_study.py`, a job that waits
for silence. Every later step is one durable job: it takes a study in one status and leaves it in the next. The step's
result, the new status and the next job commit in one transaction, so a step that is killed is simply taken again.
Delivery is a step whose work is spread over one job for each destination (`deliver_to.py`); the last of them ends it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from inference.errors import RunInterrupted
from pipeline import deliveries, retry, store
from pipeline.database import Connection
from pipeline.decode_study import decode_study
from pipeline.deliver_study import deliver_study
from pipeline.encode_study import encode_study
from pipeline.errors import StudyFailed, StudyRefused
from pipeline.finish import products_of, record_outcome
from pipeline.infer_study import infer_study
from pipeline.metered import Metered
from pipeline.progress import end_progress
from pipeline.refusal_objects import with_refusal_object
from pipeline.route_study import route_study
from pipeline.services import Outcome, Services
from pipeline.status import TERMINAL, StudyStatus
from pipeline.store import StudyRecord
from pipeline.tracing import Place, Span
from pipeline.ways_out.announce import announce_end
from storage.errors import StoreNotReady

log = logging.getLogger("radmeter.pipeline")


@dataclass(frozen=True)
class Step:
    """One durable step: `work` runs outside any transaction, its outcome is saved inside one.

    Work that gives None has put others in charge of ending the step.
    """

    name: str
    takes: StudyStatus
    gives: StudyStatus
    work: Callable[[Services, StudyRecord], Outcome | None]


@dataclass(frozen=True)
class Ended:
    """A study after a step. metered: what billing decided of its usage events. turnaround_s: see `store`."""

    study: StudyRecord
    metered: tuple[Metered, ...] = ()
    turnaround_s: float | None = None


PATH = (
    Step("route", StudyStatus.ASSEMBLED, StudyStatus.ROUTED, route_study),
    Step("decode", StudyStatus.ROUTED, StudyStatus.DECODED, decode_study),
    Step("infer", StudyStatus.DECODED, StudyStatus.INFERRED, infer_study),
    Step("encode", StudyStatus.INFERRED, StudyStatus.ENCODED, encode_study),
    Step("deliver", StudyStatus.ENCODED, StudyStatus.DELIVERED, deliver_study),
)
STEP_AFTER = {step.takes: step for step in PATH}
# How soon a step is taken again that the object store could not serve.
STORE_PAUSE_S = 5.0
_TOLD = frozenset({StudyStatus.DELIVERED, StudyStatus.REJECTED, StudyStatus.FAILED})


def place_of(study: StudyRecord) -> Place:
    """Where spans of the study's present revision belong."""
    return Place(study.tenant, study.id, study.revision)


def take_step(services: Services, tenant: str, study_id: str, revision: int, *, attempts: int) -> None:
    """Take the study's next step after `attempts` earlier ones. Raises only what `retry.decide` tries again."""
    with services.database.transaction(tenant) as conn:
        study = store.get_study(conn, tenant, study_id)
    step = STEP_AFTER.get(study.status)
    if step is None or study.revision != revision:
        return  # taken already by an earlier run of this job
    try:
        with (
            services.tracing.step(place_of(study), step.name, attempts) as span,
            services.folders.step_at_hand(study),
        ):
            _take(services, study, step, attempts, span)
    except RunInterrupted:
        # This worker stops: whoever takes the step next, it is its first attempt.
        log.info("step_left_to_another_worker", extra={"study": study_id, "step": step.name})
        with services.database.transaction(tenant) as conn:
            services.defer_step(conn, study)
    except StoreNotReady as error:
        # However long it lasts, it is no fault of the study: a job of its own, whose attempts count anew.
        log.error(
            "object_store_not_ready", extra={"study": study_id, "step": step.name, "reason": str(error)}
        )
        with services.database.transaction(tenant) as conn:
            services.defer_step_later(conn, study, STORE_PAUSE_S)


def _take(services: Services, study: StudyRecord, step: Step, attempts: int, span: Span) -> None:
    started = time.monotonic()
    outcome: Outcome | None
    try:
        if attempts > retry.ATTEMPTS_MAX:
            raise StudyFailed("STEP_GAVE_UP", f"The step “{step.name}” ended its worker again and again.")
        outcome = step.work(services, study)
    except StudyRefused as refusal:
        outcome = Outcome(gives=StudyStatus.REJECTED, reason=(refusal.code, refusal.text))
    except StudyFailed as failure:
        outcome = Outcome(gives=StudyStatus.FAILED, reason=(failure.code, failure.text))
    except (StoreNotReady, RunInterrupted):
        raise
    except Exception as error:
        if retry.decide(error, attempts) is not None:
            raise
        log.exception("step_gave_up", extra={"study": str(study.id), "step": step.name})
        text = f"The step “{step.name}” could not be done: {type(error).__name__}."
        outcome = Outcome(gives=StudyStatus.FAILED, reason=("STEP_GAVE_UP", text))
    if outcome is None:
        return
    if outcome.gives is StudyStatus.REJECTED:
        outcome = with_refusal_object(services, study, outcome)
    if services.folders.objects.is_remote:
        if not _is_ours(services, study):
            return  # what another worker kept meanwhile must not be replaced
        services.folders.keep(study)
    span.set(gives=outcome.gives or step.gives, reason=outcome.reason[0] if outcome.reason else "")
    duration_ms = round((time.monotonic() - started) * 1000)
    try:
        _commit(services, study, step, outcome, duration_ms=duration_ms)
    except StoreNotReady:
        raise
    except Exception as error:
        if retry.decide(error, attempts) is not None or outcome.gives is StudyStatus.FAILED:
            raise
        log.exception("outcome_not_saved", extra={"study": str(study.id), "step": step.name})
        text = f"What the step “{step.name}” gave could not be saved: {type(error).__name__}."
        failed = Outcome(gives=StudyStatus.FAILED, reason=("OUTCOME_NOT_SAVED", text))
        _commit(services, study, step, failed, duration_ms=duration_ms)


def _is_ours(services: Services, study: StudyRecord) -> bool:
    """Whether no other worker has taken the step while we were at it."""
    with services.database.transaction(study.tenant) as conn:
        now = store.get_study(conn, study.tenant, study.id)
    return (now.status, now.revision) == (study.status, study.revision)


def _commit(
    services: Services, study: StudyRecord, step: Step, outcome: Outcome, *, duration_ms: int
) -> None:
    """Save the outcome, the new status, the usage events and the next job: all or nothing."""
    with services.database.transaction(study.tenant) as conn:
        now = store.lock_study(conn, study.tenant, study.id)
        if now.status != study.status or now.revision != study.revision:
            return  # another worker was faster
        after = end_step(conn, services, now, step, outcome, duration_ms=duration_ms)
    tell(services, step, after, duration_ms=duration_ms)


def end_step(
    conn: Connection,
    services: Services,
    study: StudyRecord,
    step: Step,
    outcome: Outcome,
    *,
    duration_ms: int | None = None,
) -> Ended:
    """Take a locked study out of `step`, in the caller's transaction."""
    gives = outcome.gives or step.gives
    end_progress(conn, study)
    outcome.save(conn, study)
    after = store.advance(
        conn, study, gives, duration_ms=duration_ms, detail=outcome.detail, reason=outcome.reason
    )
    metered: tuple[Metered, ...] = ()
    if gives in TERMINAL:
        with services.tracing.part("meter") as span:
            metered = record_outcome(conn, after, unchanged=outcome.unchanged, refused=outcome.refused)
            span.set(decision=" ".join(f"{one.outcome}:{one.reason}" for one in metered))
    if gives in _TOLD and not outcome.unchanged:
        announce_end(conn, services, after, products_of(conn, after, outcome.refused))
    if gives in STEP_AFTER:
        services.defer_step(conn, after)
    if gives is StudyStatus.DELIVERED:
        deliveries.record_transfer(conn, after)  # last: the audit trail is locked until the commit
    turnaround_s = store.turnaround_s(conn, after) if gives in TERMINAL else None
    return Ended(after, metered, turnaround_s)


def tell(services: Services, step: Step, ended: Ended, *, duration_ms: int) -> None:
    """What follows when the end of a step is committed: files that nobody needs any more, metrics, the log."""
    study = ended.study
    if study.status in TERMINAL:
        services.folders.discard_work(study)
        services.observer.study_ended(study, ended.turnaround_s)
        if ended.turnaround_s is not None:
            services.tracing.end(
                place_of(study), ended.turnaround_s,
                outcome=study.status, reason=study.reason_code or "", priority=study.priority,
            )  # fmt: skip
    if study.status is StudyStatus.ROUTED:
        services.observer.routed(study)
    services.observer.step_ended(step.name, study.status.value, duration_ms / 1000)
    for decided in ended.metered:
        services.observer.metered(decided)
    log.info(
        f"study_{study.status.value}",
        extra={"tenant": study.tenant, "study": str(study.id), "step": step.name, "duration_ms": duration_ms},
    )
