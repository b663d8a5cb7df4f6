"""Malformed PDUs without end, the same for the same seed: valid exchanges broken in one to four places, and noise."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

from tests.dicom_peers import RawPeer, ct_data_set

COMMITMENT, WELL_KNOWN = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
PROCEDURE_STEP = "1.2.840.10008.3.1.2.3.3"
CONTEXTS = tuple(
    (uid, RawPeer.EXPLICIT) for uid in (RawPeer.CT, COMMITMENT, PROCEDURE_STEP, RawPeer.VERIFICATION)
)
REQUEST = RawPeer.request(*CONTEXTS)
_STORE = RawPeer.fragment(3, RawPeer.command(1, RawPeer.CT, "1.2.3")) + RawPeer.fragment(
    2, ct_data_set("1.2.3", pixel_bytes=64)
)
_COMMIT = RawPeer.fragment(3, RawPeer.n_request(0x0130, COMMITMENT, WELL_KNOWN, 1), 3) + RawPeer.fragment(
    2, RawPeer.commitment_request("1.2.7", RawPeer.CT, "1.2.3", "1.2.4"), 3
)
_STEP = RawPeer.fragment(3, RawPeer.command(0x0140, PROCEDURE_STEP, "1.2.9"), 5) + RawPeer.fragment(
    2, RawPeer.commitment_request("1.2.7", RawPeer.CT, "1.2.3"), 5
)
_ECHO = RawPeer.fragment(3, RawPeer.command(0x30, RawPeer.VERIFICATION, has_data_set=False), 7)
_RELEASE, _ABORT = RawPeer.pdu(5, bytes(4)), RawPeer.pdu(7, bytes(4))
EXCHANGES = (_STORE, _COMMIT, _STEP, _ECHO)
_VALID = (_STORE, _COMMIT, _STEP, _ECHO, _STORE + _ECHO + _RELEASE, _COMMIT + _STEP + _ABORT)
# What lengths and identifiers go wrong with.
_EDGES = (0, 1, 2, 3, 4, 7, 0x20, 0x21, 0x30, 0x40, 0x50, 0x58, 0x7F, 0x80, 0xFE, 0xFF)


def malformed(seed: int, count: int) -> Iterator[tuple[bool, bytes]]:
    """(whether an association is there already, bytes to send) `count` times."""
    source = random.Random(seed)
    for _ in range(count):
        is_associated = source.random() < 0.6
        valid = source.choice(_VALID) if is_associated else _request(source)
        yield is_associated, source.choice(_HARMS)(source, valid)


def _request(source: random.Random) -> bytes:
    """The request, sometimes with user information of our own."""
    if source.random() < 0.5:
        return REQUEST
    items = b"".join(
        RawPeer.item(source.choice((0x53, 0x54, 0x56, 0x57, 0x58, 0x59, 0x20, 0x10)), _bytes(source, 30))
        for _ in range(source.randint(1, 5))
    )
    return RawPeer.pdu(1, REQUEST[6:] + RawPeer.item(0x50, items))


def _change_bytes(source: random.Random, valid: bytes) -> bytes:
    data = bytearray(valid)
    for _ in range(source.randint(1, 4)):
        data[source.randrange(len(data))] = source.choice((*_EDGES, source.randrange(256)))
    return bytes(data)


def _change_lengths(source: random.Random, valid: bytes) -> bytes:
    """A number of two or four bytes anywhere becomes an edge of its range, in either byte order."""
    data = bytearray(valid)
    form = source.choice((">H", "<H", ">I", "<I"))
    size = struct.calcsize(form)
    edges = (0, 1, len(valid) - 1, len(valid), len(valid) + 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1))
    struct.pack_into(form, data, source.randrange(len(data) - size), source.choice(edges) % 2 ** (8 * size))
    return bytes(data)


def _cut(source: random.Random, valid: bytes) -> bytes:
    return valid[: source.randrange(len(valid))] + _bytes(source, 16)


def _insert(source: random.Random, valid: bytes) -> bytes:
    position = source.randrange(len(valid))
    return valid[:position] + _bytes(source, 40) + valid[position:]


def _move(source: random.Random, valid: bytes) -> bytes:
    """Some of its bytes stand somewhere else, or twice."""
    start, to = source.randrange(len(valid)), source.randrange(len(valid))
    part = valid[start : start + source.randint(1, 60)]
    return valid[:to] + part + valid[to:]


def _noise(source: random.Random, valid: bytes) -> bytes:
    """A true header before nothing that it announces, or nothing true at all."""
    if source.random() < 0.5:
        return struct.pack(
            ">BxI", source.randrange(10), source.choice((0, 4, 68, 2**16, 2**32 - 1))
        ) + _bytes(source, 200)
    return _bytes(source, 300)


def _shuffle(source: random.Random, valid: bytes) -> bytes:
    """Whole PDUs out of turn."""
    pdus = [
        _ECHO,
        _RELEASE,
        _ABORT,
        REQUEST,
        _STORE,
        _COMMIT,
        _STEP,
        RawPeer.pdu(2, bytes(80)),
        RawPeer.pdu(6, bytes(4)),
    ]
    return b"".join(source.choices(pdus, k=source.randint(1, 4)))


def _bytes(source: random.Random, length_max: int) -> bytes:
    return source.randbytes(source.randint(0, length_max))


_HARMS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _change_bytes,
    _change_bytes,
    _change_lengths,
    _change_lengths,
    _cut,
    _insert,
    _move,
    _noise,
    _shuffle,
)
