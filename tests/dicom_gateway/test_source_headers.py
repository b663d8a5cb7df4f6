from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_gateway.child_process import ChildError, ChildLimits
from dicom_gateway.header_values import clean
from dicom_gateway.inspect import inspect_study
from dicom_gateway.source_headers import SourceHeaderUnreadable, read_headers
from tests.ct_files import change, ramp, write

LIDC = "ct_chest_lidc0314_1mm/dicom"


def test_headers_come_in_the_order_of_the_files_without_pixels(tmp_path: Path) -> None:
    paths = write(tmp_path, ramp((4, 5, 5)), study_description="Chest")
    order = [paths[index] for index in (2, 0, 3, 1)]
    headers = read_headers(order)
    assert [header.InstanceNumber for header in headers] == [3, 1, 4, 2]
    assert all("PixelData" not in header for header in headers)
    source = pydicom.dcmread(paths[2], stop_before_pixels=True)
    assert {element.tag: element.value for element in headers[0]} == {e.tag: e.value for e in source}


def test_the_first_comes_whole_and_of_the_others_who_they_are_and_where_they_lie(tmp_path: Path) -> None:
    def edit(number: int, dataset: Dataset) -> None:
        dataset.StudyDescription, dataset.PatientComments = "Chest", "x" * 64
        dataset.SliceThickness = str(number + 1)

    paths = write(tmp_path, ramp((3, 5, 5)))
    change(paths, edit)
    whole, *others = read_headers(paths)
    assert whole.StudyDescription == "Chest"
    assert [header.SliceThickness for header in others] == [2, 3]
    for header in others:
        assert "PatientComments" not in header
        assert {"PatientID", "SOPInstanceUID", "ImagePositionPatient", "RescaleSlope"} <= set(header.dir())


def test_text_of_every_character_set_comes_as_utf8(shared_data: Path) -> None:
    paths = sorted((shared_data / "charsets").glob("*.dcm"))
    for path, header in zip(paths, read_headers(paths), strict=True):
        assert header.SpecificCharacterSet == "ISO_IR 192"
        assert str(header.PatientName) == str(pydicom.dcmread(path).PatientName)


CHINESE = "王^小东"
DAMAGED = "\ufffd"


@pytest.mark.parametrize("implicit_vr", [False, True])
@pytest.mark.parametrize(
    ("declared", "written", "read"),
    [
        ("GB18030", CHINESE.encode("gb18030"), CHINESE),
        ("GBK", CHINESE.encode("gbk"), CHINESE),
        ("ISO_IR 192", CHINESE.encode(), CHINESE),
        ("", CHINESE.encode(), CHINESE),
        ("ISO_IR 999", CHINESE.encode(), CHINESE),
        # Nobody can tell which of many character sets these are in: garbled for all to see, never a plausible name.
        ("", CHINESE.encode("gb18030"), CHINESE.encode("gb18030").decode("latin-1")),
        ("ISO_IR 999", CHINESE.encode("gb18030"), CHINESE.encode("gb18030").decode("latin-1")),
        ("ISO_IR 192", "王^ab".encode("gb18030"), f"{DAMAGED}{DAMAGED}^ab"),
        ("", b"Doe^Jane", "Doe^Jane"),
    ],
)
def test_a_name_under_a_right_a_wrong_or_no_declared_character_set(
    tmp_path: Path, declared: str, written: bytes, read: str, implicit_vr: bool
) -> None:
    (path,) = write(tmp_path, ramp((1, 4, 4)))
    dataset = pydicom.dcmread(path)
    dataset.PatientName = "@" * len(written)
    dataset.SpecificCharacterSet = declared
    syntax = ImplicitVRLittleEndian if implicit_vr else ExplicitVRLittleEndian
    dataset.file_meta.TransferSyntaxUID = syntax
    with pydicom.config.disable_value_validation():
        pydicom.dcmwrite(path, dataset, implicit_vr=implicit_vr, little_endian=True)
    path.write_bytes(path.read_bytes().replace(b"@" * len(written), written))
    (header,) = read_headers([path])
    assert header.SpecificCharacterSet == "ISO_IR 192"
    assert str(header.PatientName) == read
    assert inspect_study([("1", path)]).study.patient.name == clean(read)


def test_text_within_sequences_keeps_the_character_set_that_it_was_written_in(tmp_path: Path) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 144"
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99X", "Лёгкие"
        dataset.ProcedureCodeSequence = Sequence([item])
        dataset.PatientName = "Иванов^Пётр"

    paths = write(tmp_path, ramp((2, 4, 4)))
    change(paths, edit)
    header = read_headers(paths)[0]
    assert str(header.PatientName) == "Иванов^Пётр"
    assert header.ProcedureCodeSequence[0].CodeMeaning == "Лёгкие"


def test_private_elements_overlays_and_large_values_stay_behind(tmp_path: Path) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        dataset.private_block(0x0009, "ACME", create=True).add_new(1, "LO", "secret")
        dataset.add_new(0x60003000, "OW", bytes(64))
        dataset.add_new(0x00204000, "LT", "x" * 70_000)
        item = Dataset()
        item.CodeMeaning = "kept"
        item.private_block(0x0009, "ACME", create=True).add_new(1, "LO", "secret")
        dataset.ProcedureCodeSequence = Sequence([item])

    paths = write(tmp_path, ramp((2, 4, 4)))
    change(paths, edit)
    header = read_headers(paths)[0]
    assert not [element.tag for element in header.iterall() if element.tag.is_private]
    assert 0x60003000 not in header
    assert "ImageComments" not in header
    assert header.ProcedureCodeSequence[0].CodeMeaning == "kept"


def test_a_damaged_element_is_left_out_and_the_rest_comes(tmp_path: Path) -> None:
    paths = write(tmp_path, ramp((2, 4, 4)))
    data = paths[0].read_bytes()
    at = data.index(b"\x20\x00\x13\x00IS")
    length = int.from_bytes(data[at + 6 : at + 8], "little")
    paths[0].write_bytes(data[: at + 8] + b"x!"[:length] + data[at + 8 + length :])
    header = read_headers(paths)[0]
    assert "PatientID" in header
    assert header.StudyInstanceUID


def test_sequences_nested_deeper_than_any_real_one_are_left_out(tmp_path: Path) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        inner = Dataset()
        inner.CodeMeaning = "deep"
        for _level in range(60):
            outer = Dataset()
            outer.ProcedureCodeSequence = Sequence([inner])
            inner = outer
        dataset.ProcedureCodeSequence = inner.ProcedureCodeSequence

    paths = write(tmp_path, ramp((2, 4, 4)))
    change(paths, edit)
    header = read_headers(paths)[0]
    assert "ProcedureCodeSequence" not in header
    assert "PatientID" in header


def test_functional_groups_of_an_enhanced_image_come_whole(shared_data: Path) -> None:
    (header,) = read_headers([shared_data / "ct_enhanced_multiframe" / "CT0012.not_fragmented_bot_rle.dcm"])
    positions = [
        item.PlanePositionSequence[0].ImagePositionPatient for item in header.PerFrameFunctionalGroupsSequence
    ]
    assert [position[2] for position in positions] == [-159, -149]


def test_headers_of_a_real_series_have_what_results_repeat(shared_data: Path) -> None:
    paths = sorted((shared_data / LIDC).glob("*.dcm"))
    headers = read_headers(paths)
    assert len({str(header.SOPInstanceUID) for header in headers}) == 275
    assert {str(header.PatientID) for header in headers} == {"LIDC-IDRI-0314"}


def test_a_file_that_is_no_dicom_is_named_by_its_number(tmp_path: Path) -> None:
    paths = write(tmp_path, ramp((2, 4, 4)))
    paths[1].write_bytes(b"")
    with pytest.raises(SourceHeaderUnreadable, match="file 2 of the series: it is not a DICOM Part 10 file"):
        read_headers(paths)


def test_a_child_that_does_not_answer_is_an_error_and_not_an_empty_list(tmp_path: Path) -> None:
    paths = write(tmp_path, ramp((2, 4, 4)))
    with pytest.raises(ChildError):
        read_headers(paths, ChildLimits(wall_clock_s=0.01))
