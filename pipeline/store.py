"""Studies, their timeline and their results in PostgreSQL. Every function runs in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from pipeline.database import Connection
from pipeline.errors import StudyNotFound
from pipeline.status import StudyStatus, require_transition
from pipeline.urgency import Priority
from pipeline.workitem_follow import follow

Row = dict[str, Any]


@dataclass(frozen=True)
class StudyRecord:
    """One row of `study`: a study as the pipeline knows it."""

    id: UUID
    tenant: str
    study_instance_uid: str
    ae_title: str
    status: StudyStatus
    revision: int
    reason_code: str | None
    reason_text: str | None
    header: dict[str, Any]
    route: list[dict[str, Any]]
    completion: str | None
    created_at: datetime
    updated_at: datetime
    purpose: str
    priority: str = Priority.NORMAL
    rule_set_version: int | None = None
    run_window: dict[str, Any] | None = None
    started_with: list[str] | None = None
    """The series that this revision may read, where it began while others still arrive; None = all that is here."""

    @property
    def to_run(self) -> list[dict[str, Any]]:
        """What the route chose, without what stands from an earlier revision and what its model could not judge."""
        return [choice for choice in self.route if "standing" not in choice and "refused" not in choice]

    @property
    def refused_choices(self) -> list[dict[str, Any]]:
        """What was chosen and then found unfit, each with `refused`: code and sentence, while other models went on."""
        return [choice for choice in self.route if "refused" in choice]


def _record(row: Row) -> StudyRecord:
    return StudyRecord(**{**row, "status": StudyStatus(row["status"])})


_STUDY = """SELECT id, tenant, study_instance_uid, ae_title, status, revision, reason_code, reason_text, header,
                   route, completion, created_at, updated_at, purpose, priority, rule_set_version, run_window,
                   started_with
            FROM study WHERE tenant = %s AND id = %s"""


def study_key(study_id: UUID | str) -> UUID | None:
    """As the database has it, so that the index finds it; None, which no row has, for a text that is no id at all."""
    try:
        return UUID(str(study_id))
    except ValueError:
        return None


def get_study(conn: Connection, tenant: str, study_id: UUID | str) -> StudyRecord:
    """Raises `StudyNotFound`, for another tenant's study too."""
    row = conn.execute(_STUDY, (tenant, study_key(study_id))).fetchone()
    if row is None:
        raise StudyNotFound(f"there is no study {study_id}; its page shows its whole id below the series")
    return _record(row)


def lock_study(conn: Connection, tenant: str, study_id: UUID | str) -> StudyRecord:
    """Like `get_study`, and holds the row until the transaction ends."""
    conn.execute(
        "SELECT 1 FROM study WHERE tenant = %s AND id = %s FOR UPDATE", (tenant, study_key(study_id))
    )
    return get_study(conn, tenant, study_id)


def lock_arriving(conn: Connection, tenant: str, study_id: UUID | str) -> StudyRecord:
    """Like `lock_study`, of a study that may be arriving: its arrival first, as the look that decides about it does."""
    conn.execute(
        "SELECT 1 FROM arrival WHERE tenant = %s AND study_id = %s AND closed_at IS NULL FOR UPDATE",
        (tenant, study_key(study_id)),
    )
    return lock_study(conn, tenant, study_id)


def advance(
    conn: Connection,
    study: StudyRecord,
    to: StudyStatus,
    *,
    duration_ms: int | None = None,
    detail: Row | None = None,
    reason: tuple[str, str] | None = None,
    revision: int | None = None,
) -> StudyRecord:
    """Move a locked study to its next status and write the line of its timeline."""
    require_transition(study.status, to)
    code, text = reason or (None, None)
    conn.execute(
        """UPDATE study SET status = %s, reason_code = %s, reason_text = %s, revision = %s, updated_at = now()
           WHERE tenant = %s AND id = %s""",
        (to.value, code, text, revision or study.revision, study.tenant, study.id),
    )
    after = get_study(conn, study.tenant, study.id)
    note(conn, after, f"study_{to.value}", duration_ms=duration_ms, detail=detail)
    follow(conn, after)
    return after


def note(
    conn: Connection,
    study: StudyRecord,
    event: str,
    *,
    duration_ms: int | None = None,
    detail: Row | None = None,
) -> None:
    """Write one line of a study's timeline. `event` is a past-tense name."""
    conn.execute(
        """INSERT INTO study_event (tenant, study_id, revision, event, duration_ms, detail)
           VALUES (%s, %s, %s, %s, %s, %s)""",
        (study.tenant, study.id, study.revision, event, duration_ms, Jsonb(detail or {})),
    )


def set_header(conn: Connection, study: StudyRecord, header: Row) -> None:
    conn.execute(
        "UPDATE study SET header = %s WHERE tenant = %s AND id = %s", (Jsonb(header), study.tenant, study.id)
    )


def set_route(conn: Connection, study: StudyRecord, route: list[Row]) -> None:
    conn.execute(
        "UPDATE study SET route = %s WHERE tenant = %s AND id = %s", (Jsonb(route), study.tenant, study.id)
    )


def study_events(conn: Connection, tenant: str, study_id: UUID | str) -> list[Row]:
    """The timeline, oldest first: at, event, revision, duration_ms, detail."""
    return conn.execute(
        """SELECT id, at, event, revision, duration_ms, detail FROM study_event
           WHERE tenant = %s AND study_id = %s ORDER BY id""",
        (tenant, study_key(study_id)),
    ).fetchall()


def study_arrivals(conn: Connection, tenant: str, study_id: UUID | str) -> list[Row]:
    """What came in and when, oldest first, with counts and outcome."""
    return conn.execute(
        """SELECT id, ae_title, first_at, last_at, new_count, identical_count, conflict_count, closed_at, outcome,
                  completion, decision
           FROM arrival WHERE tenant = %s AND study_id = %s ORDER BY id""",
        (tenant, study_key(study_id)),
    ).fetchall()


def study_instances_summary(conn: Connection, tenant: str, study_id: UUID | str) -> list[Row]:
    """One row for each series: modality, instances and bytes."""
    return conn.execute(
        """SELECT series_instance_uid, min(modality) AS modality, count(*) AS instance_count,
                  sum(size_bytes)::bigint AS size_bytes
           FROM instance WHERE tenant = %s AND study_id = %s
           GROUP BY series_instance_uid ORDER BY count(*) DESC""",
        (tenant, study_key(study_id)),
    ).fetchall()


def instances(conn: Connection, tenant: str, study_id: UUID | str) -> list[Row]:
    """Where each instance of the study lies, in the order of reception."""
    return conn.execute(
        """SELECT sop_instance_uid, series_instance_uid, sop_class_uid, modality, location, blake3, size_bytes,
                  received_at
           FROM instance WHERE tenant = %s AND study_id = %s ORDER BY received_at, sop_instance_uid""",
        (tenant, study_key(study_id)),
    ).fetchall()


def results(conn: Connection, tenant: str, study_id: UUID | str, revision: int | None = None) -> list[Row]:
    """Results of the given revision, or of all, newest first.

    is_delivered: every required destination has acknowledged its objects.
    """
    return conn.execute(
        """SELECT product, revision, model_name, model_version, weights_sha256, input_digest, findings, answer,
                  timing_s, created_at, is_shadow, operating_threshold, deployment, conformance, prior_study_id,
                  coalesce((SELECT bool_and(d.acknowledged_at IS NOT NULL OR d.state = 'replaced')
                            FROM result_object o JOIN delivery d USING (tenant, sop_instance_uid)
                            WHERE o.study_id = result.study_id AND o.revision = result.revision
                              AND o.product = result.product AND d.required), false) AS is_delivered
           FROM result WHERE tenant = %s AND study_id = %s AND (%s::int IS NULL OR revision = %s)
           ORDER BY revision DESC, product""",
        (tenant, study_key(study_id), revision, revision),
    ).fetchall()


def present_results(conn: Connection, study: StudyRecord) -> list[Row]:
    """Results of the present revision, and those of earlier ones that stand."""
    standing = {(choice["product"], choice["standing"]) for choice in study.route if "standing" in choice}
    return [
        row
        for row in results(conn, study.tenant, study.id)
        if row["revision"] == study.revision or (row["product"], row["revision"]) in standing
    ]


def result_objects(
    conn: Connection, tenant: str, study_id: UUID | str, revision: int | None = None
) -> list[Row]:
    """One row for each encoded object and destination; `destination` is null where none takes the object."""
    return conn.execute(
        """SELECT o.sop_instance_uid, o.product, o.kind, o.event, o.revision, o.review, o.location, o.sha256,
                  o.size_bytes, d.destination, d.required, d.state, d.attempts, d.next_at, d.dicom_status,
                  d.last_error, d.warning, d.acknowledged_at, d.confirmed_at, d.confirmed_by, d.replaced_by
           FROM result_object o LEFT JOIN delivery d USING (tenant, sop_instance_uid)
           WHERE o.tenant = %s AND o.study_id = %s AND (%s::int IS NULL OR o.revision = %s)
           ORDER BY o.revision DESC, o.product, o.review DESC, o.kind DESC, d.destination""",
        (tenant, study_key(study_id), revision, revision),
    ).fetchall()


def get_tenant(conn: Connection, tenant: str) -> Row:
    """tenant, name, called_ae_title, case_key_secret, language, models."""
    row = conn.execute("SELECT * FROM tenant WHERE tenant = %s", (tenant,)).fetchone()
    if row is None:
        raise StudyNotFound(f"tenant {tenant}")
    return row


def delivered_products(conn: Connection, study: StudyRecord) -> list[str]:
    """Products of which a result of this study was delivered, in any revision."""
    rows = conn.execute(
        """SELECT DISTINCT o.product FROM result_object o JOIN delivery d USING (tenant, sop_instance_uid)
           WHERE o.tenant = %s AND o.study_id = %s AND o.event = 'result' AND o.kind <> 'EVENT'
             AND d.acknowledged_at IS NOT NULL
           ORDER BY o.product""",
        (study.tenant, study.id),
    ).fetchall()
    return [row["product"] for row in rows]


def superseded_objects(conn: Connection, study: StudyRecord) -> dict[str, list[str]]:
    """By product: where the DICOM objects lie that its latest earlier revision has delivered, without the notes."""
    rows = conn.execute(
        """SELECT product, location FROM (
               SELECT o.product, o.location, o.kind,
                      rank() OVER (PARTITION BY o.product ORDER BY o.revision DESC) AS age
               FROM result_object o
               WHERE o.tenant = %s AND o.study_id = %s AND o.revision < %s
                 AND o.kind NOT IN ('KOS', 'FHIR', 'ORU', 'EVENT')
                 AND EXISTS (SELECT 1 FROM delivery d WHERE d.tenant = o.tenant
                             AND d.sop_instance_uid = o.sop_instance_uid AND d.acknowledged_at IS NOT NULL)) latest
           WHERE age = 1 ORDER BY product, kind DESC""",
        (study.tenant, study.id, study.revision),
    ).fetchall()
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["product"], []).append(row["location"])
    return found


def turnaround_s(conn: Connection, study: StudyRecord) -> float | None:
    """Seconds since the study's last instance came in; None where this revision had come to an end before."""
    row = conn.execute(
        """SELECT extract(epoch FROM clock_timestamp() - max(a.last_at))::double precision AS seconds FROM arrival a
           WHERE a.tenant = %(tenant)s AND a.study_id = %(id)s AND a.closed_at IS NOT NULL AND (
               SELECT count(*) FROM study_event e
               WHERE e.study_id = %(id)s AND e.revision = %(revision)s
                 AND e.event IN ('study_delivered', 'study_shadowed', 'study_rejected', 'study_failed')) <= 1""",
        {"tenant": study.tenant, "id": study.id, "revision": study.revision},
    ).fetchone()
    return row["seconds"] if row is not None else None
