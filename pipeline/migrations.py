"""Brings a database to the current schema: yoyo-migrations over the SQL of pipeline and billing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import errors
from yoyo import get_backend, read_migrations

from pipeline.errors import HalfDoneMigration, MigrationBusy, MigrationFailed, SchemaTooNew
from pipeline.schema_state import (
    MIGRATION_FOLDERS,
    migration_files,
    phase_of,
    schema_state,
)

WAIT_S = 600.0
"""How long `migrate` waits for another one that is under way, and for locks of those who work on the tables."""
# A statement that waits for a table's lock makes everybody wait behind it: it gives way and tries again.
_GIVE_WAY = "SET LOCAL lock_timeout = '3s'"
_PAUSE_S = 0.5
_LOCK = "SELECT pg_advisory_lock(hashtextextended('radmeter migrate', 0))"
_MADE_BEFORE = (
    errors.DuplicateTable,
    errors.DuplicateColumn,
    errors.DuplicateObject,
    errors.DuplicateFunction,
)


def migrate(
    database_url: str, *, wait_s: float = WAIT_S, tell: Callable[[str], None] = lambda _said: None
) -> int:
    """Apply what is missing, in order, each migration and the note of it in one transaction; returns how many.

    Only one process migrates at a time; the others wait for it, `wait_s` at most. Raises
    what `pipeline.errors` has of migrations.
    """
    deadline = time.monotonic() + wait_s
    with _alone(database_url, wait_s), _backend(database_url) as backend:
        if too_new := schema_state(database_url).too_new:
            raise SchemaTooNew(too_new[0])
        if backend.execute("SELECT 1 FROM yoyo_lock").fetchone():
            backend.break_lock()  # nobody else migrates: whoever held it was killed
            tell("removed the lock that an interrupted run had left")
        backend.ensure_internal_schema_updated()
        missing = backend.to_apply(_known())
        for migration in missing:
            _apply(backend, migration, deadline)
            tell(f"applied {migration.id}")
        _note_phases(database_url)
        return len(missing)


def mark_applied(database_url: str, name: str) -> None:
    """Note a migration as applied without applying it, where its changes are known to be whole."""
    with _alone(database_url, WAIT_S), _backend(database_url) as backend:
        missing = {migration.id: migration for migration in backend.to_apply(_known())}
        if name not in missing:
            raise MigrationFailed(name, "it is not among the migrations that are missing")
        with backend.transaction():
            backend.mark_one(missing[name])


def pending(database_url: str) -> list[str]:
    """Names of migrations that the database does not have yet."""
    return list(schema_state(database_url).missing)


def _known() -> Any:
    return read_migrations(*(str(folder) for folder in MIGRATION_FOLDERS))


def _apply(backend: Any, migration: Any, deadline: float) -> None:
    while True:
        try:
            with backend.transaction():
                backend.execute(_GIVE_WAY)
                migration.process_steps(backend, "apply")
                backend.log_migration(migration, "apply")
                backend.mark_one(migration, log=False)
            return
        except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
            if time.monotonic() > deadline:
                raise MigrationFailed(
                    migration.id, "the tables it changes are in use all the time"
                ) from error
            time.sleep(_PAUSE_S)
        except _MADE_BEFORE as error:
            raise HalfDoneMigration(migration.id, _primary(error)) from error
        except psycopg.Error as error:
            raise MigrationFailed(migration.id, _primary(error)) from error


def _primary(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error).strip()


@contextmanager
def _alone(database_url: str, wait_s: float) -> Iterator[None]:
    """Hold the lock of those who migrate; it goes with the connection, so nobody leaves it behind."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("SELECT set_config('lock_timeout', %s, false)", (f"{max(1, round(wait_s * 1000))}ms",))
        try:
            conn.execute(_LOCK)
        except errors.LockNotAvailable:
            raise MigrationBusy(wait_s) from None
        yield


@contextmanager
def _backend(database_url: str) -> Iterator[Any]:
    backend = get_backend(_yoyo_url(database_url))
    try:
        yield backend
    finally:
        backend.connection.close()


def _note_phases(database_url: str) -> None:
    """For code of older versions, which has not the files. Each time anew: an interrupted run may have left some."""
    phases = {name: phase for name, path in migration_files().items() if (phase := phase_of(path))}
    with psycopg.connect(database_url) as conn:
        for name, phase in phases.items():
            conn.execute(
                "INSERT INTO schema_phase (migration, phase, after) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (name, phase.name, phase.after),
            )


def _yoyo_url(database_url: str) -> str:
    """yoyo picks its driver by the scheme: psycopg 3."""
    parts = urlsplit(database_url)
    return urlunsplit(("postgresql+psycopg", *parts[1:]))
