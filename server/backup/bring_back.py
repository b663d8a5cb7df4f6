"""After the database: the files that its rows name, and the studies that were under way."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.database import Connection
from pipeline.queue import defer_step, deferring_app
from pipeline.store import get_study
from server.backup.folder import BackupFolder, BackupRecord
from server.backup.objects import every_named_file, place_of, see, tenants
from server.backup.verify import manifest
from storage.object_store import ObjectStore

_WRITTEN_AT = re.compile(r"(.+)\.([0-9a-f]{16})")


@dataclass
class Brought:
    """named: files that rows name. whole: of these, here with their digest. lost: keys of the others."""

    named: int = 0
    whole: int = 0
    lost: list[str] = field(default_factory=list)


def bring_objects(
    conn: Connection,
    folder: BackupFolder,
    record: BackupRecord,
    data: Path,
    remote: ObjectStore | None = None,
) -> Brought:
    """Every file that the restored rows name, each checked by its digest where it now lies.

    remote: the object store that has kept them; whether each is there is asked, its bytes are not fetched.
    """
    brought = Brought()
    for tenant in tenants(conn):
        see(conn, tenant)
        for one in every_named_file(conn, tenant):
            brought.named += 1
            target = data / one.key
            if remote is not None:
                found = remote.head(one.key) is not None
                brought.whole += found
                brought.lost += [] if found else [one.key]
                continue
            try:
                _copy(place_of(folder.objects, one.key, one.digest), target)
                is_whole = one.is_whole(target)
            except FileNotFoundError:
                is_whole = False
            if is_whole:
                brought.whole += 1
            else:
                target.unlink(missing_ok=True)
                brought.lost.append(one.key)
        for row in conn.execute(
            "SELECT DISTINCT study_id::text AS id FROM result WHERE tenant = %s", (tenant,)
        ).fetchall():
            _bring_latest(folder.objects, data, f"results/{row['id']}")
    for line in manifest(folder, record):
        if line["kind"] == "beside" and line["key"].startswith("models/"):
            _copy(folder.objects / Path(line["key"]).with_name(line["as"]), data / line["key"])
    return brought


def _bring_latest(objects: Path, data: Path, below: str) -> None:
    """Of each file that no row names the one that was written last."""
    latest: dict[str, tuple[str, Path]] = {}
    for path in (objects / below).rglob("*"):
        match = _WRITTEN_AT.fullmatch(path.name)
        key = path.relative_to(objects).with_name(match[1]).as_posix() if match else ""
        is_report = key.endswith((".png", "/report.json", "/report.pdf"))
        if match and is_report and match[2] > latest.get(key, ("", path))[0]:
            latest[key] = (match[2], path)
    for key, (_, path) in latest.items():
        _copy(path, data / key)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    os.chmod(target, 0o640)


def begin_again(conn: Connection, database_url: str, lost: Iterable[str]) -> int:
    """Studies that were between two steps: what one step had left for the next is not in a backup, so they start at
    the first. What was made and not yet acknowledged by anybody is made again, where a file of it is lost.

    Returns how many. In the caller's transaction.
    """
    queue = deferring_app(database_url)
    gone = [key.removeprefix("results/") for key in lost if key.startswith("results/")]
    count = 0
    try:
        for tenant in tenants(conn):
            see(conn, tenant)
            for row in conn.execute(_UNDER_WAY, {"tenant": tenant, "gone": gone}).fetchall():
                values: dict[str, Any] = {"tenant": tenant, "study": row["id"], "revision": row["revision"]}
                for statement in _UNDO:
                    conn.execute(statement, values)
                defer_step(queue, conn, get_study(conn, tenant, row["id"]))
                count += 1
    finally:
        queue.close()
    return count


_UNDER_WAY = """
    SELECT id, revision FROM study s
    WHERE tenant = %(tenant)s
      AND (status IN ('assembled', 'routed', 'held', 'decoded', 'inferred')
           OR (status = 'encoded'
               AND EXISTS (SELECT 1 FROM result_object o WHERE o.tenant = s.tenant AND o.study_id = s.id
                           AND o.revision = s.revision AND o.location = ANY (%(gone)s))
               AND NOT EXISTS (SELECT 1 FROM delivery d JOIN result_object o USING (tenant, sop_instance_uid)
                               WHERE o.tenant = s.tenant AND o.study_id = s.id AND o.revision = s.revision
                                 AND d.acknowledged_at IS NOT NULL)))
    ORDER BY created_at FOR UPDATE
"""
_UNDO = (
    """DELETE FROM delivery d USING result_object o
       WHERE o.tenant = %(tenant)s AND o.study_id = %(study)s AND o.revision = %(revision)s
         AND d.tenant = o.tenant AND d.sop_instance_uid = o.sop_instance_uid""",
    "DELETE FROM result_object WHERE tenant = %(tenant)s AND study_id = %(study)s AND revision = %(revision)s",
    "DELETE FROM result WHERE tenant = %(tenant)s AND study_id = %(study)s AND revision = %(revision)s",
    """UPDATE study SET status = 'assembled', reason_code = NULL, reason_text = NULL, updated_at = now()
       WHERE tenant = %(tenant)s AND id = %(study)s""",
    """INSERT INTO study_event (tenant, study_id, revision, event, detail)
       VALUES (%(tenant)s, %(study)s, %(revision)s, 'study_assembled', '{"after": "restore"}')""",
)
