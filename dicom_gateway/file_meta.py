"""File Meta Information (group 0002), written and read (PS3.10 section 7.1)."""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from pathlib import Path

from dicom_gateway.errors import NotAPart10File
from dicom_gateway.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from study.errors import InvalidUID
from study.identifiers import validate_uid

_PREAMBLE_BYTES = 128
_PREFIX = b"DICM"
_PREAMBLE_AND_PREFIX = bytes(_PREAMBLE_BYTES) + _PREFIX
_LONGEST_HEADER = 12
FILE_META_BYTES_MAX = 64 * 1024
_LONG_VRS = (b"OB", b"OW", b"UN", b"UT", b"SQ")

_SOP_CLASS_UID = 0x0002
_SOP_INSTANCE_UID = 0x0003
_TRANSFER_SYNTAX_UID = 0x0010


@dataclass(frozen=True)
class FileMeta:
    """What a C-STORE of the file needs to know."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


def part10_header(
    sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str
) -> bytes:
    """Zero preamble, prefix and our File Meta Information, for a data set to follow."""
    before, after = _around_instance(sop_class_uid, transfer_syntax_uid, source_ae_title)
    instance = _element(_SOP_INSTANCE_UID, b"UI", sop_instance_uid)
    length = len(before) + len(instance) + len(after)
    group_length = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, length)
    return _PREAMBLE_AND_PREFIX + group_length + before + instance + after


@functools.lru_cache(maxsize=64)
def _around_instance(
    sop_class_uid: str, transfer_syntax_uid: str, source_ae_title: str
) -> tuple[bytes, bytes]:
    """The elements before and after (0002,0003), which is all that differs within a study."""
    version = struct.pack("<HH2sHI", 0x0002, 0x0001, b"OB", 0, 2) + b"\x00\x01"
    return version + _element(_SOP_CLASS_UID, b"UI", sop_class_uid), b"".join(
        (
            _element(_TRANSFER_SYNTAX_UID, b"UI", transfer_syntax_uid),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
            _element(0x0016, b"AE", source_ae_title),
        )
    )


def read_file_meta(path: Path) -> FileMeta:
    """Read group 0002 of a file; raise `NotAPart10File` with a reason that holds no value of it."""
    try:
        with path.open("rb") as file:
            start = file.read(FILE_META_BYTES_MAX)
    except OSError as error:
        raise NotAPart10File(f"cannot be opened ({error.strerror})") from None
    if start[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] != _PREFIX:
        raise NotAPart10File("not a DICOM Part 10 file")
    scanned = scan_file_meta(start)
    if scanned is None:
        raise NotAPart10File("ends before its data set begins")
    return scanned[0]


def scan_file_meta(start: bytes) -> tuple[FileMeta, int] | None:
    """Group 0002 and the offset of the data set, UIDs valid by form; None when `start` must be longer.

    The group is walked: its length in (0002,0000) is often wrong. More than `FILE_META_BYTES_MAX` bytes, or
    what is not Part 10, raise `NotAPart10File`.
    """
    if len(start) < _PREAMBLE_BYTES + 4:
        return None
    if start[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] != _PREFIX:
        raise NotAPart10File("not a DICOM Part 10 file")
    values: dict[int, str] = {}
    position = _PREAMBLE_BYTES + 4
    while position + _LONGEST_HEADER <= len(start):
        group, element, vr, length = struct.unpack_from("<HH2sH", start, position)
        if group != 0x0002:
            return _valid(values), position
        position += 8
        if vr in _LONG_VRS:
            (length,) = struct.unpack_from("<I", start, position)
            position += 4
        if element in _WANTED:
            values[element] = start[position : position + length].decode("latin-1").rstrip("\0 ")
        position += length
        if position > FILE_META_BYTES_MAX:
            raise NotAPart10File("file meta information is too long")
    if len(start) >= FILE_META_BYTES_MAX:
        raise NotAPart10File("file meta information is too long")
    return None


def _valid(values: dict[int, str]) -> FileMeta:
    try:
        return FileMeta(*(validate_uid(values.get(element, "")) for element in _WANTED))
    except InvalidUID:
        raise NotAPart10File("file meta information lacks a valid UID") from None


_WANTED = (_SOP_CLASS_UID, _SOP_INSTANCE_UID, _TRANSFER_SYNTAX_UID)


def _element(element: int, vr: bytes, value: str) -> bytes:
    data = value.encode("ascii")
    data += (b"\0" if vr == b"UI" else b" ") * (len(data) % 2)
    return struct.pack("<HH2sH", 0x0002, element, vr, len(data)) + data
