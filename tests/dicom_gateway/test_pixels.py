from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_gateway.decode_errors import (
    DecodeError,
)
from tests.ct_files import change, decode, ramp, write


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
