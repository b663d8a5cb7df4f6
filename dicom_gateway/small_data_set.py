"""The data sets of requests that are no instances, read with bounds and written (PS3.5 section 7).

They hold a few identifiers in sequences: what a storage commitment is asked for, what a procedure step lists. Only
the attributes that are wanted are kept; every other one is stepped over. Nesting and number of attributes are
limited; the size is, by whoever collects the bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dicom_gateway.data_set_head import LONG_VRS, SHORT_VRS
from dicom_gateway.service_errors import RequestUnreadable
from dicom_gateway.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN

Item = dict[int, "str | list[Item]"]
"""Attributes by tag: text without padding, or the items of a sequence."""

DEPTH_MAX = 32
ATTRIBUTES_MAX = 200_000  # a commitment of 40,000 instances has 120,000
_VALUE_BYTES_MAX = 256
_ITEM = 0xFFFE_E000
_ITEM_DELIMITER = 0xFFFE_E00D
_SEQUENCE_DELIMITER = 0xFFFE_E0DD
_UNDEFINED_LENGTH = 0xFFFF_FFFF
_TAG_LENGTH = struct.Struct("<HHI")
_TAG = struct.Struct("<HH")


@dataclass(frozen=True)
class Wanted:
    """Tags of the text attributes and of the sequences that a request is read for."""

    texts: frozenset[int]
    sequences: frozenset[int]


def read_data_set(data: bytes, transfer_syntax_uid: str, wanted: Wanted) -> Item:
    """The wanted attributes of a little endian data set; raise `RequestUnreadable` for what is none."""
    reader = _Reader(data, wanted)
    item, _ = reader.item(0, len(data), transfer_syntax_uid != IMPLICIT_VR_LITTLE_ENDIAN, 0)
    return item


def text_of(item: Item, tag: int) -> str:
    """The text of an attribute, "" where it is absent."""
    value = item.get(tag, "")
    return value if isinstance(value, str) else ""


def items_of(item: Item, tag: int) -> list[Item]:
    """The items of a sequence, none where it is absent."""
    value = item.get(tag, [])
    return value if isinstance(value, list) else []


class _Reader:
    """Walks elements; a group 0002 or descending tags do no harm here and pass."""

    def __init__(self, data: bytes, wanted: Wanted) -> None:
        self._data = data
        self._wanted = wanted
        self._attributes_left = ATTRIBUTES_MAX

    def item(self, position: int, end: int, explicit: bool, depth: int) -> tuple[Item, int]:
        """The attributes from `position` to `end` or to an item delimiter, and the position after them."""
        if depth > DEPTH_MAX:
            raise RequestUnreadable(f"sequences nest deeper than {DEPTH_MAX}")
        item: Item = {}
        while position < end:
            tag, vr, length, position = self._element(position, end, explicit)
            if tag == _ITEM_DELIMITER:
                return item, position
            is_open = length == _UNDEFINED_LENGTH
            if not is_open and position + length > end:
                raise RequestUnreadable("an attribute is longer than what holds it")
            value_end = end if is_open else position + length
            if is_open or tag in self._wanted.sequences:
                # PS3.5 section 6.2.2: UN of undefined length holds implicit VR items.
                items, after = self._items(position, value_end, explicit and vr != b"UN", depth + 1, is_open)
                if tag in self._wanted.sequences:
                    item[tag] = items
                position = after
                continue
            if tag in self._wanted.texts:
                item[tag] = self._text(position, length)
            position = value_end
        return item, position

    def _items(
        self, position: int, end: int, explicit: bool, depth: int, is_open: bool
    ) -> tuple[list[Item], int]:
        items: list[Item] = []
        while position < end:
            tag, _, length, position = self._element(position, end, explicit=False)
            if tag == _SEQUENCE_DELIMITER and is_open:
                return items, position
            if tag != _ITEM:
                raise RequestUnreadable("something other than an item stands in a sequence")
            if length == _UNDEFINED_LENGTH:
                item, position = self.item(position, end, explicit, depth)
            elif position + length > end:
                raise RequestUnreadable("an item is longer than what holds it")
            else:
                item, position = self.item(position, position + length, explicit, depth)
            items.append(item)
        if is_open:
            raise RequestUnreadable("a sequence has no end")
        return items, position

    def _element(self, position: int, end: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """(tag, VR or b"" if implicit, length, position of the value)."""
        self._attributes_left -= 1
        if self._attributes_left < 0:
            raise RequestUnreadable(f"more than {ATTRIBUTES_MAX} attributes")
        if end - position < 8:
            raise RequestUnreadable("an attribute is cut off")
        group, element, length = _TAG_LENGTH.unpack_from(self._data, position)
        tag = group << 16 | element
        if not explicit or group == 0xFFFE:
            return tag, b"", length, position + 8
        vr = self._data[position + 4 : position + 6]
        if vr in SHORT_VRS:
            return tag, vr, length >> 16, position + 8
        if vr not in LONG_VRS or end - position < 12:
            raise RequestUnreadable("an attribute has no known value representation")
        return tag, vr, int.from_bytes(self._data[position + 8 : position + 12], "little"), position + 12

    def _text(self, position: int, length: int) -> str:
        if length > _VALUE_BYTES_MAX:
            raise RequestUnreadable("an attribute is longer than it can be")
        return self._data[position : position + length].decode("latin-1").rstrip("\0 ").lstrip(" ")


def encode_uid(tag: int, uid: str, transfer_syntax_uid: str) -> bytes:
    value = uid.encode("ascii")
    return _encode(tag, b"UI", value + b"\0" * (len(value) % 2), transfer_syntax_uid)


def encode_unsigned_short(tag: int, value: int, transfer_syntax_uid: str) -> bytes:
    return _encode(tag, b"US", struct.pack("<H", value), transfer_syntax_uid)


def encode_sequence(tag: int, items: list[bytes], transfer_syntax_uid: str) -> bytes:
    """A sequence of encoded items, with explicit lengths."""
    value = b"".join(_TAG_LENGTH.pack(0xFFFE, 0xE000, len(item)) + item for item in items)
    return _encode(tag, b"SQ", value, transfer_syntax_uid)


def _encode(tag: int, vr: bytes, value: bytes, transfer_syntax_uid: str) -> bytes:
    head = _TAG.pack(tag >> 16, tag & 0xFFFF)
    if transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN:
        return head + struct.pack("<I", len(value)) + value
    if vr in LONG_VRS:
        return head + vr + struct.pack("<HI", 0, len(value)) + value
    return head + vr + struct.pack("<H", len(value)) + value
