"""Reports for the pages: a small one made of given texts, and one that says all that a report can say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from models.ops.growth import Sized, growth
from pipeline.guidelines.of_findings import chosen_guideline
from pipeline.report import build_report
from pipeline.report_view import (
    FindingRow,
    KeyImage,
    ReportModel,
    ReportState,
    ReportView,
    SeriesRead,
)
from pipeline.status import StudyStatus
from study.findings import Finding
from study.nodule import Comparison, NoduleFeatures, NoduleKind, PriorRead
from study.review import Review, ReviewState
from study.sentences import say
from study.study import Instance, Patient, Series, Study
from study.volume import Volume
from tests.portal.seeds import lung_model, phantom_volume
from tests.result_builders import ball

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)


def small_report(study_id: str, patient_name: str = "DOE^JANE", text: str = "plain") -> ReportView:
    """A report with one finding and one picture, every text of it from outside."""
    return ReportView(
        state=ReportState.FINDINGS,
        review=Review(ReviewState.NOT_REVIEWED),
        patient_name=patient_name,
        patient_id=text,
        patient_birth_date="19580312",
        patient_sex="F",
        patient_age="068Y",
        accession_number=text,
        study_date="20261120",
        study_time="081500",
        study_description=text,
        institution=text,
        created_at=datetime.now(UTC),
        job_id=study_id,
        revision=1,
        model=ReportModel("lung_nodule_ct", "1.0.0", text, text, "ab" * 32, text, text, 0.5),
        series=SeriesRead(text, 3, 120, 2.0, 2.0, text, text),
        input_notes=(text,),
        findings=(FindingRow(1, text, 0.9, 8.1, 6.5, 7.3, 278.0, 97, "1.2.3"),),
        key_images=(KeyImage("finding-1-overview.png", PNG, text, 1, "overview", 1, 1),),
    )


def compared_report(study_id: str, patient: Patient, count: int = 3) -> ReportView:
    """A synthetic chest beside its prior under Lung-RADS: nodules that have grown, are new, have not changed.

    count: of findings; beyond three they are copies with ids of their own.
    """
    volume, places = phantom_volume(7, nodule_count=3)
    prior = replace(volume, voxels=volume.voxels.copy())
    findings = []
    for number, (place, diameter) in enumerate(places, start=1):
        found = ball(volume, place, diameter, id=number, score=(0.93, 0.71, 0.55)[number - 1])
        then_mm = (0.62 * diameter, 0.0, diameter)[number - 1]
        _redraw(prior, found.center_lps_mm, diameter, then_mm)
        findings.append(_told(found, number, then_mm))
    findings += [
        replace(findings[2], id=number, tracking_uid=f"2.25.{number}") for number in range(4, count + 1)
    ]
    instances = tuple(
        Instance(uid, CT, CT, uid, instance_number=number, number_of_frames=1)
        for number, uid in enumerate(volume.slice_sop_instance_uids, start=1)
    )
    series = Series(volume.series_instance_uid, "CT", instances, "Chest 2.0 LUNG", series_number=3)
    return build_report(
        Study("1.2.826.0.9", (series,), patient, "20261120", "081500", "A-2026-0042", "CT chest, low dose"),
        job_id=study_id,
        created_at=datetime.now(UTC),
        status=StudyStatus.DELIVERED,
        manifest=lung_model(),
        volume=volume,
        findings=findings[:count],
        prior=PriorRead("20260520", 184, 0.98),
        prior_volume=prior,
        guideline=chosen_guideline("lung_rads_2022", "screening"),
        model_notes=(say("LUNGS_CUT", side="inferior", area="12"),),
    )


CT = "1.2.840.10008.5.1.4.1.1.2"
_KINDS = (NoduleKind.SOLID, NoduleKind.PART_SOLID, NoduleKind.GROUND_GLASS)
_LOBES = ("right upper lobe", "left lower lobe", "right middle lobe")


def _redraw(volume: Volume, center: tuple[float, float, float], now_mm: float, then_mm: float) -> None:
    """What was there before: lung, and in it a smaller ball."""
    reach = np.ceil((now_mm / 2 + 3) / np.asarray(volume.spacing_mm)).astype(int)
    middle = np.rint(volume.to_index(np.asarray(center))).astype(int)
    box = tuple(slice(max(at - by, 0), at + by + 1) for at, by in zip(middle, reach, strict=True))
    index = np.stack(np.mgrid[box], axis=-1).astype(float)
    distance = np.linalg.norm(volume.to_lps_mm(index) - center, axis=-1)
    noise = np.random.default_rng(5).normal(0, 25, distance.shape)
    there = volume.voxels[box]
    there[distance <= now_mm / 2 + 2] = (noise - 840)[distance <= now_mm / 2 + 2].astype(np.int16)
    there[distance <= then_mm / 2] = (noise + 30)[distance <= then_mm / 2].astype(np.int16)


def _told(found: Finding, number: int, then_mm: float) -> Finding:
    """With its type, its lobe and what became of it."""
    part_mm = 0.5 * found.mean_diameter_mm if number == 2 else None
    nodule = NoduleFeatures(_KINDS[number - 1], part_mm, part_mm, _LOBES[number - 1], 4.0 * number)
    if not then_mm:
        then = Comparison("new", "20260520", 184, center_lps_mm=found.center_lps_mm)
    else:
        before_mm3 = found.volume_mm3 * (then_mm / found.mean_diameter_mm) ** 3
        then = Comparison(
            "matched", "20260520", 184, then_mm, before_mm3, "2.25.7", True,
            growth(Sized(found.volume_mm3, 2.0), Sized(before_mm3, 2.0), 184), found.center_lps_mm,
        )  # fmt: skip
    return replace(found, nodule=nodule, comparison=then)
