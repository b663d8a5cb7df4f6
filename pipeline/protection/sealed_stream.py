"""The sealed form of an object: AES-256-GCM in chunks, so that an object of any size passes in bounded memory.

    offset  bytes
    0       8      magic "RADSEAL" and the version of this format, 1
    8       16     id of the data key (a UUID)
    24      32     salt, random for each sealing
    56      …      chunks: up to 262144 bytes each, encrypted, every one followed by its tag of 16 bytes

This is the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015) as age v1 and Tink's AES-GCM-HKDF streaming
AEAD have it. Each object has a key of its own: HKDF-SHA-256 of the data key with the salt; its info is the label
"radmeter object v1", the header's first 24 bytes and the object's key in the store. So a header that was changed, or an
object that lies in another's place, opens under no key. The nonce of a chunk is its number (11 bytes, big-endian, from
0) and a byte that is 1 for the last chunk, else 0: chunks that were reordered, repeated, left out or cut off do not
open. Only the chunk of an empty object is empty; so every content has one number of chunks.

What is opened comes out chunk by chunk, each of them genuine; that nothing is missing is known only at the end. Who
opens keeps what came out aside until then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.protection.errors import SealBroken

MAGIC = b"RADSEAL\x01"
CHUNK_BYTES = 256 * 1024
TAG_BYTES = 16
HEADER_BYTES = 56
_LABEL = b"radmeter object v1"
_SALT_BYTES = 32
_SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES


@dataclass(frozen=True)
class DataKey:
    """A key that objects are sealed with. key: 32 bytes, shown nowhere."""

    id: UUID
    key: bytes = field(repr=False)


def seal(content: Iterable[bytes], data_key: DataKey, object_key: str) -> Iterator[bytes]:
    """The sealed object, piece by piece. content: in pieces of any size."""
    head = MAGIC + data_key.id.bytes
    salt = os.urandom(_SALT_BYTES)
    cipher = _cipher(data_key.key, head, salt, object_key)
    yield head + salt
    for number, chunk, is_last in _chunks(content, CHUNK_BYTES):
        yield cipher.encrypt(_nonce(number, is_last), chunk, None)


def unseal(sealed: Iterable[bytes], find_key: Callable[[UUID], bytes], object_key: str) -> Iterator[bytes]:
    """The content, chunk by chunk. sealed: in pieces of any size, from the first byte.

    find_key: the data key of an id; what it raises comes through. Raises `SealBroken`.
    """
    pieces = iter(sealed)
    header, rest = _take(pieces, HEADER_BYTES)
    found = key_id_of(header)
    head, salt = header[:24], header[24:]
    cipher = _cipher(find_key(found), head, salt, object_key)
    for number, chunk, is_last in _chunks(_with(rest, pieces), _SEALED_CHUNK_BYTES):
        if number > 0 and len(chunk) <= TAG_BYTES:
            raise SealBroken("a sealed object ends in a chunk without content")
        try:
            yield cipher.decrypt(_nonce(number, is_last), chunk, None)
        except InvalidTag:
            raise SealBroken("a sealed object was changed, cut off, or lies in another's place") from None


def key_id_of(header: bytes) -> UUID:
    """Which data key a sealed object names. header: its first bytes, 24 at least. Raises `SealBroken`."""
    if not header.startswith(MAGIC) or len(header) < HEADER_BYTES:
        raise SealBroken("this is no sealed object, or only its beginning")
    return UUID(bytes=header[8:24])


def is_sealed(beginning: bytes) -> bool:
    """Whether an object with these first 8 bytes or more is sealed. DICOM, JSON, PDF and PNG never begin so."""
    return beginning.startswith(MAGIC[:7])


def sealed_size(size_bytes: int) -> int:
    """Bytes of the sealed form of a content of this size."""
    return HEADER_BYTES + size_bytes + TAG_BYTES * max(1, -(-size_bytes // CHUNK_BYTES))


def _cipher(key: bytes, head: bytes, salt: bytes, object_key: str) -> AESGCM:
    info = _LABEL + head + object_key.encode()
    return AESGCM(HKDF(SHA256(), 32, salt, info).derive(key))


def _nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


def _chunks(pieces: Iterable[bytes], size: int) -> Iterator[tuple[int, bytes, bool]]:
    """(number, chunk, whether it is the last): all of `size` bytes but the last, which is empty only if all is."""
    waiting = bytearray()
    number = 0
    for piece in pieces:
        waiting += piece
        # One byte more than the chunk must be there: only then it is not the last.
        start = 0
        while len(waiting) - start > size:
            yield number, bytes(waiting[start : start + size]), False
            number += 1
            start += size
        del waiting[:start]
    yield number, bytes(waiting), True


def _take(pieces: Iterator[bytes], count: int) -> tuple[bytes, bytes]:
    """(the first `count` bytes, fewer if there are no more; what came with them)."""
    taken = b""
    for piece in pieces:
        taken += piece
        if len(taken) >= count:
            break
    return taken[:count], taken[count:]


def _with(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others
