"""The gate before a study is analysed: limits of its contract let it run, flag it, or hold it for a while."""

from __future__ import annotations

import logging
from datetime import datetime

import procrastinate

from billing import guard, limits, usage_days, wallet
from billing.guard import Answer, MayRun
from pipeline import audit, peers, store
from pipeline.database import Connection, Database
from pipeline.queue import defer_step
from pipeline.services import Outcome
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.urgency import Priority

log = logging.getLogger("radmeter.limits")
LIMIT_REACHED = "LIMIT_REACHED"
# A look lets this many go on at most, oldest and most urgent first; the next one comes soon.
_RELEASED_AT_ONCE = 200


def hold_back(database: Database, study: StudyRecord, *, now: datetime) -> Outcome | None:
    """None where the study may run; else the outcome that holds it. What was decided is stored either way."""
    with database.transaction(study.tenant) as conn:
        answers = _ask(conn, study, now=now, released=0)
        _note(conn, study, answers, now=now)
    waiting = [found for found in answers.values() if found.answer is Answer.WAIT]
    if not waiting:
        return None
    detail = {"limit": waiting[0].limit_id, "reason": waiting[0].explanation}
    return Outcome(detail=detail, gives=StudyStatus.HELD, reason=(LIMIT_REACHED, waiting[0].explanation))


def look_at_limits(database: Database, queue: procrastinate.App, tenant: str, *, now: datetime) -> int:
    """Add totals up, end packages that are over their time, tell of thresholds, and let studies go on that are not
    held back any more; returns how many.

    Called again and again; two at once do no harm.
    """
    with database.transaction(tenant) as conn:
        usage_days.refresh(conn, tenant)
        wallet.expire(conn, tenant, now=now)
        told = limits.watch(conn, tenant, now=now)
        for one in told:
            log.warning("limit_threshold_reached", extra={"tenant": tenant, "limit": one["limit_id"]})
            detail = {"contract": one["contract"], "limit": one["limit_id"], "percent": one["percent"]}
            audit.record(conn, tenant, audit.AuditEvent.LIMIT_REACHED, detail)
    released = 0
    for study_id in _held(database, tenant):
        with database.transaction(tenant) as conn:
            released += _release(conn, queue, tenant, study_id, now=now, released=released)
    return released


def tenants(database: Database) -> list[str]:
    """Every tenant of the installation."""
    with database.system_transaction() as conn:
        return [row["tenant"] for row in conn.execute("SELECT tenant FROM every_tenant()")]


def _held(database: Database, tenant: str) -> list[str]:
    with database.transaction(tenant) as conn:
        rows = conn.execute(
            """SELECT id FROM study WHERE tenant = %s AND status = 'held'
               ORDER BY array_position(%s, priority), created_at, id LIMIT %s""",
            (tenant, [str(one) for one in Priority], _RELEASED_AT_ONCE),
        ).fetchall()
    return [str(row["id"]) for row in rows]


def _release(
    conn: Connection, queue: procrastinate.App, tenant: str, study_id: str, *, now: datetime, released: int
) -> bool:
    study = store.lock_study(conn, tenant, study_id)
    if study.status is not StudyStatus.HELD:
        return False
    answers = _ask(conn, study, now=now, released=released)
    waiting = next((found for found in answers.values() if found.answer is Answer.WAIT), None)
    if waiting is not None:
        _say(conn, study, waiting.explanation)
        return False
    _note(conn, study, answers, now=now)
    defer_step(queue, conn, store.advance(conn, study, StudyStatus.ROUTED, detail={"after": "held"}))
    return True


def _say(conn: Connection, study: StudyRecord, sentence: str) -> None:
    """The sentence that people see is of now: the figures in it move while the study waits."""
    if study.reason_text != sentence:
        conn.execute(
            "UPDATE study SET reason_text = %s WHERE tenant = %s AND id = %s AND status = 'held'",
            (sentence, study.tenant, study.id),
        )


def _ask(conn: Connection, study: StudyRecord, *, now: datetime, released: int) -> dict[str, MayRun]:
    """By product; shadow runs and test systems cost nothing and are not asked."""
    peer = peers.get_peer(conn, study.tenant, study.ae_title)
    if peer and peer["is_test"]:
        return {}
    is_urgent = study.priority == Priority.EMERGENCY
    return {
        choice["product"]: guard.may_run(
            conn,
            study.tenant,
            choice["product"],
            is_urgent=is_urgent,
            now=now,
            dimensions={"sending_peer": study.ae_title, **peers.place_of(peer)},
            running=_under_way(conn, study, choice["product"]) + released,
        )
        for choice in study.to_run
        if not choice.get("shadow")
    }


def _under_way(conn: Connection, study: StudyRecord, product: str) -> int:
    """Other studies whose result of the product is being made and is not delivered yet."""
    row = conn.execute(
        """SELECT count(*) AS studies FROM study
           WHERE tenant = %s AND id <> %s AND status IN ('decoded', 'inferred', 'encoded')
             AND route @> jsonb_build_array(jsonb_build_object('product', %s::text))""",
        (study.tenant, study.id, product),
    ).fetchone()
    assert row is not None
    return int(row["studies"])


def _note(conn: Connection, study: StudyRecord, answers: dict[str, MayRun], *, now: datetime) -> None:
    for product, found in answers.items():
        guard.note(conn, study.tenant, str(study.id), study.revision, product, found, now=now)
