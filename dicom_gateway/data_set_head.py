"""The few identifying attributes at the head of a data set, read in bounded time and memory.

Only (0008,0016), (0008,0018), (0008,0060), (0020,000D) and (0020,000E) are kept; everything else is
stepped over by its length, without being read. Stops after the Series Instance UID.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from dicom_gateway.errors import DataSetHeadUnreadable
from dicom_gateway.transfer_syntaxes import EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

SOP_CLASS_UID = 0x0008_0016
SOP_INSTANCE_UID = 0x0008_0018
MODALITY = 0x0008_0060
STUDY_INSTANCE_UID = 0x0020_000D
SERIES_INSTANCE_UID = 0x0020_000E
_WANTED = frozenset((SOP_CLASS_UID, SOP_INSTANCE_UID, MODALITY, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID))

_ITEM = 0xFFFE_E000
_ITEM_DELIMITER = 0xFFFE_E00D
_SEQUENCE_DELIMITER = 0xFFFE_E0DD
_UNDEFINED_LENGTH = 0xFFFF_FFFF

_DEPTH_MAX = 32  # real objects nest about ten deep
_ELEMENTS_MAX = 65_536  # stepped over, nested ones included
_VALUE_BYTES_MAX = 256  # of a wanted value: a UID has 64
_WINDOW_BYTES = 16 * 1024

# PS3.5 table 7.1-1: these have a 32-bit length after two reserved bytes
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
# A tag, a VR and a 16-bit length; a 32-bit length
_LITTLE_ENDIAN = (struct.Struct("<HH2sH"), struct.Struct("<I"))
_BIG_ENDIAN = (struct.Struct(">HH2sH"), struct.Struct(">I"))

ReadAt = Callable[[int, int], bytes]
"""Bytes at (offset, count) of the data set; fewer only at its end."""


@dataclass(frozen=True)
class DataSetHead:
    """Identifying attributes as text without padding, not validated; "" where absent."""

    sop_class_uid: str
    sop_instance_uid: str
    modality: str
    study_instance_uid: str
    series_instance_uid: str


def read_head(read_at: ReadAt, size_bytes: int, transfer_syntax_uid: str) -> DataSetHead:
    """Read the head of a data set of `size_bytes`; raise `DataSetHeadUnreadable` if that is impossible."""
    values = _HeadReader(read_at, size_bytes, transfer_syntax_uid).read()
    return DataSetHead(
        sop_class_uid=values.get(SOP_CLASS_UID, ""),
        sop_instance_uid=values.get(SOP_INSTANCE_UID, ""),
        modality=values.get(MODALITY, ""),
        study_instance_uid=values.get(STUDY_INSTANCE_UID, ""),
        series_instance_uid=values.get(SERIES_INSTANCE_UID, ""),
    )


class _HeadReader:
    """Steps through elements with one small window over the data set."""

    def __init__(self, read_at: ReadAt, size_bytes: int, transfer_syntax_uid: str) -> None:
        self._read_at = read_at
        self._size = size_bytes
        self._explicit = transfer_syntax_uid != IMPLICIT_VR_LITTLE_ENDIAN
        is_big = transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN
        self._start_of, self._long = _BIG_ENDIAN if is_big else _LITTLE_ENDIAN
        self._window = b""
        self._window_start = 0
        self._elements = 0

    def read(self) -> dict[int, str]:
        values: dict[int, str] = {}
        position, previous_tag = self._read_plain(values)
        while position < self._size:
            tag, vr, length, start = self._element(position, self._explicit)
            if tag > SERIES_INSTANCE_UID:
                break
            if tag <= previous_tag:
                raise DataSetHeadUnreadable("attributes are not in ascending order")
            previous_tag = tag
            if tag in _WANTED:
                values[tag] = self._text(start, length)
            position = self._end(vr, length, start, self._explicit, depth=1)
        return values

    def _read_plain(self, values: dict[int, str]) -> tuple[int, int]:
        """Take the plain elements that a data set begins with: explicit, short, in order, whole in the window.

        Most heads hold no others, and a call for each would cost three times as much. Returns the offset of the first
        one that needs `_element`, or more than this, and the tag before it.
        """
        position, previous_tag = 0, 0x0007_FFFF  # groups below 0008 have no place in a data set
        if not self._explicit:
            return position, previous_tag
        window, unpack = self._load(0), self._start_of.unpack_from
        while position + 8 <= len(window):
            group, element, vr, length = unpack(window, position)
            tag, start = group << 16 | element, position + 8
            if vr not in SHORT_VRS or not previous_tag < tag <= SERIES_INSTANCE_UID:
                break
            if start + length > len(window) or (tag in _WANTED and length > _VALUE_BYTES_MAX):
                break
            if tag in _WANTED:
                values[tag] = window[start : start + length].decode("latin-1").rstrip("\0 ")
            position, previous_tag = start + length, tag
        return position, previous_tag

    def _element(self, position: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """(tag, VR or b"" if implicit, length, offset of the value) of the element at `position`."""
        self._elements += 1
        if self._elements > _ELEMENTS_MAX:
            raise DataSetHeadUnreadable(f"more than {_ELEMENTS_MAX} attributes before the series")
        window, offset = self._window, position - self._window_start
        if offset < 0 or offset + 12 > len(window):
            window, offset = self._load(position), 0
            if len(window) < 8:
                raise DataSetHeadUnreadable("an attribute is cut off")
        group, element, vr, short_length = self._start_of.unpack_from(window, offset)
        tag = group << 16 | element
        if not explicit or group == 0xFFFE:
            return tag, b"", self._long.unpack_from(window, offset + 4)[0], position + 8
        if vr in SHORT_VRS:
            return tag, vr, short_length, position + 8
        if vr not in LONG_VRS or len(window) - offset < 12:
            raise DataSetHeadUnreadable("an attribute has no known value representation")
        return tag, vr, self._long.unpack_from(window, offset + 8)[0], position + 12

    def _end(self, vr: bytes, length: int, start: int, explicit: bool, depth: int) -> int:
        """Offset after the value; values of undefined length are walked item by item."""
        if length != _UNDEFINED_LENGTH:
            if start + length > self._size:
                raise DataSetHeadUnreadable("an attribute is longer than the data set")
            return start + length
        if vr not in (b"SQ", b"UN", b""):
            raise DataSetHeadUnreadable("only sequences may have an undefined length here")
        # PS3.5 section 6.2.2: UN of undefined length holds implicit VR items.
        return self._end_of_items(start, explicit and vr != b"UN", depth)

    def _end_of_items(self, position: int, explicit: bool, depth: int) -> int:
        if depth > _DEPTH_MAX:
            raise DataSetHeadUnreadable(f"sequences nest deeper than {_DEPTH_MAX}")
        while True:
            tag, _, length, start = self._element(position, explicit)
            if tag == _SEQUENCE_DELIMITER:
                return start
            if tag != _ITEM:
                raise DataSetHeadUnreadable("something other than an item stands in a sequence")
            if length == _UNDEFINED_LENGTH:
                position = self._end_of_item(start, explicit, depth)
            else:
                position = self._end(b"", length, start, explicit, depth)

    def _end_of_item(self, position: int, explicit: bool, depth: int) -> int:
        while True:
            tag, vr, length, start = self._element(position, explicit)
            if tag == _ITEM_DELIMITER:
                return start
            position = self._end(vr, length, start, explicit, depth + 1)

    def _text(self, start: int, length: int) -> str:
        if length > _VALUE_BYTES_MAX:
            raise DataSetHeadUnreadable("an identifying attribute is too long")
        value = self._bytes(start, length)
        if len(value) < length:
            raise DataSetHeadUnreadable("an identifying attribute is cut off")
        return value.decode("latin-1").rstrip("\0 ")

    def _bytes(self, position: int, count: int) -> bytes:
        offset = position - self._window_start
        if offset < 0 or offset + count > len(self._window):
            self._load(position)
            offset = 0
        return self._window[offset : offset + count]

    def _load(self, position: int) -> bytes:
        """The window, moved to begin at `position`."""
        self._window = self._read_at(position, _WINDOW_BYTES)
        self._window_start = position
        return self._window
