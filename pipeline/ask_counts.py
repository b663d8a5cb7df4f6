"""Ask the sender's archive how many instances a study has: evidence for when it is complete. A durable job.

An archive that does not know the study is another answer than one that does not answer.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import procrastinate

from dicom_gateway.archive_match import Match, QueryLimits
from pipeline import store
from pipeline.archives import Archive, Source, archive_of
from pipeline.database import Connection, Database, database_time
from pipeline.look_again import look_again
from pipeline.queue import ARCHIVE_QUEUE

log = logging.getLogger("radmeter.archives")

State = Literal["answered", "unknown_study", "no_answer", "no_archive"]

WHOLE_STUDY = ""
"""In place of a Series Instance UID: the count is of the study."""

_LIMITS = QueryLimits(matches_max=500, time_s=5.0)
_INSTANCE_LIMITS = QueryLimits(matches_max=5000, time_s=5.0)
_SERIES_COUNTED_MAX = 20
_DELAYS_S = (5.0, 20.0, 60.0)
"""After a question without an answer; then it rests until somebody asks again."""


@dataclass(frozen=True)
class CountAnswer:
    """counts: Series Instance UID → instances, or `WHOLE_STUDY` alone. reason: of a missing answer."""

    state: State
    counts: dict[str, int] = field(default_factory=dict)
    reason: str | None = None


def defer_count(
    queue: procrastinate.App, conn: Connection, tenant: str, study_id: UUID, delay_s: float, attempt: int = 0
) -> None:
    """Ask after `delay_s`, in the caller's transaction. May be called again at any time: answers are replaced."""
    at = database_time(conn, delay_s)
    queue.configure_task(
        "ask_counts", queue=ARCHIVE_QUEUE, lock=f"counts-{study_id}", schedule_at=at, connection=conn
    ).defer(tenant=tenant, study_id=str(study_id), attempt=attempt)


def ask_counts(
    database: Database, queue: procrastinate.App, tenant: str, study_id: str, attempt: int
) -> None:
    """The job: ask, store what came, ask again later where nothing did."""
    with database.transaction(tenant) as conn:
        study = store.get_study(conn, tenant, study_id)
        archive = archive_of(conn, tenant, study.ae_title, database.masters, database.secrets)
    answer = (
        count_instances(archive, study.study_instance_uid)
        if archive is not None
        else CountAnswer("no_archive")
    )
    with database.transaction(tenant) as conn:
        _save(conn, study, answer, archive.source if archive is not None else None, attempt)
        look_again(queue, conn, tenant, study.id)
        if answer.state == "no_answer" and attempt < len(_DELAYS_S):
            defer_count(queue, conn, tenant, study.id, _DELAYS_S[attempt], attempt + 1)
    log.info("archive_asked", extra={"tenant": tenant, "study": study_id, "state": answer.state})


def count_instances(archive: Archive, study_instance_uid: str) -> CountAnswer:
    """For each series what the archive says, else what it lists, else the count of the whole study."""
    study = {"StudyInstanceUID": study_instance_uid}
    answer = archive.search("SERIES", study, _LIMITS)
    if answer.error is not None:
        return CountAnswer("no_answer", reason=answer.error)
    if not answer.matches:
        return CountAnswer("unknown_study")
    if answer.unusable == 0:
        counts = _count_series(archive, study, answer.matches)
        if counts is not None:
            return CountAnswer("answered", counts)
    whole = archive.search("STUDY", study, _LIMITS)
    count = whole.matches[0].instance_count if whole.error is None and len(whole.matches) == 1 else None
    if count is None:
        return CountAnswer("no_answer", reason=whole.error or "the archive does not say how many instances")
    return CountAnswer("answered", {WHOLE_STUDY: count})


def archive_answer(conn: Connection, tenant: str, study_id: UUID) -> dict[str, Any] | None:
    """state, reason, source, attempts and asked_at of the last question; None when nothing was asked."""
    return conn.execute(
        """SELECT state, reason, source, attempts, asked_at FROM archive_question
           WHERE tenant = %s AND study_id = %s""",
        (tenant, study_id),
    ).fetchone()


def archive_counts(conn: Connection, tenant: str, study_id: UUID) -> dict[str, int]:
    """Series Instance UID → instances in the archive, or `WHOLE_STUDY` alone; empty without an answer."""
    rows = conn.execute(
        "SELECT series_instance_uid, instance_count FROM archive_count WHERE tenant = %s AND study_id = %s",
        (tenant, study_id),
    ).fetchall()
    return {row["series_instance_uid"]: row["instance_count"] for row in rows}


def _count_series(
    archive: Archive, study: dict[str, str], series: tuple[Match, ...]
) -> dict[str, int] | None:
    """None when a series can be counted in neither way."""
    counts = {match.uid: match.instance_count for match in series}
    silent = [uid for uid, count in counts.items() if count is None]
    if len(silent) > _SERIES_COUNTED_MAX:
        return None
    for uid in silent:
        listed = archive.search("IMAGE", study | {"SeriesInstanceUID": uid}, _INSTANCE_LIMITS)
        if listed.error is not None or listed.unusable:
            return None
        counts[uid] = len({match.uid for match in listed.matches})
    return {uid: count for uid, count in counts.items() if count is not None}


def _save(
    conn: Connection, study: store.StudyRecord, answer: CountAnswer, source: Source | None, attempt: int
) -> None:
    conn.execute(
        """INSERT INTO archive_question (tenant, study_id, state, reason, source, attempts)
           VALUES (%s, %s, %s, %s, %s, %s)
           ON CONFLICT (tenant, study_id) DO UPDATE SET state = excluded.state, reason = excluded.reason,
             source = excluded.source, attempts = excluded.attempts, asked_at = excluded.asked_at""",
        (study.tenant, study.id, answer.state, answer.reason, source, attempt + 1),
    )
    if answer.state not in ("answered", "unknown_study"):
        return  # what was known before is the best that is known
    conn.execute("DELETE FROM archive_count WHERE tenant = %s AND study_id = %s", (study.tenant, study.id))
    for uid, count in answer.counts.items():
        conn.execute(
            """INSERT INTO archive_count (tenant, study_id, series_instance_uid, instance_count, source)
               VALUES (%s, %s, %s, %s, %s)""",
            (study.tenant, study.id, uid, count, source),
        )
