from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate, generate_frames

from dicom_gateway.decode_errors import (
    DecodeError,
    PixelDataUnreadable,
)
from dicom_gateway.inspect import inspect_files
from study.volume import Volume
from tests.ct_files import change, decode, only_series, outcome, two_slices_of


class TestMalformed:
    def test_every_real_malformed_file_ends_in_a_volume_or_a_named_error(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        found = inspect_files([(str(path), path) for path in (shared_data / "malformed_real").iterdir()])
        codes = set()
        for study in found.studies:
            for series in study.study.series:
                ended = outcome(series, tmp_path)
                assert isinstance(ended, DecodeError), "none of them is a stack of slices"
                codes.add(ended.code)
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
        ended = outcome(only_series(paths), tmp_path / "out")
        assert isinstance(ended, Volume) or ended.code == "PIXEL_DATA_UNREADABLE", ended
        if damage == "cut":
            assert isinstance(ended, DecodeError), "half an image is no image"
        if damage == "dimensions" and name != "CT1_RLE":
            assert isinstance(ended, DecodeError)


def damaged(data: bytes, damage: str) -> bytes:
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
