"""Keys, erasure and export as the settings have them: what the packages are given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from pipeline.limit_gate import tenants
from pipeline.protection.erase_objects import remove_objects
from pipeline.protection.keyring import Keyring
from pipeline.protection.seal_anew import SealAnew
from server import places
from server.erased_copies import copies_round
from server.object_store import durable_store
from server.sealing import master_keys
from server.settings import Settings


def seal_anew(settings: Settings) -> SealAnew | None:
    """What seals objects anew; None where nothing is sealed."""
    masters = master_keys(settings)
    if masters is None or not settings.objects:
        return None
    pool = places.database(settings, pool_size_max=2)
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
    pool = places.database(settings, pool_size_max=1)
    remove_own_copies = copies_round(settings)

    def look_after() -> None:
        remove_objects(pool, durable_store(settings), now=datetime.now(UTC))
        remove_own_copies()

    return look_after
