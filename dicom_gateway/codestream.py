"""What a compressed frame says of its own size, read before any decoder sees it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise

# JPEG start-of-frame markers, JPEG-LS's SOF55 among them; C4, C8 and CC in their range are none.
_SOF_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_MARKERS_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = b"\xff\xd9"
# The end marker and the bytes that make the fragment's length even; some writers pad to four.
_PADDED_END_BYTES = 8
_J2K_START = b"\xff\x4f\xff\x51"
# A JP2 file header around the codestream is against the standard but common; it is shorter than this.
_J2K_SEARCH_BYTES = 1024
_RLE_HEADER_BYTES = 64


class CodestreamInvalid(ValueError):
    """A compressed frame does not start as its transfer syntax says."""


@dataclass(frozen=True)
class FrameSize:
    """rows, columns, components and bits per sample as the codestream itself declares them."""

    rows: int
    columns: int
    components: int
    bits: int


def jpeg_frame_size(frame: bytes) -> FrameSize:
    """From the start-of-frame segment of JPEG (ITU-T T.81 B.2.2) or JPEG-LS (T.87 C.2.2).

    The end marker must be there: libjpeg fills what is missing of a shorter stream with grey, without a word.
    """
    if frame[:2] != b"\xff\xd8":
        raise CodestreamInvalid("it does not start as JPEG")
    if not frame[-_PADDED_END_BYTES:].rstrip(b"\x00\xff").endswith(_END_OF_IMAGE):
        raise CodestreamInvalid("it ends before its end marker")
    at = 2
    while at + 4 <= len(frame):
        if frame[at] != 0xFF:
            raise CodestreamInvalid("its JPEG markers are damaged")
        marker = frame[at + 1]
        if marker == 0xFF or marker in _MARKERS_WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == _START_OF_SCAN:
            break
        length = int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker in _SOF_MARKERS:
            return _start_of_frame(frame[at + 4 : at + 2 + length])
        at += 2 + length
    raise CodestreamInvalid("it has no JPEG frame header")


def _start_of_frame(segment: bytes) -> FrameSize:
    if len(segment) < 6:
        raise CodestreamInvalid("its JPEG frame header is cut short")
    bits, rows, columns, components = struct.unpack(">BHHB", segment[:6])
    return FrameSize(rows, columns, components, bits)


def jpeg2000_frame_size(frame: bytes) -> FrameSize:
    """From the SIZ segment (ISO/IEC 15444-1 A.5.1)."""
    at = frame.find(_J2K_START, 0, _J2K_SEARCH_BYTES)
    if at < 0 or len(frame) < at + 43:
        raise CodestreamInvalid("it does not start as JPEG 2000")
    right, lower, left, upper = struct.unpack_from(">IIII", frame, at + 8)
    tile_columns, tile_rows = struct.unpack_from(">II", frame, at + 24)
    components, depth = struct.unpack_from(">HB", frame, at + 40)
    if left >= right or upper >= lower or not tile_columns or not tile_rows:
        raise CodestreamInvalid("its JPEG 2000 image area is empty")
    return FrameSize(lower - upper, right - left, components, (depth & 0x7F) + 1)


def check_rle_header(frame: bytes, segment_count: int) -> None:
    """PS3.5 annex G.5: the number of segments, then ascending offsets inside the frame."""
    if len(frame) < _RLE_HEADER_BYTES:
        raise CodestreamInvalid("its RLE header is cut short")
    count, *offsets = struct.unpack_from("<16I", frame)
    if count != segment_count:
        raise CodestreamInvalid(f"it has {count} RLE segments where {segment_count} are needed")
    used = [_RLE_HEADER_BYTES, *offsets[1:count], len(frame)]
    if offsets[0] != _RLE_HEADER_BYTES or any(low >= high for low, high in pairwise(used)):
        raise CodestreamInvalid("its RLE offsets do not lie within the frame")
