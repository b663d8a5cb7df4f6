"""Removes what the policy lets go, in bounded batches: decided and noted first, then the files, then done."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from pipeline import audit, store
from pipeline.database import Connection, Database
from pipeline.retention import Due, due, lock_holds, policy_of
from pipeline.services import Folders
from pipeline.status import TERMINAL
from pipeline.stored_files import Kind, named_files
from storage.remote_objects import RemoteObjects

log = logging.getLogger("radmeter.retention")

BATCH = 100
_KIND_OF: dict[str, Kind] = {"images": "instance", "results": "result", "quarantined": "quarantined"}
_LOCK = "radmeter.retention"
# What a step had left for the next and nobody swept, because the worker died between the end and the sweeping.
_WORK_KEPT = timedelta(days=1)


@dataclass(frozen=True)
class Removed:
    studies: int = 0
    files: int = 0
    bytes: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(self.studies + other.studies, self.files + other.files, self.bytes + other.bytes)


def run_retention(
    database: Database, folders: Folders, tenant: str, *, now: datetime, time_s: float = 20.0
) -> Removed:
    """One round of one tenant: what was interrupted, then what is due, until it is done or the time is over.

    One process at a time; another that is at it is left alone.
    """
    removed = Removed()
    deadline = time.monotonic() + time_s
    with database.transaction(tenant) as guard:
        row = guard.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0)) AS mine", (f"{_LOCK}:{tenant}",)
        ).fetchone()
        if row is None or not row["mine"]:
            return removed
        for number, what, study_id in _interrupted(database, tenant):
            removed += _remove(database, folders, tenant, number, what, study_id, now)
        removed += _quarantined(database, folders, tenant, now)
        while time.monotonic() < deadline:
            with database.transaction(tenant) as conn:
                batch = due(conn, tenant, now=now, limit=BATCH)
            for one in batch:
                decided = _decide(database, tenant, one, now)
                if decided is not None:
                    removed += _remove(database, folders, tenant, decided, one.what, one.study_id, now)
                if time.monotonic() > deadline:
                    break
            if len(batch) < BATCH:
                break
    return removed


def _interrupted(database: Database, tenant: str) -> list[tuple[int, str, UUID | None]]:
    with database.transaction(tenant) as conn:
        rows = conn.execute(
            """SELECT removal_id, what, study_id FROM retention_removal
               WHERE tenant = %s AND done_at IS NULL ORDER BY removal_id""",
            (tenant,),
        ).fetchall()
    return [(row["removal_id"], row["what"], row["study_id"]) for row in rows]


def _decide(database: Database, tenant: str, one: Due, now: datetime) -> int | None:
    """Note it, if it is due still: images that arrive and holds that are placed wait for this row, or this for them."""
    with database.transaction(tenant) as conn:
        lock_holds(conn, tenant)
        study = store.lock_study(conn, tenant, one.study_id)
        still = {each.what for each in due(conn, tenant, now=now, limit=2, study_id=one.study_id)}
        if one.what not in still:
            return None
        store.note(conn, study, f"{one.what}_removed", detail={"days": one.days})
        return _note(conn, tenant, one.study_id, one.what, one.days, now)


def _note(conn: Connection, tenant: str, study_id: UUID | None, what: str, days: int, now: datetime) -> int:
    row = conn.execute(
        """INSERT INTO retention_removal (tenant, study_id, what, days, decided_at) VALUES (%s, %s, %s, %s, %s)
           RETURNING removal_id""",
        (tenant, study_id, what, days, now),
    ).fetchone()
    assert row is not None
    return int(row["removal_id"])


def _remove(
    database: Database,
    folders: Folders,
    tenant: str,
    number: int,
    what: str,
    study_id: UUID | None,
    now: datetime,
) -> Removed:
    """The files of a removal that is noted; a file that is gone already is no error."""
    files = bytes_ = 0
    if study_id is not None:
        with database.transaction(tenant) as conn:
            named = list(named_files(conn, tenant, _KIND_OF[what], studies=[study_id], removed_too=True))
        root = folders.results if what == "results" else folders.instances
        here = set(folders.objects.present_below(root, [one.location for one in named]))
        files, bytes_ = len(here), sum(one.size_bytes or 0 for one in named if one.location in here)
        _delete(folders, root, [one.location for one in named])
        if what == "results":  # the report too, which no row names
            folders.objects.discard(root / str(study_id))
    with database.transaction(tenant) as conn:
        conn.execute(
            "UPDATE retention_removal SET done_at = %s, files = %s, bytes = %s WHERE tenant = %s AND removal_id = %s",
            (now, files, bytes_, tenant, number),
        )
        detail = {"study": str(study_id or ""), "what": what, "files": files}
        audit.record(conn, tenant, audit.AuditEvent.OBJECTS_REMOVED, detail)
    log.info("objects_removed", extra={"tenant": tenant, "study": str(study_id or ""), "count": files})
    return Removed(1, files, bytes_)


def _quarantined(database: Database, folders: Folders, tenant: str, now: datetime) -> Removed:
    """Images that contradicted others, by the day on which they came; those of a study that is held stay."""
    with database.transaction(tenant) as conn:
        days = policy_of(conn, tenant).quarantine_days
        if days is None:
            return Removed()
        lock_holds(conn, tenant)
        rows = conn.execute(_QUARANTINED, {"tenant": tenant, "days": days, "now": now}).fetchall()
        if not rows:
            return Removed()
        locations = [row["location"] for row in rows]
        sizes = [_size(folders.instances / location) for location in locations]
        _delete(folders, folders.instances, locations)
        conn.execute(
            "DELETE FROM quarantined_instance WHERE tenant = %s AND id = ANY (%s)",
            (tenant, [row["id"] for row in rows]),
        )
        number = _note(conn, tenant, None, "quarantined", days, now)
        conn.execute(
            "UPDATE retention_removal SET done_at = %s, files = %s, bytes = %s WHERE tenant = %s AND removal_id = %s",
            (now, len(rows), sum(sizes), tenant, number),
        )
        detail = {"what": "quarantined", "files": len(rows)}
        audit.record(conn, tenant, audit.AuditEvent.OBJECTS_REMOVED, detail)
    return Removed(0, len(rows), sum(sizes))


_QUARANTINED = """
    SELECT q.id, q.location FROM quarantined_instance q LEFT JOIN study s ON s.tenant = q.tenant AND s.id = q.study_id
    WHERE q.tenant = %(tenant)s AND q.received_at < %(now)s - make_interval(days => %(days)s)
      -- One file may have come several times.
      AND NOT EXISTS (SELECT 1 FROM quarantined_instance y WHERE y.tenant = q.tenant AND y.location = q.location
                      AND y.received_at >= %(now)s - make_interval(days => %(days)s))
      AND NOT EXISTS (SELECT 1 FROM retention_hold h WHERE h.tenant = q.tenant AND h.released_at IS NULL
                      AND (h.study_id = q.study_id OR h.patient_id = s.header->>'patient_id'
                           OR (h.study_id IS NULL AND h.patient_id IS NULL)))
    ORDER BY q.received_at LIMIT 1000
"""


def sweep_work(database: Database, folders: Folders, tenant: str, *, now: datetime) -> int:
    """Remove what was left in the work folder of studies that have come to an end a day ago. Returns how many."""
    if not folders.work.is_dir():
        return 0
    left = [key for path in folders.work.iterdir() if (key := store.study_key(path.name))]
    with database.transaction(tenant) as conn:
        rows = conn.execute(
            """SELECT id::text AS id FROM study
               WHERE tenant = %s AND id = ANY (%s) AND status = ANY (%s) AND updated_at < %s""",
            (tenant, left, [str(one) for one in TERMINAL], now - _WORK_KEPT),
        ).fetchall()
    for row in rows:
        shutil.rmtree(folders.work / row["id"], ignore_errors=True)
    return len(rows)


def _delete(folders: Folders, root: Path, locations: Sequence[str]) -> None:
    """These files alone: another may be arriving beside them. One that is gone already is no error."""
    if isinstance(folders.objects, RemoteObjects):
        folders.objects.store.delete([f"{root.name}/{location}" for location in locations])
    for location in locations:
        (root / location).unlink(missing_ok=True)
    for folder in {(root / location).parent for location in locations}:
        with contextlib.suppress(OSError):  # a file is in it still, or somebody has just removed it
            folder.rmdir()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
