"""Read the header of a Part 10 file that came from outside (PS3.10 section 7). Runs in a child process.

Nothing after the start of Pixel Data is read here; where it starts is remembered instead.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from dicom_gateway.undeclared_text import declare_unicode

PREAMBLE_BYTES = 128
UNDEFINED_LENGTH = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
FLOAT_PIXEL_DATA = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00009
# Float and Double Float Pixel Data come before it; the extended offset tables come before them.
_FIRST_PIXEL_TAG = FLOAT_PIXEL_DATA
# 512 slices of 512 x 512 x 8 bit; a deflated bomb of half a MiB otherwise inflates to a thousand times that.
INFLATED_BYTES_MAX = 128 << 20
_INFLATE_STEP_BYTES = 1 << 20
_READ_WHOLE_BYTES_MAX = 1 << 20


class FileUnreadable(ValueError):
    """A file's header cannot be read; the message is the reason and holds no value of the file."""


@dataclass(frozen=True)
class PixelElement:
    """Where the value of Pixel Data lies in the (inflated) file.

    length_bytes: as declared, None for undefined length (encapsulated). available_bytes: from the offset to
    the end of the file. tag: `PIXEL_DATA`, or Float or Double Float Pixel Data in its place.
    """

    offset: int
    length_bytes: int | None
    available_bytes: int
    tag: int = PIXEL_DATA


@dataclass(frozen=True)
class Header:
    """File meta information and the data set before Pixel Data."""

    meta: Dataset
    dataset: Dataset
    transfer_syntax_uid: str
    pixels: PixelElement | None


def read_header(path: Path, tags: Sequence[int] | None = None) -> Header:
    """The header of the file; only `tags` of it when given. Raises `FileUnreadable`, MemoryError."""
    try:
        with path.open("rb") as file:
            # The parser asks where it is before every element: of a file the system, of memory nobody.
            is_small = os.fstat(file.fileno()).st_size <= _READ_WHOLE_BYTES_MAX
            return _read(io.BytesIO(file.read()) if is_small else file, tags)
    except (FileUnreadable, MemoryError):
        raise
    except RecursionError as error:
        raise FileUnreadable("its sequences are nested too deeply") from error
    except OSError as error:
        raise FileUnreadable(f"it cannot be opened: {os.strerror(error.errno or 0)}") from error
    except Exception as error:  # the parser raises many kinds on bytes that are not DICOM
        raise FileUnreadable("its data set cannot be parsed") from error


def open_body(path: Path, transfer_syntax_uid: str) -> BinaryIO:
    """The file as the offsets of `PixelElement` count: inflated when its data set is deflated."""
    file = path.open("rb")
    if transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        return file
    with file:
        _read_meta(file)
        return _inflate(file)


def _read(file: BinaryIO, tags: Sequence[int] | None) -> Header:
    meta = _read_meta(file)
    syntax = str(meta.get("TransferSyntaxUID", ""))
    if not syntax:
        raise FileUnreadable("its file meta information names no transfer syntax")
    body = _inflate(file) if syntax == DeflatedExplicitVRLittleEndian else file
    guard = _Guard(body)
    dataset = read_dataset(
        body,
        is_implicit_VR=syntax == ImplicitVRLittleEndian,
        is_little_endian=syntax != ExplicitVRBigEndian,
        stop_when=guard,
        specific_tags=list(tags) if tags is not None else None,
    )
    declare_unicode(dataset)
    return Header(meta, dataset, syntax, guard.pixels)


def _read_meta(file: BinaryIO) -> Dataset:
    """The group 0002 elements; leaves the file at the first byte of the data set."""
    if file.read(PREAMBLE_BYTES + 4)[PREAMBLE_BYTES:] != b"DICM":
        raise FileUnreadable("it is not a DICOM Part 10 file")
    guard = _Guard(file, last_tag=0x0002FFFF)
    return read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=guard)


class _Guard:
    """Called before each element of the top level: stops at Pixel Data, refuses impossible elements."""

    def __init__(self, body: BinaryIO, last_tag: int = _FIRST_PIXEL_TAG - 1) -> None:
        self._body = body
        self._last_tag = last_tag
        self._seen: set[int] = set()
        here = body.tell()
        self._size = body.seek(0, os.SEEK_END)
        body.seek(here)
        self.pixels: PixelElement | None = None

    def __call__(self, tag: Any, _vr: str | None, length: int) -> bool:
        number = int(tag)  # pydicom's own tags compare in ten times the time
        if number > self._last_tag:
            if number in (PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA):
                here = self._body.tell()
                declared = None if length == UNDEFINED_LENGTH else length
                self.pixels = PixelElement(here, declared, self._size - here, number)
            return True
        # pydicom returns what is left of a value that is longer than the file, without a word.
        if length != UNDEFINED_LENGTH and length > self._size - self._body.tell():
            raise FileUnreadable("it ends within a data element")
        if number in self._seen:
            raise FileUnreadable("a data element appears twice in it")
        self._seen.add(number)
        return False


def _inflate(file: BinaryIO) -> BinaryIO:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = io.BytesIO()
    pending = b""
    while not inflater.eof:
        pending = inflater.unconsumed_tail or file.read(_INFLATE_STEP_BYTES)
        if not pending:
            break
        try:
            inflated.write(inflater.decompress(pending, _INFLATE_STEP_BYTES))
        except zlib.error as error:
            raise FileUnreadable("its deflated data set is damaged") from error
        if inflated.tell() > INFLATED_BYTES_MAX:
            raise FileUnreadable(f"its data set inflates to more than {INFLATED_BYTES_MAX >> 20} MiB")
    inflated.seek(0)
    return inflated
