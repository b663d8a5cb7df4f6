"""Modality and VOI lookup tables of an image (PS3.3 C.11.1.1, C.11.2.1.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_gateway import frame_headers as tags
from dicom_gateway import header_values as values
from dicom_gateway.decode_errors import LookupTableInvalid

_ENTRIES_MAX = 1 << 16
_BITS = range(8, 17)


@dataclass(frozen=True)
class LookupTable:
    """entries: uint16; the first stands for the stored value `first`. bits: how many of their bits count."""

    entries: NDArray[np.uint16]
    first: int
    bits: int

    def apply(self, stored: NDArray[np.int32]) -> NDArray[np.int32]:
        """Values below the first and above the last entry take those."""
        index = np.clip(stored - np.int32(self.first), 0, len(self.entries) - 1)
        return np.asarray(self.entries[index], np.int32)


def read_table(dataset: Dataset, sequence_tag: int, *, is_signed: bool) -> LookupTable | None:
    """The first table of a sequence, None where there is none; raises `LookupTableInvalid`.

    is_signed: Pixel Representation, by which the first value mapped is read.
    """
    item = values.first_item(dataset, sequence_tag)
    if item is None:
        return None
    descriptor = values.numbers(item, tags.LUT_DESCRIPTOR, 3)
    if descriptor is None or not all(number.is_integer() for number in descriptor):
        raise LookupTableInvalid("a lookup table of the image has no usable descriptor")
    count, first, bits = (int(number) for number in descriptor)
    count = count % _ENTRIES_MAX or _ENTRIES_MAX
    first %= _ENTRIES_MAX
    if is_signed and first >= _ENTRIES_MAX // 2:
        first -= _ENTRIES_MAX
    if bits not in _BITS:
        raise LookupTableInvalid(f"a lookup table of the image announces entries of {bits} bits")
    entries = _entries(item, count)
    if int(entries.max()) >= 1 << bits:
        raise LookupTableInvalid(f"a lookup table of the image has entries beyond its {bits} bits")
    return LookupTable(entries, first, bits)


def _entries(item: Dataset, count: int) -> NDArray[np.uint16]:
    """LUT Data as words (OW bytes or US numbers); one byte for each entry is a common deviation."""
    raw = values.raw_value(item, tags.LUT_DATA)
    if isinstance(raw, bytes):
        width = 2 if len(raw) >= 2 * count else 1
        if len(raw) not in (width * count, width * count + 1):
            raise LookupTableInvalid("a lookup table of the image has another length than it announces")
        return np.frombuffer(raw[: width * count], f"<u{width}").astype(np.uint16)
    numbers = values.numbers(item, tags.LUT_DATA, count)
    if numbers is None or not all(0 <= number < _ENTRIES_MAX for number in numbers):
        raise LookupTableInvalid("a lookup table of the image has another length than it announces")
    return np.array(numbers, np.uint16)
