"""The DICOM files of a ZIP archive, a patient CD say, entry by entry into the store. No name in it becomes a path."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from dicom_gateway.acceptor_settings import GIB, MIB
from dicom_gateway.receive_files import FileReceiver
from dicom_gateway.upload_errors import ArchiveTooLarge, ArchiveUnreadable

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")  # a first file, or the end of an archive without any
_PIECE_BYTES = 256 * 1024
_END_BYTES, _LOCATOR_BYTES, _COMMENT_BYTES_MAX = 22, 20, 65_535


@dataclass(frozen=True)
class ZipLimits:
    """What is taken of one archive.

    directory_bytes_max: of the central directory; it is read into memory at once, about ten times its size.
    ratio_max: unpacked to packed bytes of an entry, once `free_bytes` of it are out; deflate reaches 1032.
    """

    entries_max: int = 20_000
    directory_bytes_max: int = 4 * MIB
    bytes_max: int = 16 * GIB
    ratio_max: int = 200
    free_bytes: int = 16 * MIB


def receive_zip(file: BinaryIO, receiver: FileReceiver, limits: ZipLimits | None = None) -> None:
    """Take every file; what cannot be taken is a refused file of the receiver. Archives in it are not opened."""
    limits = limits or ZipLimits()
    try:
        if _directory_bytes(file) > limits.directory_bytes_max:
            raise ArchiveTooLarge("the archive's directory is too large")
        with zipfile.ZipFile(file) as archive:
            _take_entries(archive, receiver, limits)
    except (ArchiveTooLarge, ArchiveUnreadable) as refusal:
        _refuse(receiver, refusal)
    except (zipfile.BadZipFile, struct.error, ValueError, OverflowError, EOFError):
        _refuse(receiver, ArchiveUnreadable("the archive is damaged"))


def _take_entries(archive: zipfile.ZipFile, receiver: FileReceiver, limits: ZipLimits) -> None:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > limits.entries_max:
        raise ArchiveTooLarge(f"the archive holds more than {limits.entries_max} files")
    left = limits.bytes_max
    for entry in entries:
        try:
            left -= _take_entry(archive, entry, receiver, limits, left)
        except ArchiveUnreadable as refusal:
            _refuse(receiver, refusal)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError):
            _refuse(receiver, ArchiveUnreadable("a file of the archive is damaged"))


def _take_entry(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, receiver: FileReceiver, limits: ZipLimits, left: int
) -> int:
    """Take one file; returns how many bytes were unpacked for it."""
    if entry.flag_bits & 1:
        raise ArchiveUnreadable("a file of the archive is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveUnreadable("a file of the archive is compressed in another way than by deflate")
    receiver.begin()
    unpacked = 0
    with archive.open(entry) as content:
        while not receiver.is_refused and (piece := content.read(_PIECE_BYTES)):
            unpacked += len(piece)
            if unpacked > left:
                raise ArchiveTooLarge("the archive unpacks to more than is taken")
            if unpacked > max(limits.free_bytes, limits.ratio_max * entry.compress_size):
                raise ArchiveTooLarge("a file of the archive is packed suspiciously tight")
            receiver.append(memoryview(piece))
    receiver.end()
    return unpacked


def _refuse(receiver: FileReceiver, refusal: ArchiveTooLarge | ArchiveUnreadable) -> None:
    receiver.begin(refusal=refusal)
    receiver.end()


def _directory_bytes(file: BinaryIO) -> int:
    """How long the central directory says it is, by its end record and that of zip64, whichever is more.

    `zipfile` reads it whole before anything of it can be looked at.
    """
    size = file.seek(0, 2)
    start = max(0, size - _END_BYTES - _COMMENT_BYTES_MAX)
    file.seek(start)
    tail = file.read()
    directory_bytes = 0
    for place in _places(tail, b"PK\x05\x06"):
        if place + _END_BYTES <= len(tail):
            directory_bytes = max(directory_bytes, struct.unpack_from("<L", tail, place + 12)[0])
    if directory_bytes == 0xFFFFFFFF:
        directory_bytes = 0  # told by zip64
    for place in _places(tail, b"PK\x06\x07"):
        if place + _LOCATOR_BYTES <= len(tail):
            file.seek(min(struct.unpack_from("<Q", tail, place + 8)[0], size))
            record = file.read(56)
            if len(record) == 56:
                directory_bytes = max(directory_bytes, struct.unpack_from("<Q", record, 40)[0])
    file.seek(0)
    return int(directory_bytes)


def _places(data: bytes, signature: bytes) -> list[int]:
    places, place = [], data.find(signature)
    while place >= 0:
        places.append(place)
        place = data.find(signature, place + 1)
    return places
