"""Settings of data protection: the keys that lie outside the database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from server.setting import SettingsPart, setting


@dataclass(frozen=True)
class ProtectionSettings(SettingsPart):
    master_keys: str = setting(
        "",
        "MASTER_KEYS",
        "Files of master keys, with commas, the current one first; what is stored is sealed. Empty = it is not.",
    )

    @property
    def master_key_files(self) -> tuple[Path, ...]:
        return tuple(Path(one.strip()).expanduser() for one in self.master_keys.split(",") if one.strip())
