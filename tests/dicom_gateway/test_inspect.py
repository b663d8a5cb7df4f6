from __future__ import annotations

import io
import json
import os
import shutil
import time
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_gateway import header_values, inspect_child
from dicom_gateway.child_process import ChildLimits
from dicom_gateway.inspect import (
    InspectedStudy,
    NothingReadable,
    SeveralStudies,
    inspect_files,
    inspect_study,
)
from dicom_gateway.part10 import INFLATED_BYTES_MAX
from tests.ct_files import change, ramp, write


def inspected(*paths: Path) -> InspectedStudy:
    return inspect_study([(path.name, path) for path in paths])


def test_headers_become_a_study_with_its_series_in_the_order_of_their_instance_numbers(
    tmp_path: Path,
) -> None:
    paths = write(tmp_path, ramp((5, 6, 7)), study_description="Chest", seed="a")
    found = inspected(*reversed(paths))
    assert found.study.patient.name == "Test^Patient"
    assert found.study.description == "Chest"
    (series,) = found.study.series
    assert (series.modality, series.body_part_examined, series.convolution_kernel) == (
        "CT",
        "CHEST",
        "STANDARD",
    )
    assert [instance.location for instance in series.instances] == [path.name for path in paths]
    first = series.instances[0]
    assert (first.rows, first.columns, first.number_of_frames) == (6, 7, 1)
    assert first.pixel_spacing_mm == (0.7, 0.8)
    assert first.slice_thickness_mm == 2.5
    assert first.image_position_mm == (0.0, 0.0, 0.0)
    assert found.unreadable == ()
    assert found.notes == ()


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    paths = write(tmp_path, ramp((3, 4, 4)))
    paths[1].write_bytes(b"this is no DICOM")
    found = inspected(*paths, tmp_path / "absent.dcm")
    assert len(found.study.series[0].instances) == 2
    assert [(file.location, file.reason) for file in found.unreadable] == [
        ("0002.dcm", "it is not a DICOM Part 10 file"),
        ("absent.dcm", "it cannot be opened: No such file or directory"),
    ]


def test_files_of_two_studies_are_not_one_study(tmp_path: Path) -> None:
    paths = write(tmp_path / "a", ramp((2, 4, 4)), seed="a") + write(
        tmp_path / "b", ramp((2, 4, 4)), seed="b"
    )
    with pytest.raises(SeveralStudies):
        inspected(*paths)
    assert len(inspect_files([(path.name, path) for path in paths]).studies) == 2


def test_a_set_without_any_dicom_says_so(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(NothingReadable) as caught:
        inspected(tmp_path / "x")
    assert caught.value.unreadable[0].location == "x"


def test_two_patients_in_one_study_are_noted(tmp_path: Path) -> None:
    paths = write(tmp_path, ramp((2, 4, 4)))
    change(paths[1:], lambda _, dataset: setattr(dataset, "PatientID", "OTHER"))
    assert inspected(*paths).notes == ("The instances name 2 different patients.",)


def test_file_meta_information_of_another_class_refuses_the_file(tmp_path: Path) -> None:
    paths = write(tmp_path, ramp((2, 4, 4)))
    change(
        paths[1:], lambda _, d: setattr(d.file_meta, "MediaStorageSOPClassUID", "1.2.840.10008.5.1.4.1.1.7")
    )
    assert "another SOP Class" in inspected(*paths).unreadable[0].reason


@pytest.mark.parametrize("uid", ["../../../../tmp/pwned", "1." + "9" * 68, "1.2.3\x00.4", "", "1..2", "１.2"])
def test_what_is_not_a_uid_does_not_become_one(tmp_path: Path, uid: str) -> None:
    path, good = write(tmp_path, ramp((2, 4, 4)))
    data = path.read_bytes()
    at = data.index(b"\x20\x00\x0e\x00UI") + 6
    length = int.from_bytes(data[at : at + 2], "little")
    value = uid.encode() + b"\0" * (len(uid.encode()) % 2)
    path.write_bytes(data[:at] + len(value).to_bytes(2, "little") + value + data[at + 2 + length :])
    (refused,) = inspected(path, good).unreadable
    assert "Series Instance UID" in refused.reason


def test_sequences_nested_without_end_refuse_only_their_file(tmp_path: Path) -> None:
    """Row 17 of the list of attacks: 300 levels of undefined length raise RecursionError in pydicom."""
    path, good = write(tmp_path, ramp((2, 4, 4)))
    data = path.read_bytes()
    at = data.index(b"\x08\x00\x05\x00CS")
    level = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    path.write_bytes(data[:at] + level * 3000 + end * 3000 + data[at:])
    found = inspected(path, good)
    assert len(found.study.series[0].instances) == 1
    assert found.unreadable[0].reason == "its sequences are nested too deeply"


def test_a_deflate_bomb_is_refused_before_it_is_inflated_whole(tmp_path: Path) -> None:
    """Row 15 of the list of attacks, within less memory than the bomb asks for."""
    path, good = write(tmp_path, ramp((2, 4, 4)))
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    data = path.read_bytes()
    head = data[: 144 + int.from_bytes(data[140:144], "little")]
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    size = 4 * INFLATED_BYTES_MAX
    bomb = compressor.compress(
        b"\x09\x00\x10\x00LO\x04\x00ACME\x09\x00\x01\x10OB\0\0" + size.to_bytes(4, "little")
    )
    for _ in range(size >> 20):
        bomb += compressor.compress(bytes(1 << 20))
    path.write_bytes(head + bomb + compressor.flush())
    found = inspect_study([(p.name, p) for p in (path, good)], ChildLimits(memory_bytes=512 << 20))
    assert "inflates to more than" in found.unreadable[0].reason
    assert len(found.study.series[0].instances) == 1


def test_a_file_that_ends_the_reading_process_costs_only_itself(tmp_path: Path) -> None:
    """Reading a named pipe without a writer blocks until the deadline."""
    first, last = write(tmp_path, ramp((2, 4, 4)))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = inspect_study([(p.name, p) for p in (first, pipe, last)], ChildLimits(wall_clock_s=6.0))
    assert len(found.study.series[0].instances) == 2
    assert found.unreadable[0].location == "pipe"
    assert "did not survive" in found.unreadable[0].reason


def test_a_length_beyond_the_file_and_a_repeated_element_are_refused(tmp_path: Path) -> None:
    """Row 18 of the list of attacks: pydicom shortens the one and keeps the last of the other in silence."""
    long, twice, good = write(tmp_path, ramp((3, 4, 4)))
    data = long.read_bytes()
    at = data.index(b"\x10\x00\x20\x00LO") + 6
    long.write_bytes(data[:at] + b"\xfe\xff" + data[at + 2 :])
    data = twice.read_bytes()
    at = data.index(b"\x10\x00\x20\x00LO")
    element = data[at : data.index(b"\x10\x00\x30\x00DA")]
    twice.write_bytes(data[:at] + element + data[at:])
    reasons = {file.location: file.reason for file in inspected(long, twice, good).unreadable}
    assert reasons == {
        "0001.dcm": "it ends within a data element",
        "0002.dcm": "a data element appears twice in it",
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b]0;owned\x07A\nB^C", "0;owned\ufffdA\ufffdB^C"),
        ("\u202eeman", "\ufffdeman"),
        ("王^小东=王^小东", "王^小东=王^小东"),
        ("A" * 5000, "A" * 399 + "…"),
    ],
)
def test_text_is_shown_without_controls_and_overrides(tmp_path: Path, name: str, shown: str) -> None:
    paths = write(tmp_path, ramp((2, 4, 4)))
    with pydicom.config.disable_value_validation():
        change(paths, lambda _, dataset: setattr(dataset, "PatientName", name))
    assert inspected(*paths).study.patient.name == shown


CHARACTER_SETS = (
    "", "ISO_IR 100", "ISO_IR 192", "GB18030", "GBK", "ISO 2022 IR 13", "ISO 2022 IR 58", "ISO 2022 IR 87",
    "ISO 2022 IR 149", "ISO 2022 IR 166", "nonsense", "ISO_IR 192 ",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None)
@given(
    charset=st.lists(st.sampled_from(CHARACTER_SETS), max_size=3),
    value=st.binary(max_size=40) | st.binary(max_size=10).map(lambda b: b"\x1b$B" + b + b"\\^=\x1b$)C"),
)
def test_no_bytes_in_any_character_set_raise(charset: list[str], value: bytes) -> None:
    """Row 21 of the list of attacks."""
    raw = b"".join(
        tag + vr + len(data).to_bytes(2, "little") + data
        for tag, vr, data in (
            (b"\x08\x00\x05\x00", b"CS", "\\".join(charset).encode()),
            (b"\x10\x00\x10\x00", b"PN", value),
            (b"\x10\x00\x20\x00", b"LO", value),
        )
    )
    dataset = read_dataset(io.BytesIO(raw), is_implicit_VR=False, is_little_endian=True)
    for tag in (0x00100010, 0x00100020):
        text = header_values.text(dataset, tag)
        assert len(text) <= header_values.TEXT_LENGTH_MAX
        assert not [character for character in text if ord(character) < 32]
        text.encode("utf-8")


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(132, 1400), st.integers(0, 255)), min_size=1, max_size=12))
def test_any_damage_to_a_header_ends_in_a_record_or_a_reason(
    tmp_path: Path, changes: list[tuple[int, int]]
) -> None:
    (tmp_path / "in").mkdir(exist_ok=True)
    path = write(tmp_path / "in", ramp((1, 4, 4)))[0]
    data = bytearray(path.read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    path.write_bytes(data)
    record = inspect_child._record(path)
    json.dumps(record, allow_nan=False)
    assert ("unreadable" in record) != ("study" in record)


class TestRealFiles:
    def test_every_character_set_is_decoded(self, shared_data: Path) -> None:
        files = sorted((shared_data / "charsets").glob("*.dcm"))
        names = {study.study.patient.patient_id: study.study.patient.name for study in
                 inspect_files([(path.name, path) for path in files]).studies}  # fmt: skip
        assert names["cyrillic"] == "Test-Дћ"
        assert names["shift-jis"] == "Test-ДΘﾈ"
        assert names["utf8"].startswith("Test-éüäöòДΘ")
        assert "\ufffd" not in "".join(names.values())

    def test_a_thousand_files_take_seconds(self, shared_data: Path, tmp_path: Path) -> None:
        source = sorted((shared_data / "ct_chest_lidc0314_1mm" / "dicom").glob("*.dcm"))
        files = [(f"{copy}/{path.name}", path) for copy in range(4) for path in source][:1000]
        started = time.monotonic()
        found = inspect_study(files)
        assert len(found.study.series[0].instances) == 1000
        # Two seconds when nothing else runs.
        assert time.monotonic() - started < 20

    def test_an_enhanced_image_tells_its_frames_and_geometry(self, shared_data: Path) -> None:
        found = inspected(shared_data / "ct_enhanced_multiframe" / "CT0012.not_fragmented_bot_rle.dcm")
        (series,) = found.study.series
        (instance,) = series.instances
        assert instance.number_of_frames == 2
        assert instance.image_orientation == (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
        assert instance.slice_thickness_mm == 10.0
        assert "PERFUSION" in instance.image_type
        assert series.body_part_examined == "BRAIN"

    def test_real_malformed_files_are_read_or_named(self, shared_data: Path) -> None:
        files = sorted((shared_data / "malformed_real").iterdir())
        found = inspect_files([(path.name, path) for path in files])
        read = sum(len(series.instances) for study in found.studies for series in study.study.series)
        assert read + len(found.unreadable) == len(files)
        assert read >= 15

    def test_an_object_without_pixels_has_no_frames(self, shared_data: Path, tmp_path: Path) -> None:
        path = tmp_path / "sr.dcm"
        shutil.copy(shared_data / "sr" / "test-SR.dcm", path)
        (instance,) = inspected(path).study.series[0].instances
        assert (instance.number_of_frames, instance.rows) == (0, 0)


def test_what_a_header_holds_of_numbers_is_finite_or_absent(tmp_path: Path) -> None:
    paths = write(tmp_path, ramp((2, 4, 4)))
    with pydicom.config.disable_value_validation():
        change(paths, lambda _, d: d.update({"PixelSpacing": ["NaN", "NaN"], "SliceThickness": "1e999"}))
    (instance, _) = inspected(*paths).study.series[0].instances
    assert instance.pixel_spacing_mm is None
    assert instance.slice_thickness_mm is None


def test_sequence_values_of_the_wrong_kind_have_no_items() -> None:
    dataset = Dataset()
    dataset.add_new(0x00289110, "LO", "not a sequence")
    assert header_values.items(dataset, 0x00289110) == []
    dataset.SharedFunctionalGroupsSequence = Sequence([Dataset()])
    assert len(header_values.items(dataset, 0x52009229)) == 1
    assert np.isfinite(header_values.number(dataset, 0x00180050) or 0)
