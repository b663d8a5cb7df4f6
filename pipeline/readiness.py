"""What a process needs before it takes work: a database that answers, its present tables, a disk with room."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import LiteralString

import psycopg
import psycopg_pool

from pipeline.database import Database
from pipeline.schema_state import schema_state

DATABASE_ERRORS = (psycopg.Error, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed)
MIGRATIONS_TRUSTED_S = 60.0
# Below this the gateway refuses instances (AcceptorSettings.free_bytes_min).
FREE_BYTES_MIN = 512 << 20
# Who asks how things stand wants to hear soon that the database is away; several of these come one after the other.
WAIT_S = 1.0
_ANSWER_WITHIN_S = 3.0


def database_problem(database: Database, question: LiteralString = "SELECT 1") -> str | None:
    """Why nothing can be written down now."""
    try:
        with database.system_transaction(WAIT_S, _ANSWER_WITHIN_S) as conn:
            conn.execute(question)
    except DATABASE_ERRORS as error:
        return f"the database does not answer ({type(error).__name__})"
    return None


def queue_problem(database: Database) -> str | None:
    """Why no job can be fetched now."""
    return database_problem(database, "SELECT 1 FROM procrastinate_jobs LIMIT 1")


_applied_until: dict[str, float] = {}
_applied_lock = threading.Lock()


def migrations_problem(url: str) -> str | None:
    """Asked often: that nothing is missing is remembered for a while, that something is missing never."""
    with _applied_lock:
        if _applied_until.get(url, 0.0) > time.monotonic():
            return None
        try:
            problem = schema_state(url).problem
        except psycopg.Error as error:
            return f"the migrations cannot be read ({type(error).__name__})"
        if problem is not None:
            return problem
        _applied_until[url] = time.monotonic() + MIGRATIONS_TRUSTED_S
        return None


def folder_problem(folder: Path, free_bytes_min: int | None = None) -> str | None:
    """Why nothing can be written there; by default, why an instance would be refused."""
    wanted = FREE_BYTES_MIN if free_bytes_min is None else free_bytes_min
    try:
        with tempfile.TemporaryFile(dir=folder):
            space = os.statvfs(folder)
    except OSError as error:
        return f"the data folder cannot be written ({type(error).__name__})"
    if space.f_bavail * space.f_frsize < wanted:
        return f"the disk of the data folder has less than {wanted >> 20} MiB left"
    return None
