"""How long images and results stay: the policy of a tenant, legal holds, and what is due to go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from billing.claims.disputes import studies_in_dispute
from pipeline import audit
from pipeline.database import Connection
from pipeline.errors import HoldNotFound, HoldUnclear, RetentionPolicyInvalid, StudyRefused
from pipeline.services import Services
from pipeline.store import StudyRecord, get_study

What = Literal["images", "results", "quarantined"]
DAYS_MAX = 36500


@dataclass(frozen=True)
class RetentionPolicy:
    """Days after delivery (of quarantined images, after reception) that something stays; None = for ever."""

    images_days: int | None = None
    results_days: int | None = None
    quarantine_days: int | None = None

    def __post_init__(self) -> None:
        for days in (self.images_days, self.results_days, self.quarantine_days):
            if days is not None and not 1 <= days <= DAYS_MAX:
                raise RetentionPolicyInvalid(f"{days} days: give 1 to {DAYS_MAX}, or nothing for ever")
        if self.results_days is not None and (
            self.images_days is None or self.images_days > self.results_days
        ):
            raise RetentionPolicyInvalid("images may not stay longer than the results that were made of them")


def policy_of(conn: Connection, tenant: str) -> RetentionPolicy:
    """Without one everything stays."""
    row = conn.execute(
        "SELECT images_days, results_days, quarantine_days FROM retention_policy WHERE tenant = %s", (tenant,)
    ).fetchone()
    return RetentionPolicy(**row) if row else RetentionPolicy()


def set_policy(conn: Connection, tenant: str, policy: RetentionPolicy, *, by: str, now: datetime) -> None:
    conn.execute(
        """INSERT INTO retention_policy (tenant, images_days, results_days, quarantine_days, changed_by, changed_at)
           VALUES (%(tenant)s, %(images_days)s, %(results_days)s, %(quarantine_days)s, %(by)s, %(now)s)
           ON CONFLICT (tenant) DO UPDATE SET images_days = excluded.images_days,
               results_days = excluded.results_days, quarantine_days = excluded.quarantine_days,
               changed_by = excluded.changed_by, changed_at = excluded.changed_at""",
        {"tenant": tenant, "by": by, "now": now} | vars(policy),
    )
    audit.record(conn, tenant, audit.AuditEvent.RETENTION_CHANGED, {"by": by} | vars(policy))


def place_hold(
    conn: Connection,
    tenant: str,
    *,
    study_id: UUID | str | None = None,
    patient_id: str = "",
    reason: str,
    by: str,
    now: datetime,
) -> int:
    """Nothing of it is removed until it is released; with neither study nor patient, nothing of the tenant.

    Raises `StudyNotFound`, `HoldUnclear`.
    """
    if study_id is not None and patient_id:
        raise HoldUnclear("a hold is of one study, of one patient or of everything")
    if not reason.strip():
        raise HoldUnclear("say why it is held")
    study = get_study(conn, tenant, study_id) if study_id is not None else None
    lock_holds(conn, tenant)
    row = conn.execute(
        """INSERT INTO retention_hold (tenant, study_id, patient_id, reason, placed_by, placed_at)
           VALUES (%s, %s, %s, %s, %s, %s) RETURNING hold_id""",
        (tenant, study and study.id, patient_id or None, reason.strip(), by, now),
    ).fetchone()
    assert row is not None
    detail = {
        "by": by,
        "hold": row["hold_id"],
        "study": str(study.id) if study else "",
        "of": _of(study, patient_id),
    }
    audit.record(conn, tenant, audit.AuditEvent.HOLD_PLACED, detail)
    return int(row["hold_id"])


def lock_holds(conn: Connection, tenant: str) -> None:
    """Until the transaction ends no hold is placed and no removal is decided by anybody else."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"radmeter.hold:{tenant}",))


def _of(study: object, patient_id: str) -> str:
    return "a study" if study else "a patient" if patient_id else "everything"


def release_hold(conn: Connection, tenant: str, hold_id: int, *, reason: str, by: str, now: datetime) -> None:
    """Raises `HoldNotFound` for one that is not in force, `HoldUnclear` without a reason."""
    if not reason.strip():
        raise HoldUnclear("say why it is released")
    row = conn.execute(
        """UPDATE retention_hold SET released_reason = %s, released_by = %s, released_at = %s
           WHERE tenant = %s AND hold_id = %s AND released_at IS NULL RETURNING hold_id""",
        (reason.strip(), by, now, tenant, hold_id),
    ).fetchone()
    if row is None:
        raise HoldNotFound(f"there is no hold {hold_id} in force")
    audit.record(conn, tenant, audit.AuditEvent.HOLD_RELEASED, {"by": by, "hold": hold_id})


def holds(conn: Connection, tenant: str, limit: int = 500) -> list[dict[str, Any]]:
    """Those in force first, newest first."""
    return conn.execute(
        """SELECT hold_id, study_id, patient_id, reason, placed_by, placed_at, released_reason, released_by, released_at
           FROM retention_hold WHERE tenant = %s
           ORDER BY released_at IS NOT NULL, placed_at DESC, hold_id DESC LIMIT %s""",
        (tenant, limit),
    ).fetchall()


@dataclass(frozen=True)
class Due:
    """A study whose images, or results, the policy lets go. days: of the policy."""

    study_id: UUID
    what: What
    days: int


def holds_on(conn: Connection, tenant: str, study_id: UUID | None) -> list[int]:
    """Numbers of the holds that keep a study; of all, without one. None is placed until the transaction ends."""
    lock_holds(conn, tenant)
    rows = conn.execute(
        """SELECT h.hold_id FROM retention_hold h LEFT JOIN study s ON s.tenant = h.tenant AND s.id = %(study)s
           WHERE h.tenant = %(tenant)s AND h.released_at IS NULL
             AND (%(study)s::uuid IS NULL OR h.study_id = %(study)s OR h.patient_id = s.header->>'patient_id'
                  OR (h.study_id IS NULL AND h.patient_id IS NULL))
           ORDER BY h.hold_id""",
        {"tenant": tenant, "study": study_id},
    ).fetchall()
    return [row["hold_id"] for row in rows]


# What has come to an end and nothing waits for; a failed study waits for a person.
_DUE = """
    SELECT s.id AS study_id, w.what, w.days
    FROM study s
    CROSS JOIN (VALUES ('images', %(images_days)s::integer), ('results', %(results_days)s)) AS w (what, days)
    WHERE s.tenant = %(tenant)s AND s.status IN ('delivered', 'shadowed', 'rejected', 'prior')
      AND s.updated_at < %(now)s - make_interval(days => w.days)
      AND (%(study)s::uuid IS NULL OR s.id = %(study)s)
      AND NOT was_removed(s.tenant, s.id, w.what) -- what came again after a removal is due again
      AND NOT EXISTS (SELECT 1 FROM retention_hold h WHERE h.tenant = s.tenant AND h.released_at IS NULL
                      AND (h.study_id = s.id OR h.patient_id = s.header->>'patient_id'
                           OR (h.study_id IS NULL AND h.patient_id IS NULL)))
      AND NOT EXISTS (SELECT 1 FROM arrival a
                      WHERE a.tenant = s.tenant AND a.study_id = s.id AND a.closed_at IS NULL)
      AND NOT EXISTS (SELECT 1 FROM delivery d
                      WHERE d.tenant = s.tenant AND d.study_id = s.id AND d.state = 'waiting')
      AND NOT EXISTS (SELECT 1 FROM prior_of p JOIN study later ON later.tenant = p.tenant AND later.id = p.study_id
                      WHERE p.tenant = s.tenant AND p.prior_study_id = s.id
                        AND later.status NOT IN ('delivered', 'shadowed', 'rejected', 'failed', 'prior'))
      AND s.id::text <> ALL (%(disputed)s)
    ORDER BY s.updated_at, s.id LIMIT %(limit)s
"""


def due(
    conn: Connection, tenant: str, *, now: datetime, limit: int, study_id: UUID | None = None
) -> list[Due]:
    """What may go now, oldest first; of one study, if it is named.

    Never what is held, not delivered, still arriving, disputed, or a prior of a study that is under way.
    """
    policy = policy_of(conn, tenant)
    if policy.images_days is None:
        return []
    values = {
        "tenant": tenant, "now": now, "limit": limit, "study": study_id, "images_days": policy.images_days,
        "results_days": policy.results_days, "disputed": studies_in_dispute(conn, tenant),
    }  # fmt: skip
    return [Due(**row) for row in conn.execute(_DUE, values).fetchall()]


def require_images(services: Services, study: StudyRecord, rows: Sequence[dict[str, Any]]) -> None:
    """Raise `StudyRefused` for a study whose images were removed by policy and did not all come again."""
    if len(services.folders.kept_instances(row["location"] for row in rows)) == len(rows):
        return
    with services.database.transaction(study.tenant) as conn:
        removal = removals_of(conn, study.tenant, study.id).get("images")
    if removal is not None:
        raise StudyRefused(
            "IMAGES_REMOVED",
            f"Images of the study were removed on {removal.at:%Y-%m-%d} by policy, {removal.days} days after delivery: "
            "send the whole study again.",
        )


@dataclass(frozen=True)
class Removal:
    """What a page says of a study. at: when it was decided."""

    what: What
    days: int
    at: datetime


def removals_of(conn: Connection, tenant: str, study_id: UUID) -> dict[str, Removal]:
    """By what: the last removal of the study's images and of its results."""
    rows = conn.execute(
        """SELECT DISTINCT ON (what) what, days, decided_at AS at FROM retention_removal
           WHERE tenant = %s AND study_id = %s ORDER BY what, decided_at DESC""",
        (tenant, study_id),
    ).fetchall()
    return {row["what"]: Removal(**row) for row in rows}
