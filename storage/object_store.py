"""What an object store promises, whether a folder or S3 keeps the objects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import blake3

from storage.errors import ObjectStoreError

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*", re.ASCII)
_KEY_LENGTH_MAX = 512
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredObject:
    """One object as the store lists it.

    version: differs whenever the bytes under a key were put anew; what a copy is compared with.
    blake3: of the bytes as they were put, where the store was told and asked; "" where it does not say.
    """

    key: str
    size_bytes: int
    modified_at: datetime
    version: str
    blake3: str = ""


class ObjectStore(Protocol):
    """Objects by key, whole or not at all. Called from many threads; raises `ObjectStoreError`.

    A key is a relative path of plain parts (`check_key`). Memory stays bounded whatever the object's size.
    """

    def put(self, key: str, path: Path, blake3: str) -> str:
        """Store the file's bytes, over what was there; when this returns they are durable. Returns their version."""
        ...

    def get(self, key: str, path: Path) -> StoredObject:
        """Write the object's bytes into a new file at `path`.

        Raises `ObjectDamaged` where they are not those that were put, as far as the store was told a digest.
        """
        ...

    def head(self, key: str) -> StoredObject | None:
        """What the store says of an object, its digest too; None where there is none."""
        ...

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """All objects below a folder of keys, without digests."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; a key without one is no error."""
        ...

    def digest(self, key: str) -> str:
        """BLAKE3 of the bytes that lie there now, read for it."""
        ...


def check_key(key: str) -> str:
    """The key, if it is one that every store takes and that leaves no folder."""
    if len(key) > _KEY_LENGTH_MAX or _KEY.fullmatch(key) is None:
        raise ObjectStoreError("not a key of an object")
    return key


def digest_of_file(path: Path) -> str:
    """BLAKE3 of a file's bytes."""
    digest = blake3.blake3()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
