"""How the heartbeat is: when one was last well, where the last one failed. Read in the heartbeat's tenant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline import heartbeat
from pipeline.database import Connection
from pipeline.store import Row


@dataclass(frozen=True)
class Pulse:
    """How the heartbeat is. last_success_at: when its result was there; None: never."""

    is_installed: bool
    last_success_at: datetime | None = None
    seconds: float | None = None
    last_started_at: datetime | None = None
    failed_at: datetime | None = None
    stage: str | None = None
    problem: str | None = None
    failures: tuple[tuple[str, int], ...] = ()

    @property
    def is_well(self) -> bool:
        return self.last_success_at is not None and self.stage is None


def pulse(conn: Connection) -> Pulse:
    """Of the last that ended, and of the last that was well. The connection is that of the heartbeat's tenant."""
    well = conn.execute(
        """SELECT started_at, seconds FROM heartbeat WHERE tenant = %s AND seconds IS NOT NULL
           ORDER BY started_at DESC LIMIT 1""",
        (heartbeat.TENANT,),
    ).fetchone()
    last = conn.execute(
        """SELECT ended_at, stage, problem FROM heartbeat WHERE tenant = %s AND ended_at IS NOT NULL
           ORDER BY started_at DESC LIMIT 1""",
        (heartbeat.TENANT,),
    ).fetchone()
    started = conn.execute(
        "SELECT max(started_at) AS at FROM heartbeat WHERE tenant = %s", (heartbeat.TENANT,)
    ).fetchone()
    failures = conn.execute(
        "SELECT stage, failures FROM heartbeat_failure WHERE tenant = %s ORDER BY stage", (heartbeat.TENANT,)
    ).fetchall()
    has_failed = last is not None and last["stage"] is not None
    return Pulse(
        heartbeat.names(conn) is not None,
        well["started_at"] + timedelta(seconds=well["seconds"]) if well else None,
        well["seconds"] if well else None,
        started["at"] if started else None,
        last["ended_at"] if last and has_failed else None,
        last["stage"] if last else None,
        last["problem"] if last else None,
        tuple((row["stage"], row["failures"]) for row in failures),
    )


def recent(conn: Connection, limit: int = 10) -> list[Row]:
    return conn.execute(
        "SELECT * FROM heartbeat WHERE tenant = %s ORDER BY started_at DESC LIMIT %s",
        (heartbeat.TENANT, limit),
    ).fetchall()
