"""Master keys: files of 32 random bytes outside the database, and what is wrapped by them.

The id of a master key is made from the key itself: a file can be named and moved at will, and two nodes agree on
which key is which. Several may be given: the first one wraps, all of them open.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.protection.errors import MasterKeyMissing, MasterKeyUnusable, WrappedKeyDamaged

KEY_BYTES = 32
_NONCE_BYTES = 12
_OTHERS = 0o007


@dataclass(frozen=True)
class MasterKey:
    """key: 32 bytes, shown nowhere."""

    id: str
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class MasterKeys:
    """The master keys of an installation; `keys[0]` wraps what is new."""

    keys: tuple[MasterKey, ...]

    def __post_init__(self) -> None:
        assert self.keys, "an installation without master keys has no MasterKeys"

    @property
    def current_id(self) -> str:
        return self.keys[0].id

    def wrap(self, key: bytes, about: str) -> bytes:
        """`key` under the current master key. about: what it is the key of; it opens for nothing else."""
        return wrap(self.keys[0].key, key, about)

    def unwrap(self, master_id: str, wrapped: bytes, about: str) -> bytes:
        """Raises `MasterKeyMissing`, `WrappedKeyDamaged`."""
        for master in self.keys:
            if master.id == master_id:
                return unwrap(master.key, wrapped, about)
        raise MasterKeyMissing(master_id)


def wrap(wrapping_key: bytes, key: bytes, about: str) -> bytes:
    """`key` sealed under another: a random nonce of 12 bytes, the key by AES-256-GCM, the tag."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(wrapping_key).encrypt(nonce, key, about.encode())


def unwrap(wrapping_key: bytes, wrapped: bytes, about: str) -> bytes:
    """The key that `wrap` has sealed. Raises `WrappedKeyDamaged`."""
    try:
        return AESGCM(wrapping_key).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], about.encode())
    except (InvalidTag, ValueError):
        raise WrappedKeyDamaged(f"the wrapped {about.partition(' of ')[0]} does not open") from None


def load_master_keys(paths: Sequence[Path]) -> MasterKeys | None:
    """The keys of these files, the current one first; None without a file. Raises `MasterKeyUnusable`."""
    keys = tuple(_load(path) for path in paths)
    if len({key.id for key in keys}) != len(keys):
        raise MasterKeyUnusable(", ".join(map(str, paths)), "the same key stands there twice")
    return MasterKeys(keys) if keys else None


def make_master_key(path: Path) -> MasterKey:
    """A new key in a file that its owner alone can read. Raises `MasterKeyUnusable` where something lies already."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise MasterKeyUnusable(path, "a file lies there already; a key is never overwritten") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(os.urandom(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    return _load(path)


def _load(path: Path) -> MasterKey:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            key = file.read(KEY_BYTES + 1)
    except OSError as error:
        raise MasterKeyUnusable(path, f"{error.strerror}; `radmeter keys init` makes one") from None
    if len(key) != KEY_BYTES:
        size = "more" if len(key) > KEY_BYTES else str(len(key))
        raise MasterKeyUnusable(path, f"a master key is exactly {KEY_BYTES} bytes, not {size}")
    if len(set(key)) < 8:
        raise MasterKeyUnusable(path, "these bytes are not random: make it by `radmeter keys init`")
    if mode & _OTHERS:
        raise MasterKeyUnusable(path, "everybody may read it: chmod o= (in Kubernetes defaultMode: 0440)")
    return MasterKey(HKDF(SHA256(), 8, None, b"radmeter master key id").derive(key).hex(), key)
