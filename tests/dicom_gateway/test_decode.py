from __future__ import annotations

import subprocess
import sys
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
    DecodeTimedOut,
    DuplicateSlices,
    EmptySeries,
    GeometryInvalid,
    InstanceUnreadable,
    NotCT,
    PixelDataUnreadable,
    StorageFull,
    TooLarge,
    error_from_json,
)
from study.study import Instance, Series
from tests.ct_files import change, decode, files, only_series, ramp, write

SERIES_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
LIDC = "ct_chest_lidc0314_1mm/dicom"


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
            " 'volume_bytes_max': 1 << 30, 'threads': 1, 'is_durable': True})['error']['code'])"
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

    def test_voxels_that_were_cut_short_are_no_volume(self, tmp_path: Path) -> None:
        decode(write(tmp_path / "in", ramp((3, 4, 4))), tmp_path / "out")
        voxels = tmp_path / "out" / "voxels.npy"
        voxels.write_bytes(voxels.read_bytes()[:-1])
        with pytest.raises(VolumeNotDecoded):
            load_volume(tmp_path / "out")


def test_errors_survive_their_way_out_of_the_child() -> None:
    for code, kind in ERRORS_BY_CODE.items():
        error = error_from_json(kind("a sentence", z_mm=[1.5]).as_json())
        assert (type(error), error.code, str(error), error.details) == (
            kind,
            code,
            "a sentence",
            {"z_mm": [1.5]},
        )
