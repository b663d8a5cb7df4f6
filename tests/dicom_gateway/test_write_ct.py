from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_gateway.write_ct import write_ct_series
from tests.ct_files import PATIENT, ramp, write


def test_the_same_arguments_write_the_same_bytes_and_another_seed_other_uids(tmp_path: Path) -> None:
    first, second, other = (
        write(tmp_path / name, ramp((3, 8, 8)), seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    uids = [pydicom.dcmread(paths[0]).SOPInstanceUID for paths in (first, other)]
    assert uids[0] != uids[1]
    assert all(uid.startswith("2.25.") and uid.is_valid for uid in uids)


def test_slices_lie_at_the_origin_and_upwards(tmp_path: Path) -> None:
    paths = write(tmp_path, ramp((3, 4, 4)), spacing_mm=(1.25, 0.5, 0.5), origin_lps_mm=(-1.0, 2.0, -300.0))
    positions = [pydicom.dcmread(path).ImagePositionPatient for path in paths]
    assert positions == [[-1, 2, -300], [-1, 2, -298.75], [-1, 2, -297.5]]


@pytest.mark.parametrize("voxels", [np.zeros((2, 3), np.int16), np.zeros((2, 3, 3), np.int32)])
def test_other_arrays_than_int16_volumes_are_refused(tmp_path: Path, voxels: np.ndarray) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match="int16"):
        write_ct_series(voxels, (1.0, 1.0, 1.0), tmp_path)


@pytest.mark.peer
def test_dciodvfy_finds_no_error_and_dcentvfy_one_study(tmp_path: Path) -> None:
    """PS3.3 A.3, as David Clunie's dicom3tools check it."""
    paths = write(
        tmp_path,
        ramp((3, 16, 16)),
        spacing_mm=(0.6, 0.683593751234, 0.683593751234),
        origin_lps_mm=(-174.658203125, -350.0, -1234.567890123),
        study_description="Synthetic chest phantom",
    )
    for path in paths:
        found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in found.stderr + found.stdout
        assert "Warning" not in found.stderr + found.stdout
    together = subprocess.run(["dcentvfy", *map(str, paths)], capture_output=True, text=True, check=False)
    assert together.stderr + together.stdout == ""
    assert pydicom.dcmread(paths[0]).PatientID == PATIENT.patient_id
