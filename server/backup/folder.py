"""The folder that takes the backups of one installation.

installation.json        whose backups these are: system identifier and timeline of its database
20261127T004745Z/        one backup: postgres/ (base backup), objects.jsonl (manifest), backup.json (written last)
20261127T014745Z.part/   one that is being made, or was not finished: never taken for a backup
wal/                     every change of the database since the oldest backup
objects/                 the files, by location and digest; shared by all backups
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.errors import BackupFailed

_NAME = re.compile(r"\d{8}T\d{6}Z")
PART = ".part"


@dataclass(frozen=True)
class BackupRecord:
    """What `backup.json` says.

    base_ended_at: the earliest instant that it can be restored to; None where it holds no database.
    no_database_because: a sentence, where it holds none. database: name in the server. heads: of the audit chain.
    rows: how many rows the important tables had. objects_sha256: of the manifest. secrets: names only.
    problems: what was not whole at the source.
    """

    name: str
    base_ended_at: datetime | None
    no_database_because: str
    finished_at: datetime
    database: str
    first_segment: str
    audit_head: str
    rows: dict[str, int]
    objects: int
    objects_sha256: str
    copied_bytes: int
    secrets: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        record = asdict(self)
        for name in ("base_ended_at", "finished_at"):
            record[name] = record[name] and record[name].isoformat()
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> BackupRecord:
        values = dict(record)
        for name in ("base_ended_at", "finished_at"):
            values[name] = values[name] and datetime.fromisoformat(values[name])
        for name in ("secrets", "problems"):
            values[name] = tuple(values[name])
        return cls(**values)


@dataclass(frozen=True)
class BackupFolder:
    root: Path

    @property
    def wal(self) -> Path:
        return self.root / "wal"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    def base_of(self, record: BackupRecord) -> Path:
        return self.root / record.name / "postgres"

    def manifest_of(self, record: BackupRecord) -> Path:
        return self.root / record.name / "objects.jsonl"

    def require(self) -> None:
        if not self.root.is_dir():
            raise BackupFailed(f"there is no folder {self.root}")

    @contextmanager
    def locked(self, purpose: str = "lock") -> Iterator[None]:
        """Alone with this folder. Raises `BackupFailed` while another process is."""
        with (self.root / purpose).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupFailed(
                    f"another process works on the backups in {self.root}: wait for it"
                ) from None
            yield

    def claim(self, system: tuple[str, int]) -> None:
        """Make the folder this database's own. Raises `BackupFailed` if it holds the backups of another.

        A restored database is another: its history has parted from the one whose backups lie here.
        """
        path = self.root / "installation.json"
        ours = {"system_identifier": system[0], "timeline": system[1]}
        try:
            theirs = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            write_whole(path, json.dumps(ours))
            return
        if theirs != ours:
            raise BackupFailed(
                f"{self.root} holds the backups of another database, or of this one before it was restored: "
                "name a new folder"
            )

    def begin(self, now: datetime) -> Path:
        """A new place for a backup. What an earlier one left unfinished is not looked at any more."""
        part = self.root / f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}{PART}"
        if part.with_suffix("").exists():
            raise BackupFailed(f"there is a backup of this second: {part.stem}")
        part.mkdir()
        return part

    def finish(self, part: Path, record: BackupRecord) -> None:
        """From here on it is a backup."""
        write_whole(part / "backup.json", json.dumps(record.as_json(), indent=1))
        sync_folder(part)
        os.rename(part, part.with_suffix(""))
        sync_folder(self.root)

    def backups(self) -> list[BackupRecord]:
        """The whole ones, oldest first."""
        self.require()
        found = [path for path in sorted(self.root.iterdir()) if _NAME.fullmatch(path.name)]
        return [
            BackupRecord.from_json(json.loads((path / "backup.json").read_text(encoding="utf-8")))
            for path in found
        ]

    def unfinished(self) -> list[Path]:
        return sorted(path for path in self.root.iterdir() if path.name.endswith(PART) and path.is_dir())


def write_whole(path: Path, text: str) -> None:
    """Durably, and all of it or nothing."""
    beside = path.with_name(f"{path.name}.new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
