"""The thread of a serving process that keeps its line in the register of nodes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata

import psycopg
from psycopg.rows import dict_row

from pipeline import nodes
from pipeline.database import Connection, connection_options
from pipeline.schema_state import migration_files

log = logging.getLogger("radmeter.server")

_CONNECT_TIMEOUT_S = 5


@contextmanager
def node_pulse(database_url: str, role: str) -> Iterator[None]:
    """While this lasts, the register says that a process of this role is here."""
    newest = max(migration_files(), key=lambda name: name.partition("-")[2])
    me = nodes.Self(nodes.name_of(role), nodes.host_name(), role, code_version(), newest)
    stopping = threading.Event()
    thread = threading.Thread(
        target=_keep_saying, args=(database_url, me, stopping), name="node", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(_CONNECT_TIMEOUT_S)


def code_version() -> str:
    """Of this software, as it was installed."""
    try:
        return metadata.version("radmeter")
    except metadata.PackageNotFoundError:  # run from a tree
        return "0"


def measured_clock(conn: Connection) -> float:
    """Seconds that this machine's clock is ahead of the database's."""
    before = datetime.now(UTC)
    row = conn.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row is not None
    return nodes.clock_ahead_s(before, datetime.now(UTC), row["now"])


def _keep_saying(url: str, me: nodes.Self, stopping: threading.Event) -> None:
    """Until it is told to stop. A database that is away is no reason to end: it is tried again."""
    is_known = True
    while True:
        try:
            with _connection(url) as conn:
                is_known = True
                while not stopping.is_set():
                    nodes.say_here(conn, me, measured_clock(conn))
                    stopping.wait(nodes.SEEN_EVERY_S)
                nodes.say_goodbye(conn, me.name)
                return
        except psycopg.Error as error:
            if is_known:
                log.warning("node_not_registered", extra={"role": me.role, "error": type(error).__name__})
            is_known = False
        if stopping.wait(nodes.SEEN_EVERY_S / 2):
            return


def _connection(url: str) -> Connection:
    conn: Connection = psycopg.connect(
        url, row_factory=dict_row, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S,
        options=connection_options(), application_name="radmeter-node",
    )  # fmt: skip
    return conn
