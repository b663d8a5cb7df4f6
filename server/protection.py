"""Keys, erasure and export as the settings have them: what the packages are given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pipeline.limit_gate import tenants
from pipeline.protection.erase_objects import remove_copies, remove_objects
from pipeline.protection.keyring import Keyring
from pipeline.protection.seal_anew import SealAnew
from server import wiring
from server.object_store import durable_store
from server.sealing import master_keys
from server.settings import Settings
from storage.folder_store import FolderStore

# A node that was away this long removes its copies when it comes back.
_LOOKS_BACK = timedelta(days=30)


def seal_anew(settings: Settings) -> SealAnew | None:
    """What seals objects anew; None where nothing is sealed."""
    masters = master_keys(settings)
    if masters is None or not settings.objects:
        return None
    pool = wiring.database(settings, pool_size_max=2)
    scratch = settings.data_directory / "cache" / "sealed"
    return SealAnew(pool, Keyring(pool, masters), durable_store(settings), scratch)


def sealing_round(settings: Settings) -> Callable[[], object]:
    """What a worker does each minute for rotated data keys: some studies of each tenant are sealed anew."""
    sealing = seal_anew(settings)
    if sealing is None:
        return lambda: None

    def look_after() -> None:
        for tenant in tenants(sealing.database):
            sealing.look_after(tenant, now=datetime.now(UTC))

    return look_after


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
