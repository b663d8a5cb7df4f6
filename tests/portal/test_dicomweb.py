"""Studies read by DICOMweb with a foreign client: found, described, and every pixel as it was sent."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from benchmarks.stow import PLUGIN, running
from tests.conftest import missing
from tests.portal.dicomweb_archive import JLS, Archive, encoded

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
ANY_SYNTAX = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
# What pydicom alone does not decode here, and DCMTK does.
JPEG = (
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
)


def reference(source: Dataset, folder: Path) -> np.ndarray:
    """The stored samples as another program decodes them."""
    if source.file_meta.TransferSyntaxUID in JPEG:
        (folder / "in.dcm").write_bytes(encoded(source))
        subprocess.run(["dcmdjpeg", "+cn", folder / "in.dcm", folder / "out.dcm"], check=True)
        source = pydicom.dcmread(folder / "out.dcm")
    return source.pixel_array


def without_file_meta(content: bytes) -> bytes:
    """The data set: file meta information is the receiver's own (PS3.10 section 7.1)."""
    length = int.from_bytes(content[140:144], "little")
    return content[144 + length :]


def is_grey(source: Dataset) -> bool:
    return source.get("SamplesPerPixel", 1) == 1 and source.PhotometricInterpretation.startswith("MONO")


def has_pixels(source: Dataset) -> bool:
    return "Rows" in source


@pytest.mark.peer
def test_every_frame_of_every_transfer_syntax_is_the_one_that_was_sent(
    archive: Archive, tmp_path: Path
) -> None:
    client = archive.client()
    syntaxes, compared = set(), 0
    for name, source in archive.sources.items():
        if not has_pixels(source):
            continue
        syntax = source.file_meta.TransferSyntaxUID
        count = int(source.get("NumberOfFrames", 1))
        numbers = list(range(1, count + 1))
        stored = archive.get(f"{archive.address(name)}/frames/1", accept=ANY_SYNTAX)
        assert stored.status_code == 200, (name, stored.text)
        if syntax.is_encapsulated:
            assert f"transfer-syntax={syntax}".encode() in stored.content
            (first, *_) = generate_frames(source.PixelData, number_of_frames=count)
            assert first in stored.content, name
        if not is_grey(source) or (source.get("BitsAllocated") == 1 and syntax.is_encapsulated):
            continue
        frames = client.retrieve_instance_frames(
            *archive.ids(name), numbers, media_types=(("application/octet-stream", EXPLICIT),)
        )
        expected = reference(source, tmp_path).reshape(count, -1)
        for number, frame in enumerate(frames):
            if source.get("BitsAllocated") == 1:
                bits = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")
                samples = bits[: expected.shape[1]]
            else:
                samples = np.frombuffer(frame, expected.dtype.newbyteorder("<"))
            # Two decoders of what has lost something may round apart.
            apart = 1 if str(syntax) == "1.2.840.10008.1.2.4.51" else 0
            assert np.abs(samples.astype(float) - expected[number].astype(float)).max() <= apart, (
                name,
                number,
            )
            compared += 1
        syntaxes.add(str(syntax))
    assert compared >= 70
    assert len(syntaxes) >= 11, syntaxes


def test_instances_come_back_whole_as_stored_and_in_explicit_little_endian(archive: Archive) -> None:
    client = archive.client()
    for name in ("ts_ct/CT1_RLE", JLS, "sr/test-SR.dcm", "ts_ct/CT1_UNC.implicit_little_endian.dcm"):
        source = archive.sources[name]
        as_stored = client.retrieve_instance(*archive.ids(name), media_types=(("application/dicom", "*"),))
        assert as_stored.file_meta.TransferSyntaxUID == source.file_meta.TransferSyntaxUID
        single = archive.get(archive.address(name), accept="application/dicom; transfer-syntax=*")
        assert single.content.endswith(without_file_meta(encoded(source))), name
        plain = client.retrieve_instance(*archive.ids(name), media_types=(("application/dicom", EXPLICIT),))
        assert plain.file_meta.TransferSyntaxUID == EXPLICIT
        assert plain.PatientName == source.PatientName
        if has_pixels(source):
            assert np.array_equal(plain.pixel_array, source.pixel_array), name
    study = archive.ids("ts_ct/CT1_RLE")[0]
    found = list(client.iter_study(study, media_types=(("application/dicom", "*"),)))
    assert {one.SOPInstanceUID for one in found} == {
        source.SOPInstanceUID for source in archive.sources.values() if source.StudyInstanceUID == study
    }


def test_metadata_is_the_data_set_and_large_values_lie_at_their_addresses(archive: Archive) -> None:
    client = archive.client()
    for name, source in archive.sources.items():
        (metadata,) = client.retrieve_series_metadata(*archive.ids(name)[:2])
        assert metadata["0020000D"]["Value"] == [source.StudyInstanceUID]
        read = Dataset.from_json(metadata, bulk_data_uri_handler=lambda *_: b"")
        assert read.PatientName == source.PatientName, name
        for keyword in ("Rows", "PixelSpacing", "ImagePositionPatient", "RescaleSlope", "SeriesDescription"):
            assert read.get(keyword) == source.get(keyword), (name, keyword)
    (metadata,) = client.retrieve_series_metadata(*archive.ids("pm/parametric_map_float.dcm")[:2])
    uri = metadata["7FE00008"]["BulkDataURI"]
    assert uri.startswith(archive.portal.url)
    (pixels,) = client.retrieve_bulkdata(uri)
    assert pixels == archive.sources["pm/parametric_map_float.dcm"].FloatPixelData
    nested = [
        json.dumps(one) for one in client.retrieve_study_metadata(archive.ids("us/US-PAL-8-10x-echo")[0])
    ]
    assert any("BulkDataURI" in one for one in nested)


def test_bulk_data_of_palettes_is_found_by_its_path(archive: Archive) -> None:
    name = "us/US-PAL-8-10x-echo"
    source = archive.sources[name]
    answer = archive.get(f"{archive.address(name)}/bulkdata/00281201", accept="application/octet-stream")
    assert answer.content == source[0x00281201].value
    assert archive.get(f"{archive.address(name)}/bulkdata/00281209").status_code == 404
    assert archive.get(f"{archive.address(name)}/bulkdata/00081111/1/0008").status_code == 400


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg"])
def test_pictures_are_windowed_as_asked(archive: Archive, kind: str) -> None:
    source = archive.sources[JLS]
    answer = archive.get(f"{archive.address(JLS)}/rendered?window=-600,1500,linear", accept=kind)
    assert answer.headers["content-type"] == kind
    picture = np.asarray(Image.open(io.BytesIO(answer.content)), dtype=float)
    hounsfield = source.pixel_array * float(source.RescaleSlope) + float(source.RescaleIntercept)
    expected = np.clip((hounsfield + 600.5) / 1499 + 0.5, 0, 1) * 255
    assert np.abs(picture - expected).mean() < (0.6 if kind == "image/png" else 3.0)
    small = archive.get(f"{archive.address(JLS)}/thumbnail", accept=kind)
    assert max(Image.open(io.BytesIO(small.content)).size) == 128
    series = archive.get(archive.address(JLS).partition("/instances/")[0] + "/thumbnail")
    assert Image.open(io.BytesIO(series.content)).size == (128, 128)


def test_colour_single_bits_and_floats_are_drawn(archive: Archive) -> None:
    for name, mode in (
        ("us/examples_ybr_color.dcm", "RGB"),
        ("seg/liver_nonbyte_aligned.dcm", "L"),
        ("pm/parametric_map_float.dcm", "L"),
    ):
        answer = archive.get(f"{archive.address(name)}/frames/1/rendered", accept="image/png")
        picture = Image.open(io.BytesIO(answer.content))
        assert (picture.mode, picture.size) == (
            mode,
            (archive.sources[name].Columns, archive.sources[name].Rows),
        )
        assert len(np.unique(np.asarray(picture))) >= 2, name


class TestFound:
    def test_studies_by_what_radiology_asks_for(self, archive: Archive) -> None:
        client = archive.client()
        studies = client.search_for_studies()
        assert len(studies) == len({source.StudyInstanceUID for source in archive.sources.values()})
        source = archive.sources[JLS]
        for filters in (
            {"PatientID": source.PatientID},
            {"PatientName": str(source.PatientName)[:4] + "*", "ModalitiesInStudy": "CT"},
            {"StudyDate": f"{source.StudyDate}-{source.StudyDate}", "PatientID": source.PatientID},
            {"StudyDate": f"-{source.StudyDate}", "00100020": source.PatientID[:-1] + "?"},
            {"StudyInstanceUID": f"{source.StudyInstanceUID},1.2.3"},
        ):
            found = client.search_for_studies(search_filters=filters)
            assert source.StudyInstanceUID in [one["0020000D"]["Value"][0] for one in found], filters
        assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
        assert client.search_for_studies(search_filters={"StudyDate": "18990101"}) == []
        (one,) = client.search_for_studies(search_filters={"StudyInstanceUID": source.StudyInstanceUID})
        assert one["00201208"]["Value"] == [1]
        assert one["00081190"]["Value"] == [
            f"{archive.portal.url}/dicom-web/studies/{source.StudyInstanceUID}"
        ]

    def test_series_and_instances_by_their_own_attributes(self, archive: Archive) -> None:
        client = archive.client()
        study = archive.ids("ts_ct/CT1_RLE")[0]
        in_study = [one for one in archive.sources.values() if one.StudyInstanceUID == study]
        assert len(client.search_for_series(study)) == len(in_study)
        assert len(client.search_for_instances(study)) == len(in_study)
        assert len(client.search_for_series(search_filters={"Modality": "SEG"})) == 4
        wanted = archive.ids(JLS)[2]
        (one,) = client.search_for_instances(search_filters={"SOPInstanceUID": wanted}, fields=["PatientSex"])
        assert one["00083002"]["Value"] == ["1.2.840.10008.1.2.4.80"]
        number = archive.sources[JLS].InstanceNumber
        found = client.search_for_instances(
            archive.ids(JLS)[0], search_filters={"InstanceNumber": str(number)}
        )
        assert [one["00080018"]["Value"][0] for one in found] == [wanted]

    def test_limit_and_offset_walk_through_all_once(self, archive: Archive) -> None:
        seen: list[str] = []
        for offset in range(0, 100, 3):
            answer = archive.get(f"/studies?limit=3&offset={offset}")
            if answer.status_code == 204:
                break
            seen += [one["0020000D"]["Value"][0] for one in answer.json()]
            assert ("299" in answer.headers.get("warning", "")) == (
                len(answer.json()) == 3 and len(seen) < 14
            )
        assert sorted(seen) == sorted({source.StudyInstanceUID for source in archive.sources.values()})

    def test_fuzzy_matching_is_answered_by_a_warning(self, archive: Archive) -> None:
        answer = archive.get("/studies?fuzzymatching=true&limit=1")
        assert "only literal matching" in answer.headers["warning"].lower()

    def test_everything_is_returned_where_it_is_asked_for(self, archive: Archive) -> None:
        (one,) = archive.get(f"/studies/{archive.ids(JLS)[0]}/instances?includefield=all").json()
        assert one["00280030"]["Value"] == [float(value) for value in archive.sources[JLS].PixelSpacing]


@pytest.mark.peer
def test_orthanc_fetches_a_study_from_us_by_dicomweb(
    archive: Archive, tmp_path: Path, free_port: int
) -> None:
    """A foreign PACS as the client: it searches, retrieves and stores what it got."""
    server = {
        "Url": f"{archive.portal.url}/dicom-web/",
        "HttpHeaders": {"Authorization": f"Bearer {archive.keys['alpha']}"},
    }
    configuration = {
        "StorageDirectory": str(tmp_path), "IndexDirectory": str(tmp_path), "HttpPort": free_port,
        "DicomServerEnabled": False, "AuthenticationEnabled": False, "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Servers": {"radmeter": server}},
    }  # fmt: skip
    (tmp_path / "orthanc.json").write_text(json.dumps(configuration))
    if not PLUGIN.is_file():
        missing("not installed: orthanc-dicomweb", "RADMETER_REQUIRE_PEERS")
    study = archive.ids(JLS)[0]
    with running(["Orthanc", str(tmp_path / "orthanc.json")], free_port, dict(os.environ)):
        url = f"http://127.0.0.1:{free_port}"
        asked = {"Uri": "/studies", "Arguments": {"StudyInstanceUID": study}}
        found = httpx.post(f"{url}/dicom-web/servers/radmeter/qido", json=asked, timeout=60)
        assert study in found.text
        wanted = {"Resources": [{"Study": study}], "Synchronous": True}
        answer = httpx.post(f"{url}/dicom-web/servers/radmeter/retrieve", json=wanted, timeout=60)
        assert answer.status_code == 200, answer.text
        (stored,) = httpx.get(f"{url}/instances").json()
        fetched = pydicom.dcmread(io.BytesIO(httpx.get(f"{url}/instances/{stored}/file").content))
    assert np.array_equal(fetched.pixel_array, archive.sources[JLS].pixel_array)
