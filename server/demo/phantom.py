"""The demo's own study: a synthetic chest CT whose nodules are known."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from dicom_gateway.write_ct import write_ct_series
from models.lung_nodule_ct.phantom import make_phantom
from study.study import Patient

SEED = 20261
SPACING_MM = (1.0, 0.679, 0.679)
FIELD_MM = (300, 348, 348)
NODULE_COUNT = 6


@dataclass(frozen=True)
class TrueNodule:
    """A nodule that was put into the phantom; centre in patient LPS, mm."""

    center_lps_mm: tuple[float, float, float]
    diameter_mm: float
    kind: str


def phantom_study(folder: Path) -> tuple[Path, list[TrueNodule]]:
    """The phantom's DICOM folder and its truth, made at the first call and kept."""
    dicom, truth_file = folder / "dicom", folder / "truth.json"
    if not truth_file.exists():
        _make(dicom, truth_file)
    truth = [TrueNodule(**record) for record in json.loads(truth_file.read_text())]
    return dicom, truth


def _make(dicom: Path, truth_file: Path) -> None:
    phantom = make_phantom(SEED, spacing_mm=SPACING_MM, field_mm=FIELD_MM, nodule_count=NODULE_COUNT)
    dicom.mkdir(parents=True, exist_ok=True)
    write_ct_series(
        phantom.voxels,
        phantom.spacing_mm,
        dicom,
        patient=Patient(patient_id="PHANTOM-1", name="Phantom^Chest", birth_date="19700101", sex="O"),
        study_description="Synthetic chest phantom",
        seed=f"demo phantom {SEED}",
    )
    # write_ct_series puts voxel (0, 0, 0) at the origin, columns to the left, rows to the back, slices up.
    truth = [
        TrueNodule(
            center_lps_mm=_lps(nodule.center_index, phantom.spacing_mm),
            diameter_mm=nodule.diameter_mm,
            kind=nodule.kind,
        )
        for nodule in phantom.truth
    ]
    truth_file.write_text(json.dumps([asdict(one) for one in truth]))


def _lps(
    index: tuple[float, float, float], spacing_mm: tuple[float, float, float]
) -> tuple[float, float, float]:
    z, y, x = (float(value) for value in np.asarray(index) * np.asarray(spacing_mm))
    return x, y, z
