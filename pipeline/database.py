"""Connections and transactions under a tenant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

if TYPE_CHECKING:
    from pipeline.protection.master_keys import MasterKeys

Connection = psycopg.Connection[dict[str, Any]]

APP_ROLE = "radmeter_app"
_RECONNECT_S = 5.0


def connection_options(lock_timeout_s: float | None = None) -> str:
    """Of libpq: the role, and how long a statement may wait for a lock."""
    lock = f" -c lock_timeout={round(lock_timeout_s * 1000)}" if lock_timeout_s is not None else ""
    return f"-c role={APP_ROLE}{lock}"


class Database:
    """A pool of connections that run under the role that obeys row-level security.

    lock_timeout_s: a statement that waits longer for a lock fails; None waits for ever.
    masters: what opens the sealed values in it; None where nothing is sealed.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size_max: int = 8,
        connect_timeout_s: float = 5.0,
        lock_timeout_s: float | None = None,
        masters: MasterKeys | None = None,
    ) -> None:
        self.url = url
        self.masters = masters
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            connection_class=psycopg.Connection[dict[str, Any]],
            kwargs={
                "row_factory": dict_row,
                "options": connection_options(lock_timeout_s),
                "connect_timeout": round(connect_timeout_s),
                "application_name": "radmeter",
            },
            min_size=1,
            max_size=pool_size_max,
            timeout=connect_timeout_s,
            # A pool that keeps trying waits longer each time, up to minutes; one that gave up tries when it is asked.
            reconnect_timeout=_RECONNECT_S,
            check=ConnectionPool.check_connection,
            open=True,
        )

    @contextmanager
    def transaction(self, tenant: str) -> Iterator[Connection]:
        """One transaction in which only `tenant`'s rows exist; commits at the end or rolls back."""
        with self._pool.connection() as conn, conn.transaction():
            conn.execute("SELECT set_config('radmeter.tenant', %s, true)", (tenant,))
            yield conn

    @contextmanager
    def system_transaction(self, wait_s: float | None = None) -> Iterator[Connection]:
        """A transaction without a tenant: tables look empty, only the SECURITY DEFINER functions answer.

        wait_s: for a connection, where less than the usual time will do.
        """
        with self._pool.connection(wait_s) as conn, conn.transaction():
            yield conn

    def close(self) -> None:
        self._pool.close()
