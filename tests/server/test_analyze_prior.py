"""`radmeter analyze --prior`: a phantom's study beside an earlier one of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pypdf
import pytest
from numpy.typing import NDArray

from dicom_gateway.write_ct import write_ct_series
from study.study import Patient
from tests.server.test_analyze import analyze, text_of
from tests.small_chest import SPACING_MM, small_chest


@pytest.fixture
def voxels() -> NDArray[np.int16]:
    return small_chest(nodule_count=3).voxels


def write(folder: Path, voxels: NDArray[np.int16], date: str, patient_id: str = "P1") -> Path:
    patient = Patient(patient_id=patient_id, birth_date="19600101")
    write_ct_series(voxels, SPACING_MM, folder, patient=patient, seed=folder.name, study_date=date)
    return folder


@pytest.fixture(autouse=True)
def _no_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path / "no installation"))


def test_findings_are_compared_in_json_and_report(tmp_path: Path, voxels: NDArray[np.int16]) -> None:
    now, then = write(tmp_path / "now", voxels, "20260101"), write(tmp_path / "then", voxels, "20251001")
    code, result, _ = analyze(now, tmp_path / "out", "--prior", str(then))
    assert code == 0
    assert result["prior"]["study_date"] == "20251001"
    assert result["findings"]
    assert {one["comparison"]["growth"]["trend"] for one in result["findings"]} == {"unchanged"}
    assert result["timing_s"]["compare"] > 0
    assert (tmp_path / "out/finding-1-prior.png").is_file()  # beside the present slice
    text = text_of(tmp_path / "out/report.pdf")
    assert "Compared with the prior study: 2025-10-01" in text
    assert f"{len(result['findings'])} unchanged" in text
    assert "change over time were not" not in text
    assert len(pypdf.PdfReader(tmp_path / "out/report.pdf").pages) >= 1


@pytest.mark.parametrize(
    ("patient_id", "slices", "words"),
    [("P2", 28, "it has another Patient ID"), ("P1", 5, "5 slices are fewer than the 25 it needs")],
)
def test_a_prior_that_does_not_fit_is_a_note(
    tmp_path: Path, voxels: NDArray[np.int16], patient_id: str, slices: int, words: str
) -> None:
    now = write(tmp_path / "now", voxels, "20260101")
    then = write(tmp_path / "then", voxels[:slices], "20251001", patient_id)
    code, result, _ = analyze(now, tmp_path / "out", "--prior", str(then))
    assert (code, result["prior"]) == (0, None)
    assert words in result["notes"][-1]
    assert all(one["comparison"] is None for one in result["findings"])
