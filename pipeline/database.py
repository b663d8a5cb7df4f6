"""Connections and transactions under a tenant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from pipeline.bounded_connection import BoundedConnection

if TYPE_CHECKING:
    from pipeline.protection.master_keys import MasterKeys

Connection = psycopg.Connection[dict[str, Any]]

APP_ROLE = "radmeter_app"
_RECONNECT_S = 5.0
# Whether a connection of the pool still answers is asked before each use.
_CHECK_WITHIN_S = 5.0


LET_GO_AFTER_S = 60.0
"""A session that stands idle in a transaction for so long is ended by the database: its process is frozen or its
machine is gone, and others wait for what it holds. Steps and deliveries of workers have less, see `Settings`."""
# The same for a machine that is gone, seen from both ends: a lost connection is noticed within a minute.
_KEEPALIVE = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_KEEPALIVE_OPTIONS = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"


def connection_options(lock_timeout_s: float | None = None, let_go_after_s: float = LET_GO_AFTER_S) -> str:
    """Of libpq: the role, how long a statement may wait for a lock, and how long a transaction may stand idle."""
    lock = f" -c lock_timeout={round(lock_timeout_s * 1000)}" if lock_timeout_s is not None else ""
    idle = f" -c idle_in_transaction_session_timeout={round(let_go_after_s * 1000)}"
    return f"-c role={APP_ROLE}{lock}{idle} {_KEEPALIVE_OPTIONS}"


def connection_arguments(
    lock_timeout_s: float | None = None, let_go_after_s: float = LET_GO_AFTER_S
) -> dict[str, Any]:
    """Of psycopg, for every session of a process that serves."""
    return {"options": connection_options(lock_timeout_s, let_go_after_s), **_KEEPALIVE}


def become_tenant(conn: Connection, tenant: str) -> None:
    """Until the transaction ends only `tenant`'s rows exist in it."""
    conn.execute("SELECT set_config('radmeter.tenant', %s, true)", (tenant,))


def database_time(conn: Connection, in_s: float = 0.0) -> datetime:
    """The database's clock, the one that all nodes share, or what it will show `in_s` later."""
    row = conn.execute("SELECT clock_timestamp() + make_interval(secs => %s) AS at", (in_s,)).fetchone()
    assert row is not None
    at: datetime = row["at"]
    return at


class Database:
    """A pool of connections that run under the role that obeys row-level security.

    lock_timeout_s: a statement that waits longer for a lock fails; None waits for ever.
    masters: what opens the sealed values in it; None where nothing is sealed. secrets: the folder of the files that its
        rows name; None where none is needed.
    let_go_after_s: a transaction in which nothing has happened for so long is ended by the database.
    answer_within_s: a statement that has no answer after it fails, its connection with it; None waits for ever.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size_max: int = 8,
        connect_timeout_s: float = 5.0,
        lock_timeout_s: float | None = None,
        masters: MasterKeys | None = None,
        let_go_after_s: float = LET_GO_AFTER_S,
        answer_within_s: float | None = None,
        secrets: Path | None = None,
    ) -> None:
        self.url = url
        self.secrets = secrets
        self._answer_within_s = answer_within_s
        self.masters = masters
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            connection_class=BoundedConnection[dict[str, Any]],
            kwargs={
                "row_factory": dict_row,
                **connection_arguments(lock_timeout_s=lock_timeout_s, let_go_after_s=let_go_after_s),
                "connect_timeout": round(connect_timeout_s),
                "application_name": "radmeter",
            },
            min_size=1,
            max_size=pool_size_max,
            timeout=connect_timeout_s,
            # A pool that keeps trying waits longer each time, up to minutes; one that gave up tries when it is asked.
            reconnect_timeout=_RECONNECT_S,
            check=self._check,
            open=True,
        )

    def _check(self, conn: Connection) -> None:
        """Raises where it does not answer: the pool then takes another."""
        assert isinstance(conn, BoundedConnection)
        conn.answer_within_s = _CHECK_WITHIN_S
        ConnectionPool.check_connection(conn)
        conn.answer_within_s = self._answer_within_s

    @contextmanager
    def transaction(self, tenant: str) -> Iterator[Connection]:
        """One transaction in which only `tenant`'s rows exist; commits at the end or rolls back."""
        with self._pool.connection() as conn, conn.transaction():
            become_tenant(conn, tenant)
            yield conn

    @contextmanager
    def system_transaction(
        self, wait_s: float | None = None, answer_within_s: float | None = None
    ) -> Iterator[Connection]:
        """A transaction without a tenant: tables look empty, only the SECURITY DEFINER functions answer.

        wait_s: for a connection, answer_within_s: for each answer, where less than the usual time will do.
        """
        with self._pool.connection(wait_s) as conn:
            assert isinstance(conn, BoundedConnection)
            conn.answer_within_s = answer_within_s or self._answer_within_s
            with conn.transaction():
                yield conn

    def now(self) -> datetime:
        """The database's clock, which decides for all nodes."""
        with self.system_transaction() as conn:
            return database_time(conn)

    def close(self) -> None:
        self._pool.close()
