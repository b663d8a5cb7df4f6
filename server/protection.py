"""Keys as the settings have them: what the packages are given."""

from __future__ import annotations

from pipeline.database import Database
from pipeline.protection.keyring import Keyring
from pipeline.protection.seal_anew import SealAnew
from server.object_store import durable_store
from server.sealing import master_keys
from server.settings import Settings


def seal_anew(settings: Settings, pool: Database) -> SealAnew | None:
    """What seals objects anew; None where nothing is sealed."""
    masters = master_keys(settings)
    if masters is None or not settings.objects:
        return None
    scratch = settings.data_directory / "cache" / "sealed"
    return SealAnew(pool, Keyring(pool, masters), durable_store(settings), scratch)
