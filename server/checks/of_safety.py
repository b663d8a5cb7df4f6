"""Checks of what must be there after a disaster: backups, and the keys without which they cannot be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from server import sealing
from server.backup.folder import BackupFolder
from server.checks.finding import Check, Finding, Ground
from server.errors import BackupFailed, SettingInvalid

_BACKUP_LATE = timedelta(hours=26)


def backup(ground: Ground) -> Finding | None:
    """Of an installation that says where its backups lie."""
    if not ground.settings.backup_folder:
        return None
    means = "what happened since then is lost if this machine is lost"
    try:
        taken = BackupFolder(Path(ground.settings.backup_folder)).backups()
    except (BackupFailed, OSError) as error:
        return Finding(
            f"the backups cannot be looked at: {error}", means, "mount the folder of RADMETER_BACKUP"
        )
    if not taken:
        return Finding("no backup was taken yet", means, "radmeter backup")
    hours = round((datetime.now(UTC) - taken[-1].finished_at).total_seconds() / 3600)
    if hours > _BACKUP_LATE.total_seconds() / 3600:
        return Finding(f"the newest backup is {hours} hours old", means, "radmeter backup, and each night")
    if taken[-1].problems:
        return Finding(
            f"the newest backup found what was not whole: {taken[-1].problems[0]}",
            "this file cannot be restored",
            "have the study sent again (docs/backup.md, When something is wrong)",
        )
    return None


def master_keys(ground: Ground) -> Finding | None:
    """Every key of a tenant can be opened with a master key that is here."""
    means = "what is sealed cannot be read, and nothing new is stored"
    do = "bring its file back from where the copy is kept, name it in RADMETER_MASTER_KEYS (docs/data_protection.md)"
    try:
        masters = sealing.master_keys(ground.settings)
    except SettingInvalid as error:
        return Finding(str(error), means, do)
    here = [one.id for one in masters.keys] if masters else []
    for tenant in ground.tenants():
        row = ground.database.execute(
            """SELECT master_id FROM tenant_key WHERE tenant = %s AND wrapped IS NOT NULL
               AND NOT master_id = ANY(%s) LIMIT 1""",
            (tenant, here),
        ).fetchone()
        if row is not None:
            return Finding(f"the master key {row['master_id']} of tenant {tenant} is not here", means, do)
    return None


CHECKS = (
    Check("the master keys are here", master_keys),
    Check("the backup is not old", backup, needs_database=False),
)
