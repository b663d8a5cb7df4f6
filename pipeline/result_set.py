"""The result set of one model on one image: DICOM objects and the report. Server and command line make it alike."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite

from dicom_gateway.encode_gsps import encode_gsps
from dicom_gateway.encode_keys import encode_keys
from dicom_gateway.encode_pdf import encode_pdf
from dicom_gateway.encode_pm import encode_pm
from dicom_gateway.encode_rejection_note import encode_rejection_note
from dicom_gateway.encode_sc import encode_captures
from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from dicom_gateway.encode_text_sr import encode_text_sr
from dicom_gateway.result_context import GuidelineWords, ResultContext
from dicom_gateway.source_headers import read_headers
from models.manifest import Manifest
from pipeline.capture_pictures import draw_captures
from pipeline.guidelines.of_findings import ChosenGuideline
from pipeline.intended_patient import patient_caveats
from pipeline.report import build_report, render_report_pdf
from pipeline.report_view import ReportView
from pipeline.status import StudyStatus
from study.answer import Answer, Image
from study.radiograph import Radiograph
from study.sentences import translated
from study.study import Study
from study.volume import Volume

RESULT_KINDS = frozenset({"SR", "SEG", "PM", "KEYS", "PDF", "SR2D", "TEXT", "GSPS", "SC", "KOS"})
"""Kinds that `make_result_set` makes: the set of IHE AIR, what stands in for it, and the rejection note."""
PLAIN_REPORTS = frozenset({"SR2D", "TEXT"})
"""The SR once more, for archives that refuse its class."""
ALWAYS_MADE = frozenset({"SR", "SEG", "PDF", "KOS"})
"""What every study has, whoever takes it: our own pages and messages refer to these."""
# An object is made with those that it refers to.
_REFERS_TO = {"SR": {"SEG"}, "SR2D": {"SEG"}, "TEXT": {"SR", "SEG"}, "KEYS": {"SR", "SEG", "PM"}}


@dataclass(frozen=True)
class ResultObject:
    """One encoded instance, its kind (`RESULT_KINDS`) and its Part 10 bytes.

    number: from 1 within its kind; only SC comes more than once.
    """

    kind: str
    sop_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    content: bytes
    number: int = 1

    def file_name(self, product: str) -> str:
        """Where it lies among the results of one study."""
        several = f"-{self.number}" if self.number > 1 else ""
        return f"{product}.{self.kind.lower()}{several}.dcm"


@dataclass(frozen=True)
class ResultSet:
    """Everything that leaves for the PACS and what people read.

    sources, predecessors: headers of what the model read and of what the set replaces; the gate measures it by them.
    """

    objects: tuple[ResultObject, ...]
    view: ReportView
    pdf: bytes
    sources: Sequence[Dataset]
    predecessors: Sequence[Dataset] = ()


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
    kinds: frozenset[str] = ALWAYS_MADE,
    prior_volume: Volume | None = None,
) -> ResultSet:
    """Encode one result. The same arguments give the same bytes, so a repeated step repeats its objects.

    uid_seed: see `ResultContext`; UIDs do not depend on the study id or on the moment.
    instances_root: the folder that the instances' locations are relative to.
    superseded: our own objects of an earlier revision that this result replaces. guideline: applied in the report.
    kinds: the objects that are wanted; those that they refer to are made too, and others of `RESULT_KINDS` are not.
    prior_volume: the images of the prior that the findings were compared with, where they are here.
    """
    caveats = patient_caveats(study, manifest, image)
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
        model_notes=(*caveats, *answer.notes),
        prior=answer.prior,
        prior_volume=prior_volume,
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
        language=language,
        finding_mm=manifest.finding_mm,
        outlines=manifest.outlines,
        guideline=guideline_words(view, language),
        kinds=with_references(kinds),
        caveats=tuple(translated(one, language) for one in caveats),
        operating_threshold=manifest.operating_threshold,
        predecessors=[dcmread(path, stop_before_pixels=True) for path in superseded],
    )
    objects = [as_object(kind, dataset) for kind, dataset in encode_result(context, pdf)]
    return ResultSet(tuple(objects), view, pdf, context.source_headers, context.predecessors)


def with_references(kinds: frozenset[str]) -> frozenset[str]:
    """The kinds, and those that objects of these kinds refer to."""
    return kinds.union(*(_REFERS_TO.get(kind, ()) for kind in kinds))


def guideline_words(view: ReportView, language: str) -> GuidelineWords | None:
    """The guideline of a report as its objects say it."""
    read = view.guideline
    if read is None:
        return None
    notes = [(note.finding_id, note.zh if language == "zh" else note.en) for note in read.notes]
    return GuidelineWords(read.title, read.source, read.worst, tuple(notes))


def encode_result(context: ResultContext, pdf: bytes) -> Iterator[tuple[str, Dataset]]:
    """The objects that the result has, in the order in which they are best sent."""
    encoders: dict[str, Callable[[ResultContext], Dataset | None]] = {
        "SR": encode_sr,
        "SEG": encode_seg,
        "PM": encode_pm,
        "PDF": lambda one: encode_pdf(one, pdf),
        "SR2D": lambda one: encode_sr(one, "SR2D"),
        "GSPS": encode_gsps,
        "KOS": encode_rejection_note,
    }
    made = {kind: encode(context) for kind, encode in encoders.items() if kind in context.kinds}
    if "TEXT" in context.kinds and (report := made["SR"]) is not None:
        made["TEXT"] = encode_text_sr(context, report)
    if "KEYS" in context.kinds:
        others = [made[kind] for kind in ("SR", "SEG", "PM")]
        made["KEYS"] = encode_keys(context, [one for one in others if one is not None])
    yield from ((kind, dataset) for kind, dataset in made.items() if dataset is not None)
    if "SC" in context.kinds:
        yield from (("SC", dataset) for dataset in encode_captures(context, draw_captures(context)))


def _source_files(study: Study, image: Image, root: Path) -> Sequence[Path]:
    """The files of the volume's slices in slice order, each once; or the radiograph's."""
    series = study.series_of(image.series_instance_uid)
    location = {instance.sop_instance_uid: instance.location for instance in series.instances}
    uids = image.slice_sop_instance_uids if isinstance(image, Volume) else (image.sop_instance_uid,)
    return [root / location[uid] for uid in dict.fromkeys(uids)]


def as_object(kind: str, dataset: Dataset) -> ResultObject:
    """The bytes that leave."""
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    uids = (str(dataset.SOPInstanceUID), str(dataset.SeriesInstanceUID), str(dataset.SOPClassUID))
    return ResultObject(kind, *uids, buffer.getvalue(), int(dataset.InstanceNumber))
