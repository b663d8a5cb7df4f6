"""This node's copies of what was erased: removed within a minute or two, in every role that keeps copies."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pipeline.database import Database
from pipeline.protection.erase_objects import remove_copies
from server.settings import Settings
from storage.folder_store import FolderStore

log = logging.getLogger("radmeter.protection")

# A node that was away this long removes its copies when it comes back.
_LOOKS_BACK = timedelta(days=30)
# A transaction that has written an erasure may be seen a little later.
_OVERLAP = timedelta(minutes=5)
_PAUSE_S = 60.0


def copies_round(settings: Settings, pool: Database) -> Callable[[], None]:
    """What looks once for copies of what was erased since it looked before."""
    looked_at = datetime.now(UTC) - _LOOKS_BACK

    def look_after() -> None:
        nonlocal looked_at
        now = datetime.now(UTC)
        remove_copies(pool, FolderStore(settings.data_directory), since=looked_at - _OVERLAP, now=now)
        looked_at = now

    return look_after


def watch_copies(settings: Settings) -> None:
    """Look each minute while this process lives, where objects lie elsewhere; a worker's rounds do it by themselves."""
    if not settings.objects:
        return
    look_after = copies_round(settings, Database(settings.database_url, pool_size_max=1))

    def watch() -> None:
        while True:
            try:
                look_after()
            except Exception:  # a database that is away, say: the next minute tries again
                log.exception("erased_copies_not_removed")
            time.sleep(_PAUSE_S)

    threading.Thread(target=watch, name="erased-copies", daemon=True).start()
