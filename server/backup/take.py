"""One backup: base backup of the database, objects, manifest; a backup once all of it lies there."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from pipeline import audit
from pipeline.database import Connection
from pipeline.stored_files import sha256_of
from server.backup.folder import BackupFolder, BackupRecord
from server.backup.objects import CopyCount, copy_everything, see, tenants
from server.backup.tools import identify, run
from server.errors import BackupFailed
from server.installation import owner_connection
from server.object_store import object_store
from server.settings import Settings

NOT_PERMITTED = (
    "the database does not let this user replicate: its own operator backs it up (managed point-in-time recovery), "
    "here are objects and manifest only"
)
_SEGMENT = re.compile(r"START WAL LOCATION: \S+ \(file ([0-9A-F]{24})\)")
_COUNTED = """
    SELECT 'study' AS what, count(*) AS n FROM study WHERE tenant = %(tenant)s
    UNION ALL SELECT 'instance', count(*) FROM instance WHERE tenant = %(tenant)s
    UNION ALL SELECT 'result_object', count(*) FROM result_object WHERE tenant = %(tenant)s
    UNION ALL SELECT 'usage_event', count(*) FROM billing.usage_event WHERE tenant = %(tenant)s
    UNION ALL SELECT 'statement', count(*) FROM billing.statement WHERE tenant = %(tenant)s
    UNION ALL SELECT 'journal_entry', count(*) FROM billing.journal_entry WHERE tenant = %(tenant)s
"""


def folder_of(settings: Settings, named: Path | None) -> BackupFolder:
    """The folder that is named, or that the settings name. Raises `BackupFailed`."""
    root = named or (Path(settings.backup_folder) if settings.backup_folder else None)
    if root is None:
        raise BackupFailed("say where backups lie: --to, --from or RADMETER_BACKUP")
    root = root.expanduser().resolve()
    if root.is_relative_to(settings.data_directory):
        raise BackupFailed(f"{root} lies in the data directory: a backup belongs on another disk")
    return BackupFolder(root)


def take_backup(settings: Settings, to: BackupFolder, clock: Callable[[], datetime]) -> BackupRecord:
    """Raises `BackupFailed`; then nothing lies there that is taken for a backup.

    settings: with the URL of the database.
    """
    to.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with to.locked():
        for path in to.unfinished():
            shutil.rmtree(path)
        system = identify(settings.database_url)
        if system is not None:
            to.claim(system)
        try:
            part = to.begin(clock())
            base_ended_at, segment = None, ""
            if system is not None:
                segment = _base_backup(settings.database_url, part / "postgres")
            with owner_connection(settings.database_url) as conn:
                if system is not None:
                    base_ended_at = _now(conn)
                record = _with_objects(settings, to, part, conn, clock, base_ended_at, segment)
            to.finish(part, record)
        except OSError as error:
            raise BackupFailed(f"{to.root}: {error.strerror or error}") from error
    return record


def _base_backup(url: str, place: Path) -> str:
    """Returns the first segment of the WAL that it needs."""
    run(
        "pg_basebackup",
        ["-D", place, "--wal-method=stream", "--checkpoint=fast", "--manifest-checksums=SHA256"],
        url=url,
    )
    match = _SEGMENT.search((place / "backup_label").read_text())
    if match is None:
        raise BackupFailed("the base backup does not say where it begins")
    return match[1]


def _with_objects(
    settings: Settings,
    to: BackupFolder,
    part: Path,
    conn: Connection,
    clock: Callable[[], datetime],
    base_ended_at: datetime | None,
    segment: str,
) -> BackupRecord:
    manifest = part / "objects.jsonl"
    with manifest.open("w", encoding="utf-8") as file:
        count = copy_everything(conn, settings.data_directory, to, file, object_store(settings))
    return BackupRecord(
        name=part.stem,
        base_ended_at=base_ended_at,
        no_database_because="" if base_ended_at else NOT_PERMITTED,
        finished_at=clock(),
        database=str(conninfo_to_dict(settings.database_url).get("dbname", "")),
        first_segment=segment,
        audit_head=audit.head(conn),
        rows=count_rows(conn),
        objects=count.objects,
        objects_sha256=sha256_of(manifest),
        copied_bytes=count.copied_bytes,
        secrets=_secrets(settings.secrets_directory),
        problems=_problems(count),
    )


def count_rows(conn: Connection) -> dict[str, int]:
    """Of the tables that matter, over all tenants."""
    counts: Counter[str] = Counter()
    for tenant in tenants(conn):
        see(conn, tenant)
        counts.update({row["what"]: row["n"] for row in conn.execute(_COUNTED, {"tenant": tenant})})
    return {**counts, "audit_event": int(audit.head(conn).partition(":")[0])}


def _problems(count: CopyCount) -> tuple[str, ...]:
    more = count.problem_count - len(count.problems)
    return (*count.problems, *([f"and {more} more"] if more else []))


def _secrets(folder: Path) -> tuple[str, ...]:
    """Names alone: what protects the data does not lie beside it."""
    return tuple(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ()


def _now(conn: Connection) -> datetime:
    row = conn.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row is not None
    now: datetime = row["now"]
    return now
