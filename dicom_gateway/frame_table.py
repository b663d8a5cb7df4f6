"""Where each frame of an instance lies in its file, so that it can be served without reading anything else of it."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.dataset import Dataset
from pydicom.encaps import parse_basic_offsets, parse_fragments
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_gateway import frame_headers as tags
from dicom_gateway import header_values as values
from dicom_gateway.frame_headers import frame_count
from dicom_gateway.part10 import DOUBLE_FLOAT_PIXEL_DATA, FLOAT_PIXEL_DATA, Header, PixelElement
from dicom_gateway.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN

FRAMES_MAX = 100_000
_EXTENDED_OFFSETS, _EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002
_ITEM_HEAD_BYTES = 8
_END_OF_IMAGE = b"\xff\xd9"
_TAIL_BYTES = 10
Range = tuple[int, int]
"""(offset in the file, count of bytes)."""


class FramesNotFound(ValueError):
    """The pixels of an instance cannot be told apart into frames; the message is the reason."""


@dataclass(frozen=True)
class FrameTable:
    """The frames of one instance.

    encapsulated: for each frame the ranges of its fragments; None for pixels that are not compressed.
    native_offset, frame_bits: of such pixels. problem: why there are no frames, empty where there are.
    is_decodable: the frames can be given uncompressed and little endian; is_lossy: they have lost something already.
    """

    transfer_syntax_uid: str
    frame_count: int = 0
    encapsulated: list[list[Range]] | None = None
    native_offset: int = 0
    frame_bits: int = 0
    is_decodable: bool = False
    is_lossy: bool = False
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def is_aligned(self) -> bool:
        """Whether each frame begins and ends with a byte; frames of single bits may not."""
        return self.encapsulated is not None or self.frame_bits % 8 == 0

    @property
    def is_transcodable(self) -> bool:
        """Whether the whole instance can be given in Explicit VR Little Endian and is the same."""
        if self.transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN:
            return True
        return self.encapsulated is not None and self.is_decodable and not self.is_lossy

    def ranges_of(self, number: int) -> Sequence[Range]:
        """Of frame `number`, from 1 on; for unaligned frames all bytes that hold a bit of it."""
        if self.encapsulated is not None:
            return self.encapsulated[number - 1]
        first = (number - 1) * self.frame_bits
        start, end = first // 8, (first + self.frame_bits + 7) // 8
        return ((self.native_offset + start, end - start),)

    def read(self, file: BinaryIO, number: int) -> bytes:
        """The bytes of `ranges_of`, as stored."""
        pieces = [os.pread(file.fileno(), count, offset) for offset, count in self.ranges_of(number)]
        return b"".join(pieces)


def table_from_json(record: dict[str, Any]) -> FrameTable:
    return FrameTable(**record)


def frame_table_of(path: Path, header: Header) -> FrameTable:
    """Read in a child process; the reason stands in `problem` where frames cannot be found."""
    try:
        return _table_of(path, header)
    except FramesNotFound as error:
        return FrameTable(header.transfer_syntax_uid, problem=str(error))


def _table_of(path: Path, header: Header) -> FrameTable:
    dataset, pixels = header.dataset, header.pixels
    count = frame_count(dataset)
    if pixels is None or not count:
        raise FramesNotFound("the instance has no pixels")
    if header.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        raise FramesNotFound("the data set is deflated")
    if count > FRAMES_MAX:
        raise FramesNotFound(f"the instance has more than {FRAMES_MAX} frames")
    samples = values.integer(dataset, tags.SAMPLES_PER_PIXEL) or 1
    allocated = values.integer(dataset, tags.BITS_ALLOCATED) or 0
    if pixels.length_bytes is None:
        with path.open("rb") as file:
            ranges = _encapsulated(file, pixels, count, dataset)
        return FrameTable(header.transfer_syntax_uid, count, ranges)
    rows, columns = values.integer(dataset, tags.ROWS) or 0, values.integer(dataset, tags.COLUMNS) or 0
    bits = rows * columns * samples * (_FLOATS.get(pixels.tag) or allocated)
    if values.text(dataset, tags.PHOTOMETRIC_INTERPRETATION) == "YBR_FULL_422":
        bits = bits * 2 // 3  # two pixels share their colours
    length = min(pixels.length_bytes, pixels.available_bytes)
    if bits < 1 or (bits * count + 7) // 8 > length:
        raise FramesNotFound("the pixel data is shorter than its header says")
    return FrameTable(header.transfer_syntax_uid, count, None, pixels.offset, bits)


_FLOATS = {FLOAT_PIXEL_DATA: 32, DOUBLE_FLOAT_PIXEL_DATA: 64}


def _encapsulated(file: BinaryIO, pixels: PixelElement, count: int, dataset: Dataset) -> list[list[Range]]:
    file.seek(pixels.offset)
    try:
        basic = parse_basic_offsets(file)
        start = file.tell()
        _, heads = parse_fragments(file)
    except (ValueError, struct.error) as error:
        raise FramesNotFound("the pixel data is damaged") from error
    fragments = [_fragment(file, head, pixels) for head in heads]
    extended = values.raw_value(dataset, _EXTENDED_OFFSETS), values.raw_value(dataset, _EXTENDED_LENGTHS)
    if all(isinstance(one, bytes) and len(one) == 8 * count for one in extended):
        offsets, lengths = (struct.unpack(f"<{count}Q", one) for one in extended)
        by_start = dict(fragments)
        starts = [start + offset + _ITEM_HEAD_BYTES for offset in offsets]
        if any(length > by_start.get(at, -1) for at, length in zip(starts, lengths, strict=True)):
            raise FramesNotFound("the extended offset table is wrong")
        return [[(at, length)] for at, length in zip(starts, lengths, strict=True)]
    if len(fragments) == count:
        return [[fragment] for fragment in fragments]
    if count == 1:
        return [fragments]
    groups = _by_offsets(fragments, basic, start) if basic else _by_end_markers(file, fragments)
    if len(groups) != count:
        raise FramesNotFound(f"{len(groups)} frames are there, the header tells {count}")
    return groups


def _fragment(file: BinaryIO, head: int, pixels: PixelElement) -> Range:
    (length,) = struct.unpack("<I", os.pread(file.fileno(), 4, head + 4))
    at = head + _ITEM_HEAD_BYTES
    if at + length > pixels.offset + pixels.available_bytes:
        raise FramesNotFound("the pixel data ends within a frame")
    return at, length


def _by_offsets(fragments: list[Range], offsets: list[int], start: int) -> list[list[Range]]:
    ends = [*offsets[1:], 1 << 62]
    groups: list[list[Range]] = [[] for _ in offsets]
    number = 0
    for at, length in fragments:
        while number < len(ends) - 1 and at - _ITEM_HEAD_BYTES - start >= ends[number]:
            number += 1
        groups[number].append((at, length))
    if not all(groups):
        raise FramesNotFound("the basic offset table is wrong")
    return groups


def _by_end_markers(file: BinaryIO, fragments: list[Range]) -> list[list[Range]]:
    """Without a table a frame ends with the fragment that ends with its codestream."""

    def ends(fragment: Range) -> bool:
        at, length = fragment
        tail = min(length, _TAIL_BYTES)
        return _END_OF_IMAGE in os.pread(file.fileno(), tail, at + length - tail)

    groups: list[list[Range]] = [[]]
    for fragment in fragments:
        groups[-1].append(fragment)
        if ends(fragment):
            groups.append([])
    return list(itertools.filterfalse(lambda group: not group, groups))
