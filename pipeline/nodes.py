"""The register of processes that serve: each says every few seconds that it is there, and how far its clock is off."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.database import Connection

SEEN_EVERY_S = 10.0
SILENT_AFTER = timedelta(seconds=40)
FORGOTTEN_AFTER = timedelta(hours=1)
"""Who ends properly leaves the register; one that was silent for this long will not come back under its name."""
CLOCK_OFF_MAX_S = 5.0
"""Beyond this the instants that a process writes itself, in reports and messages, are misleading."""


@dataclass(frozen=True)
class Node:
    """One process. Instants are the database's.

    clock_ahead_s: of its clock before the database's. is_silent: it has not been heard of for `SILENT_AFTER`.
    """

    name: str
    host: str
    role: str
    version: str
    newest_migration: str
    started_at: datetime
    seen_at: datetime
    clock_ahead_s: float
    is_silent: bool

    @property
    def clock_is_off(self) -> bool:
        return abs(self.clock_ahead_s) > CLOCK_OFF_MAX_S


@dataclass(frozen=True)
class Self:
    """What a process says of itself."""

    name: str
    host: str
    role: str
    version: str
    newest_migration: str


def host_name() -> str:
    """Of this machine, as the register has it."""
    return socket.gethostname()[:120]


def name_of(role: str, process_id: int | None = None) -> str:
    """Of a process on this machine; without a number of this one."""
    return f"{host_name()} {role} {os.getpid() if process_id is None else process_id}"


def clock_ahead_s(before: datetime, after: datetime, database_now: datetime) -> float:
    """How far our clock is ahead: the database was asked between `before` and `after`."""
    return ((before - database_now) + (after - database_now)).total_seconds() / 2


def say_here(conn: Connection, me: Self, ahead_s: float) -> None:
    conn.execute(
        """INSERT INTO node (name, host, role, version, newest_migration, started_at, clock_ahead_s)
           VALUES (%s, %s, %s, %s, %s, clock_timestamp(), %s)
           ON CONFLICT (name) DO UPDATE SET seen_at = clock_timestamp(), clock_ahead_s = excluded.clock_ahead_s,
             version = excluded.version, newest_migration = excluded.newest_migration""",
        (me.name, me.host, me.role, me.version, me.newest_migration, ahead_s),
    )
    conn.execute("DELETE FROM node WHERE seen_at < clock_timestamp() - %s", (FORGOTTEN_AFTER,))


def say_goodbye(conn: Connection, name: str) -> None:
    conn.execute("DELETE FROM node WHERE name = %s", (name,))


def list_nodes(conn: Connection) -> list[Node]:
    """By role and host."""
    rows = conn.execute(
        """SELECT *, seen_at < clock_timestamp() - %s AS is_silent FROM node ORDER BY role, host, started_at""",
        (SILENT_AFTER,),
    ).fetchall()
    return [Node(**row) for row in rows]
