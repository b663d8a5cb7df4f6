"""The result set of one model on one series: SR, SEG, PDF and the report. Server and command line make it alike."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite

from dicom_gateway.encode_pdf import encode_pdf
from dicom_gateway.encode_rejection_note import encode_rejection_note
from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from dicom_gateway.result_context import ResultContext
from dicom_gateway.source_headers import read_headers
from models.manifest import Manifest
from pipeline.guidelines.of_findings import ChosenGuideline
from pipeline.report import build_report, render_report_pdf
from pipeline.report_view import ReportView
from pipeline.status import StudyStatus
from study.answer import Answer, Image
from study.radiograph import Radiograph
from study.study import Study
from study.volume import Volume


@dataclass(frozen=True)
class ResultObject:
    """One encoded instance: kind SR, SEG, PDF or KOS, and its Part 10 bytes."""

    kind: str
    sop_instance_uid: str
    content: bytes


@dataclass(frozen=True)
class ResultSet:
    """Everything that leaves for the PACS and what people read."""

    objects: tuple[ResultObject, ...]
    view: ReportView
    pdf: bytes


def make_result_set(
    study: Study,
    image: Image,
    answer: Answer,
    manifest: Manifest,
    *,
    study_id: str,
    uid_seed: str,
    revision: int,
    created_at: datetime,
    instances_root: Path,
    language: str,
    superseded: Sequence[Path] = (),
    guideline: ChosenGuideline | None = None,
) -> ResultSet:
    """Encode one result. The same arguments give the same bytes, so a repeated step repeats its objects.

    uid_seed: see `ResultContext`; UIDs do not depend on the study id or on the moment.
    instances_root: the folder that the instances' locations are relative to.
    superseded: our own objects of an earlier revision that this result replaces. guideline: applied in the report.
    """
    view = build_report(
        study,
        job_id=study_id,
        created_at=created_at,
        status=StudyStatus.INFERRED,
        manifest=manifest,
        volume=image if isinstance(image, Volume) else None,
        radiograph=image if isinstance(image, Radiograph) else None,
        findings=answer.findings,
        statements=answer.classifications,
        structures=answer.structures,
        model_notes=answer.notes,
        prior=answer.prior,
        revision=revision,
        guideline=guideline,
    )
    pdf = render_report_pdf(view, language)
    context = ResultContext(
        uid_seed=uid_seed,
        source_headers=read_headers(_source_files(study, image, instances_root)),
        image=image,
        findings=answer.findings,
        classifications=answer.classifications,
        structures=answer.structures,
        prior=answer.prior,
        model_name=manifest.name,
        model_version=manifest.version,
        weights_sha256=manifest.weights_sha256,
        publisher=manifest.publisher,
        clearance_status=manifest.clearance_status,
        intended_use=manifest.intended_use,
        created_at=created_at,
        revision=revision,
        operating_threshold=manifest.operating_threshold,
        predecessors=[dcmread(path, stop_before_pixels=True) for path in superseded],
    )
    encoded = {
        "SR": encode_sr(context),
        "SEG": encode_seg(context),
        "PDF": encode_pdf(context, pdf),
        "KOS": encode_rejection_note(context),
    }
    objects = [_object(kind, dataset) for kind, dataset in encoded.items() if dataset is not None]
    return ResultSet(tuple(objects), view, pdf)


def _source_files(study: Study, image: Image, root: Path) -> Sequence[Path]:
    """The files of the volume's slices in slice order, each once; or the radiograph's."""
    series = study.series_of(image.series_instance_uid)
    location = {instance.sop_instance_uid: instance.location for instance in series.instances}
    uids = image.slice_sop_instance_uids if isinstance(image, Volume) else (image.sop_instance_uid,)
    return [root / location[uid] for uid in dict.fromkeys(uids)]


def _object(kind: str, dataset: Dataset) -> ResultObject:
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return ResultObject(kind, str(dataset.SOPInstanceUID), buffer.getvalue())
