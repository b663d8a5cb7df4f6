"""Reads stored files again, at a bounded rate, and compares them with their rows: bit rot is found before a reader is.

A received image that has changed is set aside, so that no model reads it, and so that the same image sent again takes
its place.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pipeline import audit
from pipeline.database import Connection, Database
from pipeline.errors import StudyFailed
from pipeline.services import Folders, Services
from pipeline.store import StudyRecord
from pipeline.stored_files import FOLDER_OF, KINDS, Kind, StoredFile, named_files
from storage.errors import ObjectDamaged

log = logging.getLogger("radmeter.scrub")

ASIDE = ".rotten"
_AT_ONCE = 50

Found = Literal["whole", "rotten", "missing"]


@dataclass(frozen=True)
class Scrubbed:
    files: int = 0
    bytes: int = 0
    rotten: int = 0
    missing: int = 0

    def __add__(self, other: Scrubbed) -> Scrubbed:
        return Scrubbed(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(frozen=True)
class Pace:
    """How fast to read. bytes_s: on average; bytes_max: in this round; None reads to the end of a pass."""

    bytes_s: float
    bytes_max: int | None = None


def scrub(
    database: Database,
    folders: Folders,
    tenant: str,
    pace: Pace,
    *,
    now: datetime,
    sleep: Callable[[float], None] = time.sleep,
) -> Scrubbed:
    """Go on where the last round stopped, one kind of file after the other. One process at a time."""
    done = Scrubbed()
    with database.transaction(tenant) as guard:
        row = guard.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0)) AS mine", (f"radmeter.scrub:{tenant}",)
        ).fetchone()
        if row is None or not row["mine"]:
            return done
        for kind in KINDS:
            done += _scrub_kind(database, folders, tenant, kind, pace, done.bytes, now, sleep)
    return done


def _scrub_kind(
    database: Database,
    folders: Folders,
    tenant: str,
    kind: Kind,
    pace: Pace,
    before: int,
    now: datetime,
    sleep: Callable[[float], None],
) -> Scrubbed:
    done = Scrubbed()
    while pace.bytes_max is None or before + done.bytes < pace.bytes_max:
        with database.transaction(tenant) as conn:
            after = _position(conn, tenant, kind, now)
            batch = list(named_files(conn, tenant, kind, after=after, limit=_AT_ONCE))
            known = _known(conn, tenant, kind, [one.row_key for one in batch])
        here = Scrubbed()
        for one in batch:
            here += _look(database, folders, one, now, looks_for_mended=one.row_key in known)
        with database.transaction(tenant) as conn:
            _note_position(conn, tenant, kind, batch[-1].row_key if len(batch) == _AT_ONCE else "", here, now)
        done += here
        if len(batch) < _AT_ONCE:
            break
        sleep(here.bytes / pace.bytes_s)
    return done


def require_whole(services: Services, study: StudyRecord, rows: Iterable[dict[str, Any]]) -> None:
    """Raise `StudyFailed` where an image is not what was received: no model reads it. rows: of `instance`.

    Files of an object store were compared when they were fetched.
    """
    if services.folders.objects.is_remote:
        return
    damaged, now = 0, services.database.now()
    for row in rows:
        one = StoredFile(
            study.tenant, "instance", row["sop_instance_uid"], str(study.id), row["location"], row["blake3"], None
        )  # fmt: skip
        damaged += _look(services.database, services.folders, one, now).rotten
    if damaged:
        raise StudyFailed(
            "IMAGES_DAMAGED",
            f"{damaged} images are not what was received: the disk has changed them. Send the study again, and have "
            "the disk looked at.",
        )


def _look(
    database: Database, folders: Folders, one: StoredFile, now: datetime, *, looks_for_mended: bool = False
) -> Scrubbed:
    path = (folders.results if FOLDER_OF[one.kind] == "results" else folders.instances) / one.location
    found, size = _read(folders, one, path)
    if found != "whole" or looks_for_mended:
        with database.transaction(one.tenant) as conn:
            _note(conn, one, found, now)
    if found == "rotten" and one.kind == "instance" and not folders.objects.is_remote:
        with contextlib.suppress(FileNotFoundError):
            path.rename(path.with_name(path.name + ASIDE))
    return Scrubbed(1, size, int(found == "rotten"), int(found == "missing"))


def _read(folders: Folders, one: StoredFile, path: Path) -> tuple[Found, int]:
    try:
        with folders.objects.at_hand(one.tenant, {path: one.is_whole}):
            return ("whole" if one.is_whole(path) else "rotten"), path.stat().st_size
    except FileNotFoundError:
        return "missing", 0
    except ObjectDamaged:
        return "rotten", 0


def _note(conn: Connection, one: StoredFile, found: Found, now: datetime) -> None:
    """Told once, when it is found; forgotten when the file is whole again."""
    key = {"tenant": one.tenant, "kind": one.kind, "row_key": one.row_key}
    if found == "whole":
        conn.execute(
            "DELETE FROM rotten_file WHERE tenant = %(tenant)s AND kind = %(kind)s AND row_key = %(row_key)s",
            key,
        )
        return
    row = conn.execute(
        """INSERT INTO rotten_file (tenant, kind, row_key, study_id, found, found_at)
           VALUES (%(tenant)s, %(kind)s, %(row_key)s, nullif(%(study)s, '')::uuid, %(found)s, %(now)s)
           ON CONFLICT DO NOTHING RETURNING true AS is_new""",
        key | {"study": one.study_id, "found": found, "now": now},
    ).fetchone()
    if row is not None:
        log.error("object_rotten", extra={"tenant": one.tenant, "study": one.study_id, "state": found})
        detail = {"study": one.study_id, "kind": one.kind, "found": found}
        audit.record(conn, one.tenant, audit.AuditEvent.OBJECT_ROTTEN, detail)


def _known(conn: Connection, tenant: str, kind: Kind, row_keys: list[str]) -> set[str]:
    rows = conn.execute(
        "SELECT row_key FROM rotten_file WHERE tenant = %s AND kind = %s AND row_key = ANY (%s)",
        (tenant, kind, row_keys),
    ).fetchall()
    return {row["row_key"] for row in rows}


def _position(conn: Connection, tenant: str, kind: Kind, now: datetime) -> str:
    row = conn.execute(
        """INSERT INTO scrub_position (tenant, kind, began_at) VALUES (%s, %s, %s)
           ON CONFLICT (tenant, kind) DO UPDATE SET tenant = excluded.tenant RETURNING row_key""",
        (tenant, kind, now),
    ).fetchone()
    assert row is not None
    return str(row["row_key"])


def _note_position(
    conn: Connection, tenant: str, kind: Kind, row_key: str, here: Scrubbed, now: datetime
) -> None:
    """row_key: empty at the end of a pass; the next begins at the first file."""
    conn.execute(
        """UPDATE scrub_position SET row_key = %(row_key)s,
               files = CASE WHEN began_at = finished_at THEN 0 ELSE files END + %(files)s,
               bytes = CASE WHEN began_at = finished_at THEN 0 ELSE bytes END + %(bytes)s,
               finished_at = CASE WHEN %(row_key)s = '' THEN %(now)s ELSE finished_at END,
               began_at = CASE WHEN %(row_key)s = '' THEN %(now)s ELSE began_at END
           WHERE tenant = %(tenant)s AND kind = %(kind)s""",
        {
            "tenant": tenant,
            "kind": kind,
            "row_key": row_key,
            "files": here.files,
            "bytes": here.bytes,
            "now": now,
        },
    )


def rotten_files(conn: Connection, tenant: str, limit: int = 1000) -> list[dict[str, object]]:
    """kind, study_id, found, found_at of files that are not what their rows say, newest first."""
    return conn.execute(
        """SELECT kind, study_id, found, found_at FROM rotten_file WHERE tenant = %s
           ORDER BY found_at DESC, kind, row_key LIMIT %s""",
        (tenant, limit),
    ).fetchall()
