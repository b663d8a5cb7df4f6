"""`radmeter restore` from its beginning to its proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from pipeline import audit
from pipeline.database import Database
from pipeline.migrations import migrate
from pipeline.protection.erase import Erasure
from pipeline.protection.erase_objects import read_register, remove_objects, replay_erasures
from server.backup.bring_back import begin_again, bring_objects
from server.backup.folder import BackupFolder
from server.backup.proof import Proof, prove
from server.backup.restore import choose, recover_database, running
from server.installation import owner_connection
from server.object_store import durable_store, object_store
from server.settings import Settings
from storage.folder_store import FolderStore


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
            erased = replay_erasures(conn, _register(settings, folder))
            brought = bring_objects(conn, folder, record, settings.data_directory, object_store(settings))
            proof = prove(conn, recovered, brought, now=clock())
            again = begin_again(conn, ready.database_url, brought.lost)
            detail = {
                "backup": record.name,
                "to_time": to_time and to_time.isoformat(),
                "proven": proof.holds,
                "lost": len(brought.lost),
                "erased": erased,
            }
            audit.record(conn, None, audit.AuditEvent.BACKUP_RESTORED, detail)
        if erased:
            _remove_files(ready, now=clock())
    return replace(proof, begun_again=again, erased_again=erased)


def _register(settings: Settings, folder: BackupFolder) -> list[Erasure]:
    """What was erased, as far as the backup and the object store of the installation know it."""
    stores = [FolderStore(folder.root), *([durable_store(settings)] if settings.objects else [])]
    known = {erasure.id: erasure for store in stores for erasure in read_register(store)}
    return sorted(known.values(), key=lambda erasure: erasure.at)


def _remove_files(settings: Settings, *, now: datetime) -> None:
    """What was brought back of studies that had been erased."""
    database = Database(settings.database_url, pool_size_max=1)
    try:
        remove_objects(database, FolderStore(settings.data_directory), now=now, may_arrive=timedelta(0))
    finally:
        database.close()
