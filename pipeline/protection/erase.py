"""Erasure: data keys are shredded, objects and rows removed, and a register keeps what was erased.

In two steps: a plan says what would go, its code confirms it. An erasure is written down before it is complete: rows
and keys go in one transaction, objects after it (`pipeline.protection.erase_objects`), however often that breaks off.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid4

from pipeline import audit, store
from pipeline.audit import AuditEvent
from pipeline.database import Connection
from pipeline.protection import erase_rows
from pipeline.protection.erase_rows import Counts
from pipeline.protection.errors import ErasureNotConfirmed, ErasureRefused
from pipeline.retention import holds_on
from pipeline.status import TERMINAL, StudyStatus


@dataclass(frozen=True)
class Erasure:
    """One entry of the register. study_id: None = all of the tenant. reason: no patient data."""

    id: UUID
    tenant: str
    study_id: UUID | None
    reason: str
    by: str
    at: datetime

    def as_json(self) -> dict[str, str | None]:
        study_id = str(self.study_id) if self.study_id else None
        return vars(self) | {"id": str(self.id), "study_id": study_id, "at": self.at.isoformat()}

    @classmethod
    def from_json(cls, values: dict[str, str]) -> Erasure:
        """Raises `ValueError`, `KeyError` or `TypeError` for what is none."""
        study_id = UUID(values["study_id"]) if values["study_id"] else None
        at = datetime.fromisoformat(values["at"])
        return cls(UUID(values["id"]), values["tenant"], study_id, values["reason"], values["by"], at)


@dataclass(frozen=True)
class ErasurePlan:
    """What would be erased. rows: by table. has_keys: whether what was stored is sealed, and the keys shredded."""

    tenant: str
    study_id: UUID | None
    studies: int
    rows: Counts = field(default_factory=dict)
    keys: int = 0

    @property
    def code(self) -> str:
        """Eight characters that confirm this plan and no other."""
        said = json.dumps(
            [self.tenant, str(self.study_id), self.studies, self.rows, self.keys], sort_keys=True
        )
        return hashlib.sha256(said.encode()).hexdigest()[:8]


def plan_study(conn: Connection, tenant: str, study_id: UUID) -> ErasurePlan:
    """Raises `StudyNotFound`, `ErasureRefused`."""
    study = store.lock_study(conn, tenant, study_id)
    if study.status is StudyStatus.ERASED:
        raise ErasureRefused(f"study {study_id} was erased before")
    if study.status not in TERMINAL:
        raise ErasureRefused(f"study {study_id} is still on its path ({study.status}): cancel it first")
    _require_no_arrival(conn, tenant, study_id)
    _require_no_hold(conn, tenant, study_id)
    rows = erase_rows.count_of_study(conn, tenant, study_id)
    return ErasurePlan(tenant, study_id, 1, rows, _count_keys(conn, tenant, study_id))


def plan_tenant(conn: Connection, tenant: str) -> ErasurePlan:
    """Raises `ErasureRefused`."""
    row = conn.execute(
        """SELECT count(*) AS studies, count(*) FILTER (WHERE status <> ALL (%s)) AS moving FROM study
           WHERE tenant = %s""",
        ([one.value for one in TERMINAL], tenant),
    ).fetchone()
    assert row is not None
    if row["moving"]:
        raise ErasureRefused(
            f"{row['moving']} studies of {tenant} are still on their path: cancel them first"
        )
    _require_no_arrival(conn, tenant, None)
    _require_no_hold(conn, tenant, None)
    rows = erase_rows.count_of_tenant(conn, tenant)
    return ErasurePlan(tenant, None, row["studies"], rows, _count_keys(conn, tenant, None))


def erase(conn: Connection, plan: ErasurePlan, code: str, *, reason: str, by: str, now: datetime) -> Erasure:
    """Erase rows and keys, in a transaction of the schema's owner; objects are removed after it was committed.

    plan: made in the same transaction. Raises `ErasureNotConfirmed` unless `code` is that of the plan.
    """
    if code != plan.code:
        raise ErasureNotConfirmed(plan.code)
    erasure = Erasure(uuid4(), plan.tenant, plan.study_id, reason, by, now)
    carry_out(conn, erasure)
    return erasure


def carry_out(conn: Connection, erasure: Erasure) -> None:
    """Erase rows and keys and write down that it was done. The study may be in any state: a restore brings back any."""
    conn.execute(
        "INSERT INTO erasure (tenant, id, study_id, reason, by, at) VALUES (%s, %s, %s, %s, %s, %s)",
        (erasure.tenant, erasure.id, erasure.study_id, erasure.reason, erasure.by, erasure.at),
    )
    if erasure.study_id is None:
        erase_rows.erase_tenant_rows(conn, erasure.tenant, erasure.id)
    else:
        erase_rows.erase_study_rows(conn, erasure.tenant, erasure.study_id, erasure.id)
    event = AuditEvent.TENANT_ERASED if erasure.study_id is None else AuditEvent.STUDY_ERASED
    study = str(erasure.study_id) if erasure.study_id else None
    detail = {"study": study, "reason": erasure.reason, "by": erasure.by, "erasure": str(erasure.id)}
    audit.record(conn, erasure.tenant, event, detail)


def _require_no_hold(conn: Connection, tenant: str, study_id: UUID | None) -> None:
    held = holds_on(conn, tenant, study_id)
    if held:
        numbers = ", ".join(map(str, held))
        raise ErasureRefused(f"legal hold {numbers} keeps it: `radmeter retention release` ends a hold")


def _require_no_arrival(conn: Connection, tenant: str, study_id: UUID | None) -> None:
    row = conn.execute(
        """SELECT 1 FROM arrival WHERE tenant = %(tenant)s AND closed_at IS NULL
             AND (%(study)s::uuid IS NULL OR study_id = %(study)s) LIMIT 1""",
        {"tenant": tenant, "study": study_id},
    ).fetchone()
    if row is not None:
        raise ErasureRefused("images are arriving: wait until their study has come to its end, or discard it")


def _count_keys(conn: Connection, tenant: str, study_id: UUID | None) -> int:
    """Data keys that would be shredded."""
    row = conn.execute(
        """SELECT count(*) AS n FROM data_key WHERE tenant = %(tenant)s AND wrapped IS NOT NULL
             AND (%(study)s::uuid IS NULL OR scope = 'study/' || %(study)s::text OR scope IN (
                 SELECT 'instances/' || split_part(location, '/', 1) || '/' || split_part(location, '/', 2)
                 FROM instance WHERE tenant = %(tenant)s AND study_id = %(study)s
                 UNION SELECT 'instances/' || location FROM quarantined_instance
                 WHERE tenant = %(tenant)s AND study_id = %(study)s))""",
        {"tenant": tenant, "study": study_id},
    ).fetchone()
    assert row is not None
    return int(row["n"])
