from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dicom_gateway.decode import DecodeLimits, VolumeNotDecoded, decode_series, load_volume
from dicom_gateway.decode_errors import (
    ERRORS_BY_CODE,
    DecodeError,
    DecodeTimedOut,
    DuplicateSlices,
    EmptySeries,
    GeometryInvalid,
    InstanceUnreadable,
    MissingSlices,
    NotCT,
    PixelDataUnreadable,
    StorageFull,
    TooLarge,
    error_from_json,
)
from dicom_gateway.inspect import inspect_files
from study.study import Instance, Series
from study.volume import Volume
from tests.ct_files import change, decode, only_series, ramp, write

SERIES_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
LIDC = "ct_chest_lidc0314_1mm/dicom"


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix != ".sha256")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(2, 6), st.integers(1, 9), st.integers(1, 9)),
    spacing_mm=st.tuples(st.floats(0.4, 8), st.floats(0.2, 2), st.floats(0.2, 2)),
    signs=st.tuples(st.sampled_from((-1.0, 1.0)), st.sampled_from((-1.0, 1.0))),
    seed=st.integers(0, 2**31),
)
def test_writing_and_decoding_keep_voxels_and_geometry(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    signs: tuple[float, float],
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("keep")
    random = np.random.default_rng(seed)
    voxels = random.integers(-32768, 32768, shape).astype(np.int16)
    orientation = (signs[0], 0.0, 0.0, 0.0, signs[1], 0.0)
    origin = (12.5, -250.0, 731.25)
    paths = write(
        folder / "in", voxels, spacing_mm=spacing_mm, orientation=orientation, origin_lps_mm=origin, seed=seed
    )
    shuffled = [paths[index] for index in random.permutation(len(paths))]
    volume = decode(shuffled, folder / "out")
    np.testing.assert_array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(volume.spacing_mm, spacing_mm, atol=1e-5)
    np.testing.assert_allclose(volume.affine_mm[:3, 3], origin, atol=1e-5)
    np.testing.assert_allclose(volume.affine_mm[:3, 2] / spacing_mm[2], orientation[:3], atol=1e-6)
    uids = [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths]
    assert volume.slice_sop_instance_uids == tuple(uids)


class TestRealSeries:
    @pytest.mark.parametrize(
        ("folder", "shape", "spacing_mm", "hu_range"),
        [
            (LIDC, (275, 512, 512), (1.0, 0.78125, 0.78125), (-1000, 1979)),
            ("ct_chest_4dlung_113/dicom", (99, 512, 512), (3.0, 0.9766, 0.9766), (-1000, 2976)),
            ("ct_chest_lungdx_A0002/dicom", (30, 512, 512), (8.0, 0.6465, 0.6465), (-1024, 1548)),
        ],
    )
    def test_a_chest_ct_becomes_a_volume(
        self,
        shared_data: Path,
        tmp_path: Path,
        folder: str,
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
        hu_range: tuple[int, int],
    ) -> None:
        """JPEG-LS, JPEG lossless and RLE; the last slice is compared with pydicom where it has a decoder."""
        volume = decode(files(shared_data / folder), tmp_path)
        assert volume.voxels.shape == shape
        np.testing.assert_allclose(volume.spacing_mm, spacing_mm, atol=1e-3)
        assert (int(volume.voxels.min()), int(volume.voxels.max())) == hu_range
        assert volume.notes == ()
        assert volume.affine_mm[2, 0] > 0, "slices run from feet to head"

    def test_the_stored_values_are_those_that_the_files_list_by_digest(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        """PIXELS.sha256 was made from the original, uncompressed files."""
        import hashlib

        folder = shared_data / LIDC
        digests = dict(
            reversed(line.split()[:2]) for line in (folder / "PIXELS.sha256").read_text().splitlines()
        )
        volume = decode(files(folder), tmp_path)
        for uid, voxels in list(zip(volume.slice_sop_instance_uids, volume.voxels, strict=True))[::25]:
            stored = (voxels + 1000).astype("<u2")
            assert hashlib.sha256(stored.tobytes()).hexdigest() == digests[uid]

    def test_the_nodule_of_the_lidc_case_lies_where_its_readers_marked_it(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        volume = decode(files(shared_data / LIDC), tmp_path)
        center = np.array([-57.43923954, 131.2325201, -520.3592267])
        slice_, row, column = np.rint(volume.to_index(center)).astype(int)
        inside = volume.voxels[slice_ - 2 : slice_ + 3, row - 3 : row + 4, column - 3 : column + 4]
        assert float(inside.mean()) > -200, "soft tissue at the nodule's centre"

    def test_jpeg_2000_slices_of_the_abdomen(self, shared_data: Path, tmp_path: Path) -> None:
        """Its UIDs were blanked, so that it is no study until it gets some."""
        sources = files(shared_data / "ct_negative_abdomen_siemens" / "dicom")
        paths = []
        for number, source in enumerate(sources):
            dataset = pydicom.dcmread(source)
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.1", "2.25.2"
            dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
            paths.append(tmp_path / f"{number}.dcm")
            dataset.save_as(paths[-1])
        volume = decode(paths, tmp_path / "out")
        assert volume.voxels.shape == (10, 512, 512)
        assert volume.spacing_mm[0] == pytest.approx(2.0)

    @pytest.mark.parametrize(
        ("folder", "angle"), [("gantry_tilt_philips", "18.5°"), ("gantry_tilt_siemens_d2n", "14.0°")]
    )
    def test_a_tilted_gantry_is_set_upright_and_noted(
        self, shared_data: Path, tmp_path: Path, folder: str, angle: str
    ) -> None:
        paths = files(shared_data / "ct_geometry" / folder)
        volume = decode(paths, tmp_path)
        assert angle in volume.notes[0]
        axes = volume.affine_mm[:3, :3] / np.array(volume.spacing_mm)
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
        assert volume.voxels.shape[1] > 512, "no row of any slice is lost"

    def test_a_missing_slice_is_named(self, shared_data: Path, tmp_path: Path) -> None:
        with pytest.raises(MissingSlices, match=r"1 slice is missing .* z = 33\.11 mm"):
            decode(files(shared_data / "ct_geometry" / "missing_slice_ge_d2n"), tmp_path)

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("ct_not_axial/A002304_coronal/19001231-076.dcm", "NOT_AXIAL"),
            ("ct_not_axial/A002304_coronal/19010112-124.dcm", "NOT_AXIAL"),
            ("ct_priors/A046441/19001111-045.dcm", "SINGLE_SLICE"),
            ("ct_priors/A046441/19010101-23.dcm", "SINGLE_SLICE"),
            ("mr_enhanced/emri_small_RLE.dcm", "NOT_CT"),
            ("cxr/RG1_J2KI", "NOT_CT"),
            ("sr/test-SR.dcm", "NOT_CT"),
        ],
    )
    def test_what_is_no_axial_ct_stack_is_refused_by_name(
        self, shared_data: Path, tmp_path: Path, path: str, code: str
    ) -> None:
        with pytest.raises(DecodeError) as caught:
            decode([shared_data / path], tmp_path)
        assert caught.value.code == code

    def test_every_encoding_of_the_enhanced_image_gives_the_same_volume(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        """Fragmented or not, with or without offset table; 51 and 81 are lossy."""
        volumes = {path.name: decode([path], tmp_path / path.name)
                   for path in files(shared_data / "ct_enhanced_multiframe")}  # fmt: skip
        reference = volumes["CT0012.not_fragmented_bot_rle.dcm"]
        assert reference.voxels.shape == (2, 512, 512)
        assert reference.slice_frame_numbers == (2, 1), "ordered along the normal, which points to the feet"
        assert len(set(reference.slice_sop_instance_uids)) == 1
        for name, volume in volumes.items():
            difference = np.abs(volume.voxels.astype(int) - reference.voxels)
            np.testing.assert_array_equal(volume.affine_mm, reference.affine_mm)
            if ".51." in name or ".81." in name:
                assert "compressed with loss" in volume.notes[0]
                # The one in JPEG extended was made with another offset; DCMTK reads it the same.
                assert difference.std() < 4
            else:
                assert difference.max() == 0

    def test_one_slice_in_every_transfer_syntax_gives_the_same_pixels(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        """Signed 16 bit with a padding value that implicit and explicit files write with other signs."""
        volumes = {}
        for source in sorted((shared_data / "ts_ct").glob("CT1_*")):
            volumes[source.name] = decode(
                two_slices_of(source, tmp_path / source.name), tmp_path / "out" / source.name
            )
        reference = volumes["CT1_UNC.explicit_little_endian.dcm"].voxels
        assert reference.min() == -1024, "padding outside the field of view is air"
        for name, volume in volumes.items():
            difference = np.abs(volume.voxels.astype(int) - reference)
            assert difference.max() <= {"CT1_JLSN": 10, "CT1_J2KI": 800}.get(name, 0), name
            assert difference.mean() < 30, name
            assert bool(volume.notes) == (name in ("CT1_JLSN", "CT1_J2KI")), name


def two_slices_of(source: Path, folder: Path) -> list[Path]:
    """The image twice, the second time 5 mm higher and under another UID."""
    folder.mkdir(parents=True)
    paths = [folder / "1.dcm", folder / "2.dcm"]
    for index, path in enumerate(paths):
        dataset = pydicom.dcmread(source)
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y, z + 5 * index]
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.77{index}"
        dataset.save_as(path)
    return paths


class TestStoredValues:
    """PS3.3 C.11.1 (rescale), C.7.5.1.1.2 (padding), PS3.5 section 8 (bits)."""

    def test_slope_and_intercept_are_those_of_each_slice(self, tmp_path: Path) -> None:
        voxels = np.full((3, 4, 4), 100, np.int16)

        def edit(index: int, dataset: Dataset) -> None:
            dataset.RescaleSlope, dataset.RescaleIntercept = str(index + 0.5), str(-10 * index)

        paths = write(tmp_path / "in", voxels)
        change(paths, edit)
        volume = decode(paths, tmp_path / "out")
        assert [int(plane[0, 0]) for plane in volume.voxels] == [50, 140, 230]

    def test_values_beyond_16_bits_are_clipped_and_not_wrapped(self, tmp_path: Path) -> None:
        paths = write(tmp_path / "in", np.array([[[32000, -32000]]] * 2, np.int16))
        change(paths, lambda _, dataset: setattr(dataset, "RescaleSlope", "2"))
        assert decode(paths, tmp_path / "out").voxels[0, 0].tolist() == [32767, -32768]

    @pytest.mark.parametrize(
        ("value", "limit", "vr"), [(-2000, None, "SS"), (63536, None, "US"), (-2000, -1990, "SS")]
    )
    def test_padding_becomes_air_whatever_its_sign_in_the_file(
        self, tmp_path: Path, value: int, limit: int | None, vr: str
    ) -> None:
        paths = write(tmp_path / "in", np.array([[[-2000, -1990, -1989, 40]]] * 2, np.int16))

        def edit(_: int, dataset: Dataset) -> None:
            dataset.add_new("PixelPaddingValue", vr, value)
            if limit is not None:
                dataset.add_new("PixelPaddingRangeLimit", vr, limit)

        change(paths, edit)
        row = decode(paths, tmp_path / "out").voxels[0, 0].tolist()
        assert row == [-1024, -1990 if limit is None else -1024, -1989, 40]

    def test_bits_above_bits_stored_are_no_part_of_the_value(self, tmp_path: Path) -> None:
        """Overlays once lived there."""
        paths = write(tmp_path / "in", np.array([[[0x1123, 0x7FFF]]] * 2, np.int16))

        def edit(_: int, dataset: Dataset) -> None:
            dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0

        change(paths, edit)
        assert decode(paths, tmp_path / "out").voxels[0, 0].tolist() == [0x123, 0xFFF]

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"RescaleSlope": "1e300"}, "HU_UNKNOWN"),
            ({"RescaleSlope": "0"}, "HU_UNKNOWN"),
            ({"RescaleType": "ED"}, "HU_UNKNOWN"),
            ({"BitsAllocated": 12}, "PIXEL_FORMAT_NOT_SUPPORTED"),
            ({"BitsStored": 33}, "PIXEL_FORMAT_NOT_SUPPORTED"),
            ({"HighBit": 3}, "PIXEL_FORMAT_NOT_SUPPORTED"),
            ({"SamplesPerPixel": 3}, "PIXEL_FORMAT_NOT_SUPPORTED"),
            ({"Rows": 0}, "PIXEL_FORMAT_NOT_SUPPORTED"),
            ({"Rows": 5}, "PIXEL_DATA_UNREADABLE"),
            ({"Rows": 65535, "Columns": 65535}, "TOO_LARGE"),
            ({"NumberOfFrames": 2147483647}, "TOO_LARGE"),
            ({"NumberOfFrames": 2}, "GEOMETRY_INVALID"),
            ({"Modality": "MR"}, "NOT_CT"),
        ],
    )
    def test_a_header_that_cannot_be_is_refused_by_name(
        self, tmp_path: Path, changes: dict[str, object], code: str
    ) -> None:
        paths = write(tmp_path / "in", ramp((2, 4, 4)))
        change(paths, lambda _, dataset: dataset.update(changes))
        with pytest.raises(DecodeError) as caught:
            decode(paths, tmp_path / "out")
        assert caught.value.code == code


class TestSeries:
    def test_localizers_are_left_out_with_a_note(self, tmp_path: Path) -> None:
        paths = write(tmp_path / "in", ramp((4, 5, 5)))

        def edit(index: int, dataset: Dataset) -> None:
            if index == 0:
                dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
                dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

        change(paths, edit)
        volume = decode(paths, tmp_path / "out")
        assert volume.voxels.shape[0] == 3
        assert volume.notes == ("1 localizer image was left out of the volume.",)

    def test_a_copy_of_a_slice_is_dropped_and_another_image_in_its_place_is_not(self, tmp_path: Path) -> None:
        voxels = ramp((4, 5, 5))
        paths = write(tmp_path / "in", voxels)
        copies = write(tmp_path / "copies", voxels, seed="copy")
        of_first = {name: _uid(paths[0], name) for name in SERIES_UIDS}
        change(copies, lambda _, dataset: dataset.update(of_first))
        volume = decode([*paths, copies[1]], tmp_path / "out")
        np.testing.assert_array_equal(volume.voxels, voxels)
        assert volume.notes == ("1 identical copy of a slice was left out.",)
        change(copies[1:2], lambda _, d: setattr(d, "PixelData", bytes(len(d.PixelData))))
        with pytest.raises(DuplicateSlices, match=r"z = 2\.5 mm"):
            decode([*paths, copies[1]], tmp_path / "out")

    def test_of_two_acquisitions_at_the_same_positions_the_larger_regular_one_is_read(
        self, tmp_path: Path
    ) -> None:
        first = write(tmp_path / "a", ramp((6, 5, 5)))
        second = write(tmp_path / "b", ramp((4, 5, 5)) + np.int16(3), seed="b")

        def edit(_: int, dataset: Dataset) -> None:
            dataset.AcquisitionNumber = 2
            for name in SERIES_UIDS:
                setattr(dataset, name, _uid(first[0], name))

        change(second, edit)
        volume = decode([*second, *first], tmp_path / "out")
        np.testing.assert_array_equal(volume.voxels, ramp((6, 5, 5)))
        assert volume.notes == ("4 slices of another acquisition at the same positions were left out.",)

    def test_one_uid_for_two_images_is_refused(self, tmp_path: Path) -> None:
        paths = write(tmp_path / "in", ramp((3, 5, 5)))
        change(
            paths[2:], lambda _, dataset: setattr(dataset, "SOPInstanceUID", _uid(paths[0], "SOPInstanceUID"))
        )
        with pytest.raises(DuplicateSlices, match="same SOP Instance UID"):
            decode(paths, tmp_path / "out")

    def test_an_empty_series_and_a_vanished_file_are_told_apart(self, tmp_path: Path) -> None:
        with pytest.raises(EmptySeries):
            decode_series(Series("1.2", "CT", ()), Path("/"), tmp_path)
        gone = Instance("1.2.3", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", "gone.dcm")
        with pytest.raises(InstanceUnreadable):
            decode_series(Series("1.2", "CT", (gone,)), tmp_path, tmp_path / "out")

    def test_an_mr_object_in_the_series_is_refused(self, tmp_path: Path) -> None:
        paths = write(tmp_path / "in", ramp((3, 5, 5)))
        series = only_series(paths)
        change(paths[1:2], lambda _, d: setattr(d, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.4"))
        with pytest.raises(NotCT):
            decode_series(series, Path("/"), tmp_path / "out")

    def test_pixel_data_of_the_wrong_length_is_refused(self, tmp_path: Path) -> None:
        paths = write(tmp_path / "in", ramp((3, 6, 6)))
        paths[1].write_bytes(paths[1].read_bytes()[:-2])
        with pytest.raises(PixelDataUnreadable, match="ends before its declared length"):
            decode(paths, tmp_path / "out")

    def test_fewer_pixels_than_rows_and_columns_are_refused(self, tmp_path: Path) -> None:
        paths = write(tmp_path / "in", ramp((3, 6, 6)))
        change(paths[1:2], lambda _, dataset: setattr(dataset, "PixelData", dataset.PixelData[:-2]))
        with pytest.raises(PixelDataUnreadable, match="70 bytes instead of 72"):
            decode(paths, tmp_path / "out")

    def test_an_enhanced_image_without_frame_positions_is_refused(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "in.dcm"
        dataset = pydicom.dcmread(
            shared_data / "ct_enhanced_multiframe" / "CT0012.not_fragmented_bot_rle.dcm"
        )
        del dataset.PerFrameFunctionalGroupsSequence[1]
        dataset.save_as(path)
        with pytest.raises(GeometryInvalid, match="2 frames but geometry for 1"):
            decode([path], tmp_path / "out")


def _uid(path: Path, keyword: str) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True)[keyword].value)


class TestLimits:
    def test_a_volume_beyond_the_size_limit_is_refused_before_decoding(self, tmp_path: Path) -> None:
        paths = write(tmp_path / "in", ramp((4, 64, 64)))
        with pytest.raises(TooLarge, match="announces"):
            decode(paths, tmp_path / "out", DecodeLimits(volume_bytes_max=4 * 64 * 64 * 2 - 1))
        assert list((tmp_path / "out").iterdir()) == []

    def test_memory_beyond_the_limit_is_told_and_the_parent_lives(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(TooLarge, match="MiB"):
            decode(files(shared_data / LIDC), tmp_path, DecodeLimits(memory_bytes=260 << 20))

    def test_time_beyond_the_limit_is_told(self, shared_data: Path, tmp_path: Path) -> None:
        with pytest.raises(DecodeTimedOut):
            decode(files(shared_data / LIDC), tmp_path, DecodeLimits(wall_clock_s=0.4))
        with pytest.raises(VolumeNotDecoded):
            load_volume(tmp_path)

    def test_a_full_disk_is_told_as_transient(self, tmp_path: Path) -> None:
        paths = write(tmp_path / "in", ramp((2, 64, 64)))
        (tmp_path / "out").mkdir()
        series = only_series(paths)
        call = (
            "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
            "import sys; from dicom_gateway.decode_child import run\n"
            "print(run({'paths': sys.argv[2:], 'out_dir': sys.argv[1], 'series_instance_uid': '1.2',"
            " 'volume_bytes_max': 1 << 30, 'threads': 1})['error']['code'])"
        )
        names = [instance.location for instance in series.instances]
        found = subprocess.run(
            [sys.executable, "-c", call, str(tmp_path / "out"), *names],
            capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert found.stdout.strip() == "STORAGE_FULL"
        assert StorageFull.is_transient

    def test_decoding_again_replaces_the_volume_and_it_can_be_opened_again(self, tmp_path: Path) -> None:
        for value in (5, 6):
            paths = write(tmp_path / str(value), np.full((3, 4, 4), value, np.int16))
            decode(paths, tmp_path / "out")
        volume = load_volume(tmp_path / "out")
        assert set(np.unique(volume.voxels)) == {6}
        assert isinstance(volume.voxels, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            volume.voxels[0, 0, 0] = 1


def test_errors_survive_their_way_out_of_the_child() -> None:
    for code, kind in ERRORS_BY_CODE.items():
        error = error_from_json(kind("a sentence", z_mm=[1.5]).as_json())
        assert (type(error), error.code, str(error), error.details) == (
            kind,
            code,
            "a sentence",
            {"z_mm": [1.5]},
        )


class TestMalformed:
    def outcome(self, series: Series, out_dir: Path) -> Volume | DecodeError:
        started = time.monotonic()
        try:
            return decode_series(series, Path("/"), out_dir)
        except DecodeError as error:
            return error
        finally:
            assert time.monotonic() - started < 30

    def test_every_real_malformed_file_ends_in_a_volume_or_a_named_error(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        found = inspect_files([(str(path), path) for path in (shared_data / "malformed_real").iterdir()])
        codes = set()
        for study in found.studies:
            for series in study.study.series:
                outcome = self.outcome(series, tmp_path)
                assert isinstance(outcome, DecodeError), "none of them is a stack of slices"
                codes.add(outcome.code)
        assert {"NOT_CT", "SINGLE_SLICE"} <= codes
        assert "DECODER_CRASHED" not in codes

    @pytest.mark.parametrize(
        "name", ["CT1_J2KR", "CT1_JLSL", "CT1_JPLL", "CT1_RLE", "CT1_UNC.implicit_little_endian.dcm"]
    )
    def test_a_header_of_other_dimensions_than_the_codestream_is_refused(
        self, shared_data: Path, tmp_path: Path, name: str
    ) -> None:
        """Row 16 of the list of attacks."""
        paths = two_slices_of(shared_data / "ts_ct" / name, tmp_path / "in")
        change(paths, lambda _, dataset: dataset.update({"Rows": 256}))
        with pytest.raises(PixelDataUnreadable):
            decode(paths, tmp_path / "out")

    @pytest.mark.parametrize("name", ["CT1_J2KR", "CT1_JLSL", "CT1_JPLL", "CT1_RLE"])
    @pytest.mark.parametrize("damage", ["dimensions", "cut", "noise"])
    def test_a_damaged_codestream_is_refused_or_decoded_but_never_ends_the_parent(
        self, shared_data: Path, tmp_path: Path, name: str, damage: str
    ) -> None:
        paths = two_slices_of(shared_data / "ts_ct" / name, tmp_path / "in")
        change(
            paths[:1], lambda _, dataset: setattr(dataset, "PixelData", damaged(dataset.PixelData, damage))
        )
        outcome = self.outcome(only_series(paths), tmp_path / "out")
        assert isinstance(outcome, Volume) or outcome.code == "PIXEL_DATA_UNREADABLE", outcome
        if damage == "dimensions" and name != "CT1_RLE":
            assert isinstance(outcome, DecodeError)


def damaged(data: bytes, damage: str) -> bytes:
    from pydicom.encaps import encapsulate, generate_frames

    (frame,) = generate_frames(data, number_of_frames=1)
    if damage == "dimensions":
        # 512 as big endian 16 and 32 bit, in SOF and SIZ.
        frame = frame[:200].replace(b"\x02\x00", b"\xff\xff") + frame[200:]
    elif damage == "cut":
        frame = frame[: len(frame) // 2]
    else:
        noise = np.random.default_rng(1).integers(0, 256, 400, np.uint8).tobytes()
        frame = frame[: len(frame) // 2] + noise + frame[len(frame) // 2 + 400 :]
    return bytes(encapsulate([frame + b"\0" * (len(frame) % 2)]))


@pytest.fixture(scope="session")
def made_cases(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Difficult series and hostile files, derived from a real series of eight slices."""
    out = tmp_path_factory.mktemp("cases")
    tool = shared_data.parent / "tools" / "make_cases.py"
    source = shared_data / "ct_chest_lungdx_A0002" / "dicom"
    subprocess.run(
        [sys.executable, str(tool), str(source), str(out), "--slices", "8"],
        check=True, capture_output=True, env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    return out


SAME = "same volume"
SERIES_CASES = {
    "shuffled_names_and_numbers": SAME,
    "reversed_instance_numbers": SAME,
    "same_instance_twice": SAME,
    "same_position_twice": SAME,
    "spacing_jitter_1um": SAME,
    "lying_slice_thickness": SAME,
    "body_part_head": SAME,
    "burned_in_phi": SAME,
    "ts_rle": SAME,
    "ts_jpegls": SAME,
    "ts_jpeg_lossless_sv1": SAME,
    "ts_implicit": SAME,
    "ts_big_endian": SAME,
    "ts_deflated": SAME,
    "one_missing": "MISSING_SLICES",
    "same_uid_other_pixels": "DUPLICATE_SLICES",
    "spacing_doubles_half_way": "GEOMETRY_NOT_UNIFORM",
    "no_positions": "GEOMETRY_INVALID",
    "no_pixel_spacing": "GEOMETRY_INVALID",
    "no_rescale": "HU_UNKNOWN",
    "two_orientations": "GEOMETRY_NOT_UNIFORM",
    "two_frames_of_reference": "FRAMES_OF_REFERENCE_DIFFER",
    "two_patients_in_one_series": "DIFFERENT_PATIENTS",
    "single_slice": "SINGLE_SLICE",
    "modality_mr": "NOT_CT",
}


@pytest.mark.peer
class TestMadeCases:
    @pytest.fixture(scope="class")
    def plain(self, made_cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Volume:
        return decode(files(made_cases / "series" / "plain"), tmp_path_factory.mktemp("plain"))

    @pytest.mark.parametrize("case", SERIES_CASES)
    def test_a_difficult_series_gives_the_same_volume_or_its_own_code(
        self, made_cases: Path, plain: Volume, tmp_path: Path, case: str
    ) -> None:
        expected = SERIES_CASES[case]
        paths = files(made_cases / "series" / case)
        if expected == SAME:
            volume = decode(paths, tmp_path)
            np.testing.assert_array_equal(volume.voxels, plain.voxels)
            np.testing.assert_allclose(volume.affine_mm, plain.affine_mm, atol=2e-3)
            return
        with pytest.raises(DecodeError) as caught:
            decode(paths, tmp_path)
        assert caught.value.code == expected

    def test_tilt_near_lossless_and_lost_ends_are_accepted(
        self, made_cases: Path, plain: Volume, tmp_path: Path
    ) -> None:
        tilted = decode(files(made_cases / "series" / "gantry_tilt"), tmp_path / "tilt")
        assert "18.5°" in tilted.notes[0]
        near = decode(files(made_cases / "series" / "ts_jpegls_near"), tmp_path / "near")
        assert np.abs(near.voxels.astype(int) - plain.voxels).max() <= 2
        ends = decode(files(made_cases / "series" / "ends_missing"), tmp_path / "ends")
        np.testing.assert_array_equal(ends.voxels, plain.voxels[3:-3])

    def test_every_hostile_file_ends_in_a_volume_or_a_named_error(
        self, made_cases: Path, tmp_path: Path
    ) -> None:
        """Each one with a neighbour of its own, so that its pixels are reached as well."""
        paths = sorted((made_cases / "bad").glob("*.dcm"))
        pairs = [path for bad in paths for path in (bad, neighbour(bad, tmp_path / "neighbours"))]
        started = time.monotonic()
        found = inspect_files([(str(path), path) for path in pairs])
        assert time.monotonic() - started < 60
        outcomes: dict[str, str] = {}
        for study in found.studies:
            for series in study.study.series:
                by_file: dict[str, list[Instance]] = {}
                for instance in series.instances:
                    by_file.setdefault(Path(instance.location).name, []).append(instance)
                for name, instances in by_file.items():
                    pair = Series(series.series_instance_uid, series.modality, tuple(instances))
                    outcome = TestMalformed().outcome(pair, tmp_path / "out")
                    outcomes[name] = outcome.code if isinstance(outcome, DecodeError) else "volume"
        read = {Path(file.location).name for file in found.unreadable} | set(outcomes)
        assert read == {path.name for path in paths}
        assert "DECODER_CRASHED" not in outcomes.values()
        assert {name: outcomes.get(f"{name}.dcm") for name in HOSTILE} == HOSTILE


HOSTILE = {
    "truncated_half": "PIXEL_DATA_UNREADABLE",
    "truncated_last_byte": "PIXEL_DATA_UNREADABLE",
    "pixel_length_4gb": "PIXEL_DATA_UNREADABLE",
    "pixel_undefined_length": "PIXEL_DATA_UNREADABLE",
    "rows_cols_65535": "TOO_LARGE",
    "frames_2e31": "TOO_LARGE",
    "rows_zero": "PIXEL_FORMAT_NOT_SUPPORTED",
    "pixels_too_short": "PIXEL_DATA_UNREADABLE",
    "no_pixel_data": "PIXEL_DATA_UNREADABLE",
    "bits_allocated_12": "PIXEL_FORMAT_NOT_SUPPORTED",
    "bits_stored_33": "PIXEL_FORMAT_NOT_SUPPORTED",
    "ds_nan_spacing": "GEOMETRY_INVALID",
    "ds_inf_position": "GEOMETRY_INVALID",
    "ds_zero_spacing": "GEOMETRY_INVALID",
    "ds_negative_spacing": "GEOMETRY_INVALID",
    "ds_text_in_ds": "HU_UNKNOWN",
    "ds_huge_slope": "HU_UNKNOWN",
    "ds_orientation_not_unit": "GEOMETRY_INVALID",
    "ds_orientation_parallel": "GEOMETRY_INVALID",
    "unknown_transfer_syntax": "TRANSFER_SYNTAX_NOT_SUPPORTED",
    "trailing_garbage": "volume",
    "preamble_mz": "volume",
    "pn_ansi": "volume",
    "pn_long": "volume",
    "nested_sequences_deep": "volume",
}


def neighbour(bad: Path, folder: Path) -> Path:
    """The same file 8 mm higher and under another SOP Instance UID, byte for byte else."""
    folder.mkdir(exist_ok=True)
    data = bad.read_bytes()
    edit: Callable[[bytes, bytes, Callable[[bytes], bytes]], bytes]

    def edit(data: bytes, head: bytes, change_value: Callable[[bytes], bytes]) -> bytes:
        at = data.find(head)
        if at < 0:
            return data
        length = int.from_bytes(data[at + 6 : at + 8], "little")
        start = at + 8
        return data[:start] + change_value(data[start : start + length]) + data[start + length :]

    def higher(value: bytes) -> bytes:
        try:
            *rest, z = value.split(b"\\")
            moved = str(int(float(z)) + 8).encode().rjust(len(z))
            return b"\\".join([*rest, moved]) if len(moved) == len(z) else value
        except (ValueError, OverflowError):
            return value

    for head in (b"\x02\x00\x03\x00UI", b"\x08\x00\x18\x00UI"):
        data = edit(
            data,
            head,
            lambda uid: uid[:4] + bytes(57 - (c - 48) if 48 <= c <= 57 else c for c in uid[4:8]) + uid[8:],
        )
    data = edit(data, b"\x20\x00\x32\x00DS", higher)
    path = folder / bad.name
    path.write_bytes(data)
    return path
