"""Reports for the tests: a synthetic study with findings, without, rejected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models.manifest import Manifest, load_manifest
from models.ops.growth import Sized, growth
from pipeline.report import build_report
from pipeline.report_view import ReportView
from pipeline.status import StudyStatus
from study.findings import Finding
from study.nodule import Comparison, NoduleFeatures, NoduleKind, PriorRead, ResolvedNodule
from study.study import Instance, Patient, Series, Study
from study.volume import Volume
from tests.result_builders import CREATED_AT, ball, synthetic_headers, volume_of

MODEL_FOLDER = Path(__file__).resolve().parent.parent / "models" / "lung_nodule_ct"


def manifest() -> Manifest:
    """The manifest of the model that comes with the product."""
    return load_manifest(MODEL_FOLDER)


def lung_volume() -> Volume:
    """Twelve slices of 1 mm pixels: lung everywhere, soft tissue in a ball of 8 mm at (-10, 4, 10)."""
    empty = volume_of(synthetic_headers())
    voxels = np.full(empty.voxels.shape, -850, np.int16)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in voxels.shape], indexing="ij"), axis=-1)
    distance = np.linalg.norm(empty.to_lps_mm(index.astype(float)) - (-10.0, 4.0, 10.0), axis=-1)
    voxels[distance <= 4.0] = 40
    return replace(empty, voxels=voxels)


def two_findings(volume: Volume) -> tuple[Finding, ...]:
    """The smaller one has the higher score, as it happens."""
    return (
        ball(volume, (12.0, -6.0, 14.0), 5.0, id=1, score=0.92),
        ball(volume, (-10.0, 4.0, 10.0), 8.0, id=2, score=0.61),
    )


def study_of(volume: Volume, **patient: str) -> Study:
    instances = tuple(
        Instance(uid, "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", "x", instance_number=100 - number)
        for number, uid in enumerate(volume.slice_sop_instance_uids)
    )
    series = Series(volume.series_instance_uid, "CT", instances, description="Thorax 1.0", series_number=4)
    values = {
        "patient_id": "P-1",
        "name": "Wang^XiaoDong=王^小东",
        "birth_date": "19510203",
        "sex": "F",
        "age": "061Y",
    }
    return Study(
        "1.2.3",
        (series,),
        Patient(**{**values, **patient}),
        study_date="20250303",
        study_time="101112",
        accession_number="ACC-77",
        description="CT thorax",
    )


def report(**changes: Any) -> ReportView:
    """A report; with findings unless `changes` say otherwise."""
    volume = changes.pop("volume", None) or lung_volume()
    patient = changes.pop("patient", {})
    values: dict[str, Any] = {
        "job_id": "0194c3a2-7d1e-7c55-9a63-1f0a2b3c4d5e",
        "created_at": CREATED_AT,
        "status": StudyStatus.DELIVERED,
        "manifest": manifest(),
        "volume": volume,
        "findings": two_findings(volume),
    }
    return build_report(study_of(volume, **patient), **{**values, **changes})


def rejected(**changes: Any) -> ReportView:
    reason = ("SLICES_TOO_THICK", "The only chest CT series has 8.0 mm slices; the model reads up to 5.0 mm.")
    return report(**{"status": StudyStatus.REJECTED, "reason": reason, **changes})


def compared_findings(volume: Volume) -> tuple[Finding, ...]:
    """A new part-solid nodule and a solid one that has grown since the prior study."""
    new, known = two_findings(volume)
    then = Comparison(
        "matched", "20240901", 183, 6.0, 113.0, "2.25.77", True,
        growth(Sized(known.volume_mm3, 2.0), Sized(113.0, 2.0), 183),
    )  # fmt: skip
    return (
        replace(
            new,
            nodule=NoduleFeatures(NoduleKind.PART_SOLID, 3.1, 3.4, "left upper lobe", 0.0),
            comparison=Comparison("new", "20240901", 183),
        ),
        replace(
            known,
            nodule=NoduleFeatures(NoduleKind.SOLID, lobe="right lower lobe", pleura_distance_mm=12.3),
            comparison=then,
        ),
    )


PRIOR = PriorRead(
    "20240901", 183, 0.97, (ResolvedNodule("2.25.78", (1.0, 2.0, 3.0), 5.2, 74.0, "right upper lobe"),)
)
