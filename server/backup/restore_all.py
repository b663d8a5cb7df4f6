"""`radmeter restore` from its beginning to its proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from pipeline import audit
from pipeline.migrations import migrate
from server.backup.bring_back import begin_again, bring_objects
from server.backup.folder import BackupFolder
from server.backup.proof import Proof, prove
from server.backup.restore import choose, recover_database, running
from server.installation import owner_connection
from server.settings import Settings


def restore_all(
    settings: Settings,
    folder: BackupFolder,
    to_time: datetime | None,
    name: str = "",
    *,
    clock: Callable[[], datetime],
) -> Proof:
    """Into the empty data directory of `settings`, always with the embedded database. Raises `BackupFailed`."""
    folder.require()
    record = choose(folder, to_time, name)
    recovered = recover_database(replace(settings, database_url=""), folder, record, to_time)
    with running(recovered) as ready:
        migrate(ready.database_url)  # the backup may be of an earlier version
        with owner_connection(ready.database_url) as conn:
            brought = bring_objects(conn, folder, record, settings.data_directory)
            proof = prove(conn, recovered, brought, now=clock())
            again = begin_again(conn, ready.database_url, brought.lost)
            detail = {
                "backup": record.name,
                "to_time": to_time and to_time.isoformat(),
                "proven": proof.holds,
                "lost": len(brought.lost),
            }
            audit.record(conn, None, audit.AuditEvent.BACKUP_RESTORED, detail)
    return replace(proof, begun_again=again)
