"""Keys, erasure and export as the settings have them: what the packages are given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pipeline.protection.erase_objects import remove_copies, remove_objects
from server import wiring
from server.settings import Settings
from storage.folder_store import FolderStore
from storage.object_store import ObjectStore

# A node that was away this long removes its copies when it comes back.
_LOOKS_BACK = timedelta(days=30)


def durable_store(settings: Settings) -> ObjectStore:
    """Where objects lie for good, as they lie there."""
    return FolderStore(settings.data_directory)


def tenant_store(settings: Settings, tenant: str) -> ObjectStore:  # noqa: ARG001 - nothing is sealed in a plain folder
    """The same as the tenant's objects are read from it: plain."""
    return durable_store(settings)


def erasure_round(settings: Settings) -> Callable[[], object]:
    """What a worker does each minute for erasures: objects that could not go at once, and this node's copies."""
    pool = wiring.database(settings, pool_size_max=1)
    looked_at = datetime.now(UTC) - _LOOKS_BACK

    def look_after() -> None:
        nonlocal looked_at
        now = datetime.now(UTC)
        remove_objects(pool, durable_store(settings), now=now)
        # A transaction that has written an erasure may be seen a little later.
        remove_copies(
            pool, FolderStore(settings.data_directory), since=looked_at - timedelta(minutes=5), now=now
        )
        looked_at = now

    return look_after
