from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dicom_gateway.decode_errors import (
    DecodeError,
)
from dicom_gateway.inspect import inspect_files
from study.study import Instance, Series
from study.volume import Volume
from tests.ct_files import decode, files, outcome

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
                    ended = outcome(pair, tmp_path / "out")
                    outcomes[name] = ended.code if isinstance(ended, DecodeError) else "volume"
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
