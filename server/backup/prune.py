"""Which backups stay, and what goes with those that do not: WAL before the oldest, files that none of them names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from server.backup.folder import BackupFolder, BackupRecord, sync_folder
from server.backup.tools import run
from server.backup.verify import manifest
from server.errors import BackupFailed


def kept(backups: Iterable[BackupRecord], *, daily: int, weekly: int) -> set[str]:
    """Names of those that stay: the last of each of the latest days and ISO weeks (UTC) that have one."""
    days: dict[str, str] = {}
    weeks: dict[str, str] = {}
    for one in sorted(backups, key=lambda backup: backup.finished_at):
        at = one.finished_at.astimezone(UTC)
        days[at.strftime("%Y-%m-%d")] = one.name
        weeks[at.strftime("%G-%V")] = one.name
    newest_days = sorted(days, reverse=True)[:daily]
    newest_weeks = sorted(weeks, reverse=True)[:weekly]
    return {days[day] for day in newest_days} | {weeks[week] for week in newest_weeks}


def prune(folder: BackupFolder, *, daily: int, weekly: int) -> tuple[list[str], int]:
    """Remove the others. Returns their names, and how many files went that no backup needs any more.

    Objects that came after the newest backup began are in no manifest yet, and stay.
    """
    if daily < 1:
        raise BackupFailed("--daily is 1 or more: the newest backup always stays")
    folder.require()
    with folder.locked():
        backups = folder.backups()
        if not backups:
            return [], 0
        stay = kept(backups, daily=daily, weekly=weekly)
        gone = [one for one in backups if one.name not in stay]
        for one in gone:
            # First it is none any more, then it is removed: what is cut off half way is never taken for a backup.
            part = folder.root / f"{one.name}.part"
            os.rename(folder.root / one.name, part)
            sync_folder(folder.root)
            shutil.rmtree(part)
        left = [one for one in backups if one.name in stay]
        segments = [one.first_segment for one in left if one.first_segment]
        if segments and folder.wal.is_dir():
            run("pg_archivecleanup", [folder.wal, min(segments)])
        return [one.name for one in gone], _remove_unnamed(folder, left)


def _remove_unnamed(folder: BackupFolder, left: list[BackupRecord]) -> int:
    lines = (line for one in left for line in manifest(folder, one) if line["as"])
    named = {str(Path(line["key"]).with_name(line["as"])) for line in lines}
    newest = max(left, key=lambda backup: backup.finished_at)
    began = datetime.strptime(newest.name, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    removed = 0
    for path in folder.objects.rglob("*"):
        # The time of the copy, not of the file's content, which is that of the source.
        is_old = path.is_file() and path.stat().st_ctime < began
        if is_old and str(path.relative_to(folder.objects)) not in named:
            path.unlink()
            removed += 1
    return removed
