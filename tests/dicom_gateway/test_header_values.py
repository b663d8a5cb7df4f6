"""Decimal strings are read as the parser reads them, hostile ones too."""

from __future__ import annotations

import math
from io import BytesIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from dicom_gateway import header_values
from dicom_gateway.frame_headers import IMAGE_POSITION, RESCALE_SLOPE

LIKE_NUMBERS = st.text(alphabet="0123456789+-.eE \\\x00_,naifxé٣", max_size=24)


def parsed(value: bytes) -> Dataset:
    """Image Position (Patient), explicit little endian, as it stands in a file."""
    padded = value + b" " * (len(value) % 2)
    head = b"\x20\x00\x32\x00DS" + len(padded).to_bytes(2, "little")
    return read_dataset(BytesIO(head + padded), is_implicit_VR=False, is_little_endian=True)


def by_the_parser(dataset: Dataset, count: int) -> tuple[float, ...] | None:
    value = header_values.raw_value(dataset, IMAGE_POSITION)
    items = [] if value in (None, "") else value if header_values._is_list(value) else [value]
    try:
        found = tuple(map(float, items))
    except (TypeError, ValueError, OverflowError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


@given(LIKE_NUMBERS, st.integers(1, 3))
@example("-1.5\\2e1\\+3", 3)
@example(" 1 \\ 2 ", 2)
@example("1\x00", 1)
@example("1\\\\3", 3)
@example("1e999", 1)
@example("", 1)
@pytest.mark.filterwarnings("ignore")
def test_a_decimal_string_reads_as_the_parser_converts_it(text: str, count: int) -> None:
    value = text.encode("utf-8")
    ours = header_values.numbers(parsed(value), IMAGE_POSITION, count)
    assert ours == by_the_parser(parsed(value), count)


def test_a_number_that_the_parser_has_converted_or_that_no_header_spelled_out_is_read_too() -> None:
    converted = parsed(b"1\\2\\3")
    assert converted[IMAGE_POSITION].value == [1, 2, 3]
    assert header_values.numbers(converted, IMAGE_POSITION, 3) == (1, 2, 3)
    implicit = Dataset(
        {BaseTag(RESCALE_SLOPE): RawDataElement(BaseTag(RESCALE_SLOPE), None, 2, b"2 ", 0, True, True)}
    )
    assert header_values.number(implicit, RESCALE_SLOPE) == 2
    assert header_values.number(Dataset(), RESCALE_SLOPE) is None
