"""Locks per tenant that keep a cutoff honest.

Sequences are handed out before their transactions commit. Without a lock, a cutoff at sequence 10 could
miss event 9 that commits a moment later, and nobody would ever bill it. Recording takes the lock shared, a
cutoff takes it alone: it waits for recordings under way, and later ones get higher numbers. The locks end
with the transaction.
"""

from __future__ import annotations

from typing import Any

import psycopg

from billing.queries import rows

Connection = psycopg.Connection[Any]


def lock_for_recording(conn: Connection, tenant: str) -> None:
    """Many may record at once."""
    rows(conn, "lock_for_recording", {"tenant": tenant})


def lock_for_cutoff(conn: Connection, tenant: str) -> None:
    """One closes a period or changes a contract, and nobody records meanwhile.

    Needs READ COMMITTED: what is read next must see what committed while this waited.
    """
    rows(conn, "lock_for_cutoff", {"tenant": tenant})


def lock_for_deciding_again(conn: Connection, tenant: str) -> None:
    """One at a time decides again about an event: two could both make the next revision.

    Taken after `lock_for_recording` and before anything is recorded, so that no two wait for each other.
    """
    rows(conn, "lock_for_deciding_again", {"tenant": tenant})


def lock_for_letting_run(conn: Connection, tenant: str) -> None:
    """One at a time asks whether a limit has room and takes the room; see `guard.may_run`.

    Needs READ COMMITTED: what is read next must see the room that was taken while this waited.
    """
    rows(conn, "lock_for_letting_run", {"tenant": tenant})


def lock_for_ending_call(conn: Connection, tenant: str) -> None:
    """Many calls may end at once, none while somebody asks for room: what one held becomes what it used."""
    rows(conn, "lock_for_ending_call", {"tenant": tenant})
