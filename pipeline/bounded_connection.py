"""A connection whose answers have a deadline: nothing in TCP tells a server that is frozen from one that thinks."""

from __future__ import annotations

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import Row

_INTERVAL_S = 0.1


class DatabaseSilent(psycopg.OperationalError):
    """The database has not answered in time. Whether it has done what it was asked is not known."""


class BoundedConnection(psycopg.Connection[Row]):
    """answer_within_s: for each answer; None waits for ever. After a silence the connection is closed."""

    answer_within_s: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = _INTERVAL_S, timeout: float | None = None) -> RV:
        within_s = self.answer_within_s if timeout is None else timeout
        try:
            return super().wait(gen, interval, within_s)
        except psycopg.OperationalError as error:
            if within_s is None or self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            self.pgconn.finish()
            raise DatabaseSilent(f"the database has not answered within {within_s:g} s") from error
