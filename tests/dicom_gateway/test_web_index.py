"""Metadata and frames of files from outside, damaged ones among them."""

from __future__ import annotations

import contextlib
import io
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from dicom_gateway.web_decode import Drawing, NotDecodable, bulk_value, decode_frames, draw_frame
from dicom_gateway.web_index import IndexedFile, WebIndex
from tests.result_builders import synthetic_headers


def indexed(path: Path) -> IndexedFile:
    return IndexedFile(path, path.name, {"00080018": {"vr": "UI", "Value": ["1.2.3"]}})


def test_damaged_files_are_listed_with_what_is_known_and_harm_no_other(
    shared_data: Path, tmp_path: Path
) -> None:
    files = [indexed(path) for path in sorted((shared_data / "malformed_real").iterdir()) if path.is_file()]
    index = WebIndex(tmp_path)
    for file, text in zip(files, index.metadata(files), strict=True):
        model = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert model["00080018"]["Value"] == ["1.2.3"], file.path.name
        table = index.frames(file)
        if table.problem:
            continue
        for make in (
            lambda path=file.path: list(decode_frames(path, [1])),
            lambda path=file.path: draw_frame(path, 1, Drawing("image/png")),
        ):
            with contextlib.suppress(NotDecodable):
                assert make()


def image(**attributes) -> pydicom.Dataset:
    (made,) = synthetic_headers(1, 8, **attributes)
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 1
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.PixelData = bytes(128)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def problem_of(made: pydicom.Dataset, folder: Path) -> str:
    made.save_as(folder / "image.dcm", enforce_file_format=True)
    return WebIndex(folder / "index").frames(indexed(folder / "image.dcm")).problem


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({}, ""),
        ({"NumberOfFrames": 2}, "shorter"),
        ({"NumberOfFrames": 10**8}, "more than"),
        ({"Rows": 65535, "Columns": 65535}, "shorter"),
        ({"Rows": 0}, "no pixels"),
    ],
)
def test_a_header_that_promises_more_than_there_is_has_no_frames(
    attributes: dict, problem: str, tmp_path: Path
) -> None:
    found = problem_of(image(**attributes), tmp_path)
    assert problem in found
    assert bool(problem) == bool(found)


def nest(path: Path, depth: int) -> None:
    """Sequences of undefined length within one another, before the pixels; pydicom cannot write so many."""
    content = path.read_bytes()
    at = content.rindex(b"\xe0\x7f\x10\x00")
    level = struct.pack("<HH2sHIHHI", 0x40, 0x0555, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    path.write_bytes(content[:at] + level * depth + end * depth + content[at:])


def palette(made: pydicom.Dataset) -> None:
    """Four colours, and pixels that ask for the 255th."""
    made.PhotometricInterpretation, made.BitsAllocated, made.BitsStored, made.HighBit = (
        "PALETTE COLOR", 8, 8, 7,
    )  # fmt: skip
    made.PixelRepresentation, made.PixelData = 0, b"\xff" * 64
    for colour in (0x00281101, 0x00281102, 0x00281103):
        made.add_new(colour, "US", [4, 0, 16])
        made.add_new(colour + 0x100, "OW", bytes(8))


def grey_table(made: pydicom.Dataset) -> None:
    item = pydicom.Dataset()
    item.add_new(0x00283002, "US", [0, 65535, 16])
    item.add_new(0x00283006, "OW", bytes(4))
    made.add_new(0x00283000, "SQ", [item])
    made.add_new(0x00283010, "SQ", [item])


SHORTER, DEEP = "the pixel data is shorter than its header says", "its sequences are nested too deeply"
NOTHING_ELSE: Callable[[pydicom.Dataset], object] = lambda made: None  # noqa: E731
# What it says of itself, and why it is not drawn; empty where it is.
LIES: dict[str, tuple[Callable[[pydicom.Dataset], object], str]] = {
    "rows as UL": (lambda made: made.add_new(0x00280010, "UL", 8), ""),
    "columns as text": (lambda made: made.add_new(0x00280011, "LO", "8; rm"), SHORTER),
    "bits as a list": (lambda made: made.add_new(0x00280100, "US", [16, 16]), SHORTER),
    "rows beyond 31 bits": (lambda made: made.add_new(0x00280010, "UL", 2**31 + 8), "no pixels"),
    "a negative window": (lambda made: made.update({"WindowCenter": "-1e300", "WindowWidth": "-1"}), ""),
    "a window of NaN": (
        lambda made: (made.add_new(0x00281050, "LO", "NaN"), made.add_new(0x00281051, "LO", "NaN")),
        "",
    ),
    "a window of no width": (lambda made: made.update({"WindowCenter": "0", "WindowWidth": "0"}), ""),
    "a window without end": (lambda made: made.update({"WindowCenter": "1e308", "WindowWidth": "1e308"}), ""),
    "a slope without end": (
        lambda made: made.update({"RescaleSlope": "1e308", "RescaleIntercept": "-1e308"}),
        "",
    ),
    "a slope of NaN": (lambda made: made.add_new(0x00281053, "LO", "NaN"), ""),
    "a palette that is too short": (palette, "this colour model"),
    "a table that is too short": (grey_table, ""),
    "no bits": (lambda made: made.update({"BitsAllocated": 0, "BitsStored": 0, "HighBit": 0}), SHORTER),
    "65535 samples": (lambda made: made.update({"SamplesPerPixel": 65535}), SHORTER),
    "nested 40 deep": (NOTHING_ELSE, ""),
    "nested 300 deep": (NOTHING_ELSE, DEEP),
    "nested 30000 deep": (NOTHING_ELSE, DEEP),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, about what the test writes
@pytest.mark.parametrize("name", LIES)
def test_an_image_that_lies_about_itself_is_drawn_within_its_pixels_or_refused(
    name: str, tmp_path: Path
) -> None:
    lie, why_not = LIES[name]
    made, path = image(), tmp_path / "image.dcm"
    with pydicom.config.disable_value_validation():
        lie(made)
        made["PixelData"].VR = "OW"
        made.save_as(path, enforce_file_format=True)
    if name.startswith("nested"):
        nest(path, int(name.split()[1]))
    problem = WebIndex(tmp_path / "index").frames(indexed(path)).problem
    if why_not:
        with pytest.raises(NotDecodable) as refused:
            draw_frame(path, 1, Drawing("image/png"))
        assert why_not in (problem or str(refused.value))
    else:
        assert problem == ""
        assert Image.open(io.BytesIO(draw_frame(path, 1, Drawing("image/png")))).size == (8, 8)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:20],
        lambda data: data[:8] + b"\xff" * 8,
        lambda data: data.replace(b"\xfe\xff\x00\xe0", b"abcd"),
    ],
    ids=["cut off", "impossible length", "no items"],
)
def test_damaged_fragments_have_no_frames(damage, tmp_path: Path) -> None:
    made = image(NumberOfFrames=2)
    made.file_meta.TransferSyntaxUID = JPEGLSLossless
    made.PixelData = encapsulate([b"a" * 64, b"b" * 64])
    made["PixelData"].is_undefined_length = True
    made.save_as(tmp_path / "whole.dcm", enforce_file_format=True)
    content = (tmp_path / "whole.dcm").read_bytes()
    start = content.rindex(b"\xe0\x7f\x10\x00") + 12
    (tmp_path / "image.dcm").write_bytes(content[:start] + damage(content[start:]))
    assert WebIndex(tmp_path / "a").frames(indexed(tmp_path / "whole.dcm")).problem == ""
    assert WebIndex(tmp_path / "b").frames(indexed(tmp_path / "image.dcm")).problem


def test_a_value_that_is_no_number_costs_only_itself(tmp_path: Path) -> None:
    made = image()
    made.add_new(0x00189461, "FL", math.nan)
    made.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    (model,) = WebIndex(tmp_path / "index").models([indexed(tmp_path / "image.dcm")])
    assert "00189461" not in model
    assert model["00280010"]["Value"] == [8]


def test_bulk_data_is_found_in_sequences(tmp_path: Path) -> None:
    made, item = image(), pydicom.Dataset()
    item.add_new(0x00091001, "OB", b"x" * 4000)
    made.add_new(0x00400555, "SQ", [pydicom.Dataset(), item])
    made.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    (model,) = WebIndex(tmp_path / "index").models([indexed(tmp_path / "image.dcm")])
    uri = model["00400555"]["Value"][1]["00091001"]["BulkDataURI"]
    assert uri.endswith("/bulkdata/00400555/2/00091001")
    assert bulk_value(tmp_path / "image.dcm", [0x00400555, 2, 0x00091001]) == b"x" * 4000
    for way in ([0x00400555, 3, 0x00091001], [0x00400555, 0, 0x00091001], [0x00280010], [0x00110011]):
        with pytest.raises(NotDecodable):
            bulk_value(tmp_path / "image.dcm", way)
