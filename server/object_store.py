"""The object store that the settings name: opened, probed, and what the packages are given of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from server.errors import SettingInvalid
from server.sealing import sealed
from server.settings import Settings
from storage.address import open_store
from storage.errors import ObjectStoreError
from storage.folder_store import FolderStore
from storage.object_store import ObjectStore
from storage.objects import LOCAL_OBJECTS, Objects


def object_store(settings: Settings) -> ObjectStore | None:
    """None where objects lie in the data folder. Asks nobody yet; raises `SettingInvalid`."""
    if not settings.objects:
        return None
    authorities = Path(settings.objects_authorities) if settings.objects_authorities else None
    try:
        return open_store(
            settings.objects,
            endpoint=settings.objects_endpoint,
            region=settings.objects_region,
            authorities=authorities,
        )
    except ObjectStoreError as error:
        raise SettingInvalid("objects", settings.objects, str(error)) from None


def durable_store(settings: Settings) -> ObjectStore:
    """Where objects lie for good, the data folder too."""
    return object_store(settings) or FolderStore(settings.data_directory)


def tenant_store(settings: Settings, tenant: str) -> ObjectStore:
    """Where objects lie for good, as the tenant's are read from it: opened where they are sealed."""
    store = durable_store(settings)
    store_of = sealed(settings, store)
    return store_of(tenant) if store_of else store


def objects(settings: Settings, observe: Callable[[str, str, float], None] | None = None) -> Objects:
    """How this process reads and writes objects. Raises `SettingInvalid`."""
    store = durable_store(settings)
    store_of = sealed(settings, store)
    if not settings.objects:
        return LOCAL_OBJECTS
    # Not at the top: where objects lie on this machine nobody needs it.
    from storage.remote_objects import RemoteObjects

    return RemoteObjects(
        settings.data_directory,
        store,
        cache_bytes_max=settings.objects_cache_mib << 20,
        store_of=store_of,
        observe=observe or (lambda *_: None),
    )


def object_store_checks(kept: Objects) -> dict[str, Callable[[], str | None]]:
    """What a role has to have before it is sent work; nothing where objects lie on this machine."""
    return {"object_store": kept.problem} if kept.is_remote else {}


def object_store_problem(settings: Settings) -> str | None:
    """What `radmeter doctor` asks: an object is written, listed, read and removed. None when all of it works, or when
    objects lie in the data folder; else a sentence that says what to do."""
    from storage.probe import probe

    try:
        store = object_store(settings)
        if store is not None:
            probe(store)
    except (ObjectStoreError, SettingInvalid) as error:
        return str(error)
    return None
