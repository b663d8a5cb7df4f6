"""Settings of backups."""

from __future__ import annotations

from dataclasses import dataclass

from server.setting import SettingsPart, setting


@dataclass(frozen=True)
class BackupSettings(SettingsPart):
    backup_folder: str = setting(
        "",
        "BACKUP",
        "Folder for backups, best on another machine's disk; `radmeter serve` keeps the WAL and new objects there.",
    )
