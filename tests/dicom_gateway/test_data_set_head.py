"""The head of a data set; pydicom is the independent reader, hostile bytes are refused by name."""

from __future__ import annotations

import contextlib
import io
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from dicom_gateway import data_set_head
from dicom_gateway.data_set_head import DataSetHead, read_head
from dicom_gateway.errors import DataSetHeadUnreadable
from tests.dicom_peers import ct_data_set, data_set_of

IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"


def head_of(data: bytes, syntax: str = EXPLICIT) -> DataSetHead:
    return read_head(lambda offset, count: data[offset : offset + count], len(data), syntax)


def encoded(dataset: Dataset, syntax: str) -> bytes:
    target = pydicom.filebase.DicomBytesIO()
    target.is_little_endian, target.is_implicit_VR = syntax != BIG_ENDIAN, syntax == IMPLICIT
    write_dataset(target, dataset)
    return target.getvalue()


def full_dataset() -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    dataset.Modality, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "CT", "1.2.4", "1.2.5"
    reference = Dataset()
    reference.ReferencedSOPInstanceUID = "9.9.9"
    reference.PurposeOfReferenceCodeSequence = Sequence([Dataset(), Dataset()])
    dataset.ReferencedImageSequence = Sequence([reference, reference])
    dataset.PatientName = "Nobody"
    dataset.add_new(0x00090010, "LO", "PRIVATE")
    dataset.add_new(0x00091001, "UN", b"x" * 100_000)
    return dataset


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("undefined_length", [True, False])
def test_sequences_and_private_attributes_are_stepped_over(syntax: str, undefined_length: bool) -> None:
    dataset = full_dataset()
    dataset["ReferencedImageSequence"].is_undefined_length = undefined_length
    for item in dataset.ReferencedImageSequence:
        item.is_undefined_length_sequence_item = undefined_length
    head = head_of(encoded(dataset, syntax), syntax)
    assert head == DataSetHead("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "CT", "1.2.4", "1.2.5")


def test_every_real_file_gives_what_pydicom_reads(shared_data: Path) -> None:
    folders = [
        "basic",
        "ct_geometry",
        "cxr",
        "mr_enhanced",
        "mr_series",
        "seg",
        "sr",
        "us",
        "rt",
        "pm",
        "charsets",
    ]
    files = [
        path for folder in folders for path in sorted((shared_data / folder).rglob("*")) if path.is_file()
    ]
    compared = 0
    for path in files:
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            syntax = str(dataset.file_meta.TransferSyntaxUID)
            data = data_set_of(path)
        except Exception:
            continue
        if syntax in ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"):
            continue
        head = head_of(data, syntax)
        expected = [dataset.get(name, "") for name in ("SOPClassUID", "SOPInstanceUID", "Modality")]
        expected += [dataset.get(name, "") for name in ("StudyInstanceUID", "SeriesInstanceUID")]
        assert list(vars(head).values()) == [str(value or "") for value in expected], path.name
        compared += 1
    assert compared > 40


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def nested(depth: int) -> bytes:
    opening = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    return opening * depth


HOSTILE: dict[str, Callable[[], bytes]] = {
    "300 nested sequences": lambda: nested(300),
    "30 000 nested sequences": lambda: nested(30_000),
    "a huge length in a short file": lambda: struct.pack("<HH2sHI", 8, 8, b"UT", 0, 0xFFFFFFF0) + b"x" * 10,
    "group 0002 in the data set": lambda: (
        element(0x00020010, b"UI", b"1.2.840.10008.1.2.1\0") + ct_data_set("1.2")
    ),
    "a duplicate SOP Instance UID": lambda: ct_data_set("1.2")[:70] + ct_data_set("1.3"),
    "descending attributes": lambda: element(0x00100010, b"PN", b"A ") + ct_data_set("1.2"),
    "an unknown VR": lambda: element(0x00080005, b"XX", b"AB"),
    "cut in a header": lambda: ct_data_set("1.2")[:30],
    "cut in a value": lambda: ct_data_set("1.2.3.4.5.6")[:12],
    "pixel data of undefined length first": lambda: struct.pack("<HH2sHI", 8, 5, b"OW", 0, 0xFFFFFFFF),
    "a UID of 60 kB": lambda: element(0x00080018, b"UI", b"1" * 60_000),
    "a stray delimiter": lambda: struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF) + bytes(16),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_head_is_refused_by_name_and_at_once(name: str) -> None:
    data = HOSTILE[name]()
    started = time.monotonic()
    with pytest.raises(DataSetHeadUnreadable):
        head_of(data)
    assert time.monotonic() - started < 2


def test_a_million_tiny_attributes_end_soon() -> None:
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    data = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF) + item * 1_000_000
    started = time.monotonic()
    with pytest.raises(DataSetHeadUnreadable):
        head_of(data)
    assert time.monotonic() - started < 2


def test_memory_does_not_follow_the_object() -> None:
    sizes: list[int] = []
    data = io.BytesIO(ct_data_set("1.2.3", pixel_bytes=5_000_000))

    def read_at(offset: int, count: int) -> bytes:
        sizes.append(count)
        data.seek(offset)
        return data.read(count)

    assert read_head(read_at, len(data.getvalue()), EXPLICIT).sop_instance_uid == "1.2.3"
    assert sum(sizes) <= 16 * 1024


@settings(max_examples=500, deadline=None)
@given(
    st.binary(max_size=200), st.integers(0, 150), st.integers(0, 255), st.sampled_from([IMPLICIT, EXPLICIT])
)
def test_any_bytes_are_read_or_refused_by_name(tail: bytes, position: int, value: int, syntax: str) -> None:
    changed = bytearray(ct_data_set("1.2.3"))
    changed[position] = value
    for data in (tail, bytes(changed), bytes(changed[:position]) + tail):
        with contextlib.suppress(DataSetHeadUnreadable):
            head_of(data, syntax)


_ATTRIBUTE = st.tuples(
    st.sampled_from(
        [0x00080016, 0x00080018, 0x00080060, 0x00091001, 0x0020000D, 0x0020000E, 0x00070010, 0xFFFEE000]
    ),
    st.sampled_from([b"UI", b"CS", b"LO", b"UN", b"SQ", b"??"]),
    st.binary(max_size=300),
    st.integers(-2, 2),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(_ATTRIBUTE, max_size=8), st.booleans(), st.sampled_from([EXPLICIT, BIG_ENDIAN]))
def test_plain_attributes_are_read_as_all_others_are(
    attributes: list[tuple[int, bytes, bytes, int]], in_order: bool, syntax: str
) -> None:
    order = ">" if syntax == BIG_ENDIAN else "<"
    data = b"".join(
        struct.pack(f"{order}HH2sH", tag >> 16, tag & 0xFFFF, vr, max(len(value) + wrong, 0)) + value
        for tag, vr, value, wrong in (sorted(attributes) if in_order else attributes)
    )

    def read() -> DataSetHead | str:
        try:
            return head_of(data, syntax)
        except DataSetHeadUnreadable as error:
            return str(error)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(data_set_head._HeadReader, "_read_plain", lambda *_: (0, 0x0007_FFFF))
        one_by_one = read()
    assert read() == one_by_one
