"""The role `backup` of `radmeter serve`: every change of the database and every new file goes to the backup at once."""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import psycopg

from server.backup.folder import BackupFolder
from server.backup.objects import copy_changed
from server.backup.tools import command_of, explained, identify, run
from server.embedded_postgres import running_url
from server.errors import BackupFailed
from server.installation import owner_connection
from server.object_store import object_store
from server.settings import Settings

log = logging.getLogger("radmeter.backup")

SLOT = "radmeter_backup"
_PAUSE_S = 60.0
_RESTART_S = 5.0
# A round looks a little further back than the one before it began: transactions that were open then are seen now.
_OVERLAP = timedelta(minutes=10)


def follow(settings: Settings, to: BackupFolder, clock: Callable[[], datetime]) -> None:
    """Until SIGTERM. The WAL is kept by the database until it lies here, whole and synced."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    to.wal.mkdir(mode=0o700, parents=True, exist_ok=True)
    if running_url(settings) == settings.database_url:
        _bound_what_is_kept(settings.database_url)
    with to.locked("follower"):
        receiver = threading.Thread(target=_receive_wal, args=(settings, to, stopping), daemon=True)
        receiver.start()
        since = datetime.fromtimestamp(0, clock().tzinfo)
        while not stopping.is_set():
            began = clock()
            try:
                with owner_connection(settings.database_url) as conn:
                    count = copy_changed(conn, settings.data_directory, to, since, object_store(settings))
                since = began - _OVERLAP
                log.info("objects_backed_up", extra={"count": count.copied, "failed": count.problem_count})
            except (BackupFailed, OSError, psycopg.Error) as error:
                log.error(
                    "objects_not_backed_up", extra={"error": type(error).__name__, "reason": str(error)[:300]}
                )
            stopping.wait(_PAUSE_S)
        receiver.join(10)


def _bound_what_is_kept(url: str) -> None:
    """A backup that is away for long must not fill the disk of the embedded database."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '8GB'")
        conn.execute("SELECT pg_reload_conf()")


def _receive_wal(settings: Settings, to: BackupFolder, stopping: threading.Event) -> None:
    while not stopping.is_set():
        try:
            receive_wal(settings.database_url, to, stopping)
        except (BackupFailed, OSError, psycopg.Error) as error:
            log.error("wal_not_archived", extra={"reason": str(error)[:300]})
        stopping.wait(_RESTART_S)


def receive_wal(url: str, to: BackupFolder, stopping: threading.Event) -> None:
    """Until it is told to stop or the connection ends. Raises `BackupFailed`."""
    system = identify(url)
    if system is None:
        raise BackupFailed("the database does not let this user replicate: its operator archives the WAL")
    to.claim(system)
    run("pg_receivewal", ["--slot", SLOT, "--create-slot", "--if-not-exists"], url=url)
    command, environment = command_of(
        "pg_receivewal", ["-D", to.wal, "--slot", SLOT, "--synchronous", "--no-loop", "--no-password"], url
    )
    child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    log.info("wal_archiving_started")
    try:
        while child.poll() is None and not stopping.wait(0.2):
            pass
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)  # it finishes what it has
        _, said = child.communicate(timeout=30)
    if child.returncode and not stopping.is_set():
        raise BackupFailed(explained("pg_receivewal", said))
