"""Whether an object store does what it must: an object is written, found, read and removed."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

import blake3

from storage.errors import ObjectDamaged, PermissionMissing
from storage.object_store import ObjectStore


def probe(store: ObjectStore) -> None:
    """Raises the `ObjectStoreError` of what does not work. For `radmeter doctor` and for readiness."""
    key, content = f"probe/{secrets.token_hex(16)}", secrets.token_bytes(64)
    with tempfile.TemporaryDirectory(prefix="radmeter-probe-") as folder:
        given, got = Path(folder, "given"), Path(folder, "got")
        given.write_bytes(content)
        store.put(key, given, blake3.blake3(content).hexdigest())
        try:
            if not any(one.key == key for one in store.list("probe")):
                raise PermissionMissing("The object store does not list what it has just taken.")
            store.get(key, got)
            if got.read_bytes() != content:
                raise ObjectDamaged("The object store gives back other bytes than it was given.")
        finally:
            store.delete([key])
