"""The gate before a study is analysed: limits of its contract let it run, flag it, or hold it for a while."""

from __future__ import annotations

import logging
from datetime import datetime

import procrastinate

from billing.guarding import guard, limits, wallet
from billing.guarding.guard import Answer, MayRun
from billing.guarding.limit_worth import Work
from billing.lock import lock_for_letting_run
from billing.metering import usage_days
from pipeline import audit, peers, store
from pipeline.database import Connection, Database
from pipeline.finish import priced_dimensions
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
    """None where the study may run; else the outcome that holds it. What was decided is stored either way.

    Who may run has its room from here on, so that of two at once only one gets the last.
    """
    with database.transaction(study.tenant) as conn:
        current = store.lock_study(conn, study.tenant, study.id)
        if (current.status, current.revision) != (study.status, study.revision) or _has_room(conn, current):
            return None
        answers = _ask(conn, current, now=now)
        _note(conn, current, answers, now=now)
        waiting = [found for found in answers.values() if found.answer is Answer.WAIT]
        if not waiting:
            _take_room(conn, current)
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
            released += _release(conn, queue, tenant, study_id, now=now)
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
    conn: Connection, queue: procrastinate.App, tenant: str, study_id: str, *, now: datetime
) -> bool:
    study = store.lock_study(conn, tenant, study_id)
    if study.status is not StudyStatus.HELD:
        return False
    answers = _ask(conn, study, now=now)
    waiting = next((found for found in answers.values() if found.answer is Answer.WAIT), None)
    if waiting is not None:
        _say(conn, study, waiting.explanation)
        return False
    _note(conn, study, answers, now=now)
    _take_room(conn, study)
    defer_step(queue, conn, store.advance(conn, study, StudyStatus.ROUTED, detail={"after": "held"}))
    return True


def _say(conn: Connection, study: StudyRecord, sentence: str) -> None:
    """The sentence that people see is of now: the figures in it move while the study waits."""
    if study.reason_text != sentence:
        conn.execute(
            "UPDATE study SET reason_text = %s WHERE tenant = %s AND id = %s AND status = 'held'",
            (sentence, study.tenant, study.id),
        )


def _ask(conn: Connection, study: StudyRecord, *, now: datetime) -> dict[str, MayRun]:
    """By product; shadow runs and test systems cost nothing and are not asked."""
    peer = peers.get_peer(conn, study.tenant, study.ae_title)
    if peer and peer["is_test"]:
        return {}
    lock_for_letting_run(conn, study.tenant)
    under_way = _under_way(conn, study)
    answers = {}
    for choice in study.to_run:
        if choice.get("shadow"):
            continue
        product, dimensions = choice["product"], priced_dimensions(study.ae_title, peer, choice)
        answers[product] = guard.may_run(
            conn,
            study.tenant,
            product,
            is_urgent=study.priority == Priority.EMERGENCY,
            now=now,
            dimensions=dimensions,
            under_way=under_way,
        )
        under_way.append(Work(product, dimensions))
    return answers


def _under_way(conn: Connection, study: StudyRecord) -> list[Work]:
    """What other studies may make and have not delivered yet.

    Asked before what is used: a result that is delivered in between counts twice for a moment, and never not at all.
    """
    rows = conn.execute(
        """SELECT s.ae_title, p.site, p.department, c ->> 'product' AS product, c ->> 'publisher' AS publisher,
                  c ->> 'modality' AS modality, c ->> 'model' AS model, c ->> 'model_version' AS model_version,
                  count(*) AS studies
           FROM study s CROSS JOIN jsonb_array_elements(s.route) c
           LEFT JOIN peer p ON p.tenant = s.tenant AND p.ae_title = s.ae_title
           WHERE s.tenant = %s AND s.id <> %s
             AND (s.status IN ('decoded', 'inferred', 'encoded')
                  OR s.status = 'routed' AND s.room_revision = s.revision)
             AND NOT c ?| ARRAY['standing', 'refused'] AND NOT coalesce((c ->> 'shadow')::boolean, false)
             AND NOT coalesce(p.is_test, false)
           GROUP BY 1, 2, 3, 4, 5, 6, 7, 8""",
        (study.tenant, study.id),
    ).fetchall()
    return [
        Work(row["product"], priced_dimensions(row["ae_title"], row, row), row["studies"]) for row in rows
    ]


def _has_room(conn: Connection, study: StudyRecord) -> bool:
    """Whether this revision was let run already: by the look at what was held, or by a step that is taken again."""
    return bool(
        conn.execute(
            "SELECT 1 FROM study WHERE tenant = %s AND id = %s AND room_revision = revision",
            (study.tenant, study.id),
        ).fetchone()
    )


def _take_room(conn: Connection, study: StudyRecord) -> None:
    conn.execute(
        "UPDATE study SET room_revision = revision WHERE tenant = %s AND id = %s", (study.tenant, study.id)
    )


def _note(conn: Connection, study: StudyRecord, answers: dict[str, MayRun], *, now: datetime) -> None:
    for product, found in answers.items():
        guard.note(conn, study.tenant, str(study.id), study.revision, product, found, now=now)
