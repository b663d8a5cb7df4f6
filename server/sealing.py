"""What seals and opens, as the settings have it. Nothing here where they name no master key."""

from __future__ import annotations

import functools
from collections.abc import Callable

from pipeline.database import Database
from pipeline.protection.errors import MasterKeyUnusable
from pipeline.protection.master_keys import MasterKeys, load_master_keys
from server.errors import SettingInvalid
from server.settings import Settings
from storage.object_store import ObjectStore

StoreOf = Callable[[str], ObjectStore]
"""By tenant, the store as it is for the tenant's objects."""


def master_keys(settings: Settings) -> MasterKeys | None:
    """What opens the keys in the database, None where nothing is sealed. Raises `SettingInvalid`."""
    try:
        return load_master_keys(settings.master_key_files)
    except MasterKeyUnusable as error:
        raise SettingInvalid("master_keys", settings.master_keys, str(error)) from None


def sealed(settings: Settings, store: ObjectStore) -> StoreOf | None:
    """The store that shows each tenant its objects opened; None where nothing is sealed. Raises `SettingInvalid`."""
    masters = master_keys(settings)
    if masters is None:
        return None
    if not settings.objects:
        sentence = "what is sealed lies in an object store: name one, file:///folder on this machine will do"
        raise SettingInvalid("objects", "", sentence)
    # Not at the top: where nothing is sealed nobody needs it.
    from pipeline.protection.keyring import Keyring
    from pipeline.protection.sealed_store import SealedStore

    @functools.cache
    def keyring() -> Keyring:
        # A pool of its own: who stores an object may hold all connections of another one.
        return Keyring(Database(settings.database_url, pool_size_max=2), masters)

    scratch = settings.data_directory / "cache" / "sealed"
    return lambda tenant: SealedStore(store, keyring(), tenant, scratch)
