"""Group 0002, written and read."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_gateway.errors import NotAPart10File
from dicom_gateway.file_meta import FileMeta, part10_header, read_file_meta

CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
HEADER = part10_header(CT, "1.2.3", EXPLICIT, "CT01")


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(HEADER + bytes(20))
    assert read_file_meta(path) == FileMeta(CT, "1.2.3", EXPLICIT)


def test_every_real_file_gives_what_pydicom_reads(shared_data: Path) -> None:
    compared = 0
    for path in sorted(path for path in shared_data.rglob("*") if path.is_file()):
        if "malformed_real" in path.parts:
            continue
        try:
            meta = pydicom.filereader.read_file_meta_info(path)
        except Exception:
            continue
        expected = FileMeta(
            meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID
        )
        assert read_file_meta(path) == expected, path.name
        compared += 1
    assert compared > 400


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        bytes(128) + b"DICM",
        HEADER[:200],
        part10_header("../../etc", "1.2.3", EXPLICIT, "CT01"),
        part10_header(CT, "", EXPLICIT, "CT01"),
    ],
)
def test_what_does_not_say_what_it_holds_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    with pytest.raises(NotAPart10File):
        read_file_meta(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(128, len(HEADER) - 1), value=st.integers(0, 255), tail=st.binary(max_size=40))
def test_any_bytes_are_read_or_refused_without_a_word_of_them(
    tmp_path: Path, position: int, value: int, tail: bytes
) -> None:
    content = bytearray(HEADER)
    content[position] = value
    path = tmp_path / "x.dcm"
    path.write_bytes(bytes(content) + tail)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(NotAPart10File):
            read_file_meta(path)
