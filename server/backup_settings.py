"""Settings of backups, and of the search for rot."""

from __future__ import annotations

from dataclasses import dataclass

from server.errors import SettingInvalid
from server.setting import SettingsPart, setting


@dataclass(frozen=True)
class BackupSettings(SettingsPart):
    backup_folder: str = setting(
        "",
        "BACKUP",
        "Folder for backups, best on another machine's disk; `radmeter serve` keeps the WAL and new objects there.",
    )
    scrub_mib_per_minute: int = setting(
        200,
        "SCRUB_MIB_PER_MINUTE",
        "MiB of stored files that workers read again each minute to find rot; 0 = none.",
    )

    def check(self) -> None:
        if not 0 <= self.scrub_mib_per_minute <= 100_000:
            raise SettingInvalid("scrub_mib_per_minute", str(self.scrub_mib_per_minute), "0 to 100000 MiB")
