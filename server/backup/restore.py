"""An installation from its backup, as it was at an instant: database, then what its rows name."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import psycopg

from server.backup.folder import BackupFolder, BackupRecord
from server.backup.tools import give_to_server, run
from server.embedded_postgres import EmbeddedPostgres
from server.errors import BackupFailed
from server.settings import Settings

# Of the server that was backed up; this one makes its own.
_OF_THE_OLD_SERVER = (".handle_pids.json", "log", "postmaster.pid", ".s.PGSQL.5432.lock")
_RECOVERY_TIMEOUT_S = 24 * 3600
_OURS = "# written by radmeter restore"


@dataclass(frozen=True)
class Recovered:
    """recovered_to: the last transaction that is in the database was committed then; None where none was replayed."""

    settings: Settings
    record: BackupRecord
    to_time: datetime | None
    recovered_to: datetime | None


def choose(folder: BackupFolder, to_time: datetime | None, name: str = "") -> BackupRecord:
    """The latest backup from which that instant can be reached. Raises `BackupFailed`."""
    found = [one for one in folder.backups() if not name or one.name == name]
    if not found:
        raise BackupFailed(f"there is no backup {name} in {folder.root}".replace("  ", " "))
    with_database = [one for one in found if one.base_ended_at is not None]
    if not with_database:
        raise BackupFailed(f"{found[-1].name} holds no database: {found[-1].no_database_because}")
    early_enough = [one for one in with_database if to_time is None or one.base_ended_at <= to_time]  # type: ignore[operator]
    if not early_enough:
        raise BackupFailed(
            f"the earliest instant that can be restored is {with_database[0].base_ended_at}: no backup is older"
        )
    return early_enough[-1]


def recover_database(
    settings: Settings, folder: BackupFolder, record: BackupRecord, to_time: datetime | None
) -> Recovered:
    """Into the data directory, which must be empty: base backup, WAL up to `to_time`, its own history from there on.

    Raises `BackupFailed`.
    """
    data = settings.data_directory
    if data.exists() and any(data.iterdir()):
        raise BackupFailed(
            f"{data} is not empty: a restore needs a data directory of its own (RADMETER_DATA)"
        )
    data.mkdir(mode=0o755, parents=True, exist_ok=True)
    place = data / "postgres"
    try:
        shutil.copytree(folder.base_of(record), place, ignore=shutil.ignore_patterns(*_OF_THE_OLD_SERVER))
        with _wal_of(folder, record, data) as wal:
            recovered_to = _replay(place, wal, to_time)
    except OSError as error:
        raise BackupFailed(f"{data}: {error.strerror or error}") from error
    postgres = replace(settings, database_url="")
    return Recovered(postgres, record, to_time, recovered_to)


@contextmanager
def _wal_of(folder: BackupFolder, record: BackupRecord, data: Path) -> Iterator[Path]:
    """The archive as the database's user can read it, with the segment that was being written under its own name."""
    wal = data / "wal"
    wal.mkdir()
    for path in sorted(folder.wal.iterdir()) if folder.wal.is_dir() else ():
        name = path.name.removesuffix(".partial")
        if name >= record.first_segment[:8] and not (wal / name).exists():
            shutil.copyfile(path, wal / name)
    yield wal
    shutil.rmtree(wal)


def _replay(place: Path, wal: Path, to_time: datetime | None) -> datetime | None:
    """Recover, and end with a database that has been shut down in order. Returns the time of its last transaction."""
    target = f"recovery_target_time = '{to_time.isoformat(sep=' ')}'" if to_time is not None else ""
    lines = (
        _OURS,
        f"""restore_command = 'cp "{wal}/%f" "%p"'""",
        "recovery_target_action = 'promote'",
        "recovery_target_timeline = 'current'",
        *([target] if target else []),
    )
    settings = place / "postgresql.auto.conf"
    before = settings.read_text()
    settings.write_text(before + "\n".join(lines) + "\n")
    (place / "recovery.signal").touch()
    for path in (place, wal):
        os.chmod(path, 0o700)
        give_to_server(path)
    log = place / "log"
    with tempfile.TemporaryDirectory(prefix="radmeter-") as socket:
        give_to_server(Path(socket))
        options = f"-h '' -k {socket}"
        try:
            run(
                "pg_ctl",
                ["-D", place, "-w", "-t", str(_RECOVERY_TIMEOUT_S), "-l", log, "-o", options, "start"],
                as_server=True,
            )
            recovered_to = _promoted(socket)
        except BackupFailed as error:
            raise BackupFailed(_why(log, str(error))) from None
        finally:
            _stop(place)
    settings.write_text(before)
    return recovered_to


def _stop(place: Path) -> None:
    """End the server there. One that could not recover ends by itself, perhaps between the look and the command."""
    pid_file = place / "postmaster.pid"
    if not pid_file.exists():
        return
    try:
        run("pg_ctl", ["-D", place, "-w", "-m", "fast", "stop"], as_server=True)
    except BackupFailed:
        if pid_file.exists():
            raise


def _promoted(socket: str) -> datetime | None:
    """Wait for the end of recovery; the time of the last transaction that was replayed."""
    last: datetime | None = None
    while True:
        try:
            with psycopg.connect(f"host={socket} user=postgres dbname=postgres", autocommit=True) as conn:
                row = conn.execute("SELECT pg_is_in_recovery(), pg_last_xact_replay_timestamp()").fetchone()
        except psycopg.OperationalError as error:  # it has ended: its log says why
            raise BackupFailed(str(error)) from error
        assert row is not None
        last = row[1] or last
        if not row[0]:
            return last
        time.sleep(0.05)


def _why(log: Path, otherwise: str) -> str:
    said = log.read_text(errors="replace") if log.exists() else ""
    if "recovery ended before configured recovery target was reached" in said:
        return "the archive ends before that instant: name an earlier one, or leave --to-time out for its end"
    fatal = [line for line in said.splitlines() if "FATAL" in line or "PANIC" in line]
    return f"the database was not recovered: {fatal[-1].split(':', 3)[-1].strip()}" if fatal else otherwise


@contextmanager
def running(recovered: Recovered) -> Iterator[Settings]:
    """The recovered database, started as the server starts it."""
    postgres = EmbeddedPostgres(recovered.settings, owns=True)
    try:
        url = postgres.url
        if recovered.record.database:
            url = url.replace("/postgres?", f"/{recovered.record.database}?")
        yield replace(recovered.settings, database_url=url)
    finally:
        postgres.stop()
