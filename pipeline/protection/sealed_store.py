"""An object store in which the objects of one tenant lie sealed; whoever uses it sees plain bytes."""

from __future__ import annotations

import functools
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import blake3 as blake3_digest

from pipeline.protection.errors import KeyShredded, ProtectionError, SealBroken
from pipeline.protection.keyring import Keyring
from pipeline.protection.scopes import scope_of
from pipeline.protection.sealed_stream import is_sealed, seal, unseal
from storage.errors import ObjectDamaged, ObjectStoreError
from storage.object_store import ObjectStore, StoredObject

_PIECE_BYTES = 1 << 20
_TRIES = 3


class SealedStore:
    """What `inner` keeps is sealed with the tenant's keys; an object that was stored plain before is read as it is.

    scratch: a folder for sealed files while they go in and out; nothing plain ever lies there.
    """

    def __init__(self, inner: ObjectStore, keyring: Keyring, tenant: str, scratch: Path) -> None:
        self._inner = inner
        self._keyring = keyring
        self._tenant = tenant
        self._scratch = scratch

    def put(self, key: str, path: Path, blake3: str) -> str:  # noqa: ARG002 - the sealed bytes have another digest
        for _ in range(_TRIES):
            with _told(), self._file() as sealed:
                data_key = self._keyring.sealing_key(self._tenant, scope_of(key))
                digest = blake3_digest.blake3()
                with path.open("rb") as source, sealed.open("xb") as target:
                    for piece in seal(_pieces(source), data_key, key):
                        digest.update(piece)
                        target.write(piece)
                version = self._inner.put(key, sealed, digest.hexdigest())
                # The key may have been shredded since it was asked for: what it sealed would be lost.
                if self._keyring.still_open(self._tenant, [data_key.id]):
                    return version
        raise ObjectStoreError(
            "the key of an object was shredded again and again while it was stored: try later"
        )

    def get(self, key: str, path: Path) -> StoredObject:
        with self._file() as sealed:
            found = self._inner.get(key, sealed)
            if not _file_is_sealed(sealed):
                os.replace(sealed, path)
                return found
            try:
                digest = self._open(key, sealed, path)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        return replace(found, size_bytes=path.stat().st_size, blake3=digest)

    def head(self, key: str) -> StoredObject | None:
        found = self._inner.head(key)
        return found and replace(found, blake3="")

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        return self._inner.list(prefix)

    def delete(self, keys: Iterable[str]) -> None:
        self._inner.delete(keys)

    def digest(self, key: str) -> str:
        """BLAKE3 of the plain bytes, each chunk of them proven to be what was sealed."""
        with self._file() as sealed:
            self._inner.get(key, sealed)
            if _file_is_sealed(sealed):
                return self._open(key, sealed, None)
            digest = blake3_digest.blake3()
            with sealed.open("rb") as source:
                for piece in _pieces(source):
                    digest.update(piece)
            return digest.hexdigest()

    def _open(self, key: str, sealed: Path, path: Path | None) -> str:
        """Write the plain bytes to `path`; returns their digest."""
        digest = blake3_digest.blake3()
        find_key = functools.partial(self._keyring.opening_key, self._tenant)
        with _told(), sealed.open("rb") as source, open(path or os.devnull, "xb" if path else "wb") as target:
            for piece in unseal(_pieces(source), find_key, key):
                digest.update(piece)
                target.write(piece)
        return digest.hexdigest()

    @contextmanager
    def _file(self) -> Iterator[Path]:
        self._scratch.mkdir(parents=True, exist_ok=True)
        path = self._scratch / secrets.token_hex(16)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


class ObjectErased(ObjectStoreError, FileNotFoundError):
    """The object was erased: its key was shredded."""


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(_PIECE_BYTES), b"")


def _file_is_sealed(path: Path) -> bool:
    with path.open("rb") as file:
        return is_sealed(file.read(8))


@contextmanager
def _told() -> Iterator[None]:
    """What is wrong with seals and keys as what is wrong with the store: who uses one knows only that."""
    try:
        yield
    except KeyShredded as error:
        raise ObjectErased(str(error)) from None
    except SealBroken as error:
        raise ObjectDamaged(str(error)) from None
    except ProtectionError as error:
        raise ObjectStoreError(str(error)) from None
