"""Reports: what a study's result says, as a view, as HTML and as PDF from one template."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2

from models.manifest import Manifest
from pipeline import report_format
from pipeline.guidelines.of_findings import ChosenGuideline, apply_guideline
from pipeline.key_images import render_key_images
from pipeline.radiograph_images import render_radiograph
from pipeline.reason_text import reason_text
from pipeline.report_pdf import print_in_child
from pipeline.report_prior import prior_row, resolved_rows
from pipeline.report_text import words
from pipeline.report_view import (
    Decision,
    FindingRow,
    KeyImage,
    RadiographRead,
    ReportModel,
    ReportState,
    ReportView,
    Review,
    SeriesRead,
    StatementRow,
    StructureRow,
)
from pipeline.status import StudyStatus
from pipeline.structure_images import colour_of, render_structures
from study.answer import Classification, Image, Structure
from study.findings import Finding
from study.nodule import NoduleFeatures, PriorRead
from study.radiograph import Radiograph
from study.sentences import translated
from study.study import Instance, Series, Study
from study.volume import Volume

TEMPLATES = Path(__file__).resolve().parent / "templates"
_IMAGES_MAX = 9
_STATES_WITHOUT_RESULT = {
    StudyStatus.REJECTED: ReportState.NOT_ANALYSED,
    StudyStatus.FAILED: ReportState.FAILED,
}


def build_report(
    study: Study,
    *,
    job_id: str,
    created_at: datetime,
    status: StudyStatus,
    manifest: Manifest | None = None,
    volume: Volume | None = None,
    radiograph: Radiograph | None = None,
    statements: Sequence[Classification] = (),
    structures: Sequence[Structure] = (),
    findings: Sequence[Finding] = (),
    model_notes: Sequence[str] = (),
    prior: PriorRead | None = None,
    reason: tuple[str, str] | None = None,
    revision: int = 1,
    decisions: Sequence[Decision] = (),
    is_superseded: bool = False,
    images_max: int = _IMAGES_MAX,
    guideline: ChosenGuideline | None = None,
) -> ReportView:
    """The report of one result, or of a study that has none.

    manifest and volume or radiograph are given when a model ran. model_notes, prior: the answer's notes, beside
    those of decoding, and the earlier study that it was compared with.
    reason: (code, sentence) of a rejected or failed study; such a study has no findings in its report
    whatever is given. guideline: what the tenant has chosen to be applied to nodules.
    """
    state = _STATES_WITHOUT_RESULT.get(status)
    if state is None:
        found = bool(findings) or any(one.is_positive for one in statements)
        state = ReportState.FINDINGS if found else ReportState.NO_FINDING
        if structures and not (findings or statements):
            state = ReportState.MEASURED
    ordered: list[Finding] = []
    images: list[KeyImage] = []
    image = volume or radiograph
    series = _series_of(study, image)
    if state is ReportState.FINDINGS and volume is not None:
        ordered = sorted(findings, key=lambda finding: (-finding.mean_diameter_mm, finding.id))
        images = render_key_images(volume, ordered, images_max)
    if state is ReportState.MEASURED and volume is not None:
        images = render_structures(volume, structures)
    has_result = state in (ReportState.FINDINGS, ReportState.NO_FINDING)
    if has_result and radiograph is not None:
        images = render_radiograph(radiograph, statements)
    read = apply_guideline(guideline, study, ordered) if guideline is not None and ordered else None
    code, text = reason or ("", "")
    return ReportView(
        state=state,
        review=_review(decisions, ordered, is_superseded=is_superseded),
        patient_name=study.patient.name,
        patient_id=study.patient.patient_id,
        patient_birth_date=study.patient.birth_date,
        patient_sex=study.patient.sex,
        patient_age=study.patient.age,
        accession_number=study.accession_number,
        study_date=study.study_date,
        study_time=study.study_time,
        study_description=study.description,
        institution=study.institution,
        created_at=created_at,
        job_id=job_id,
        revision=revision,
        model=_model(manifest),
        series=_series_read(series, volume) if volume is not None else None,
        radiograph=_radiograph_read(series, radiograph) if radiograph is not None else None,
        input_notes=(*image.notes, *model_notes) if image is not None else (),
        prior_study_date=prior.study_date if prior is not None else "",
        reason_code=code,
        reason_text=text,
        resolved=resolved_rows(prior),
        findings=tuple(
            replace(_row(finding, series), category=read.category_of(finding.id) if read else None)
            for finding in ordered
        ),
        statements=tuple(_statements(statements)) if has_result else (),
        structures=tuple(_structures(structures)) if state is ReportState.MEASURED else (),
        key_images=tuple(images),
        decisions=tuple(decisions),
        guideline=read,
    )


def _review(decisions: Sequence[Decision], findings: Sequence[Finding], *, is_superseded: bool) -> Review:
    """Reviewed means that each finding has a decision; a report without findings stays not reviewed."""
    if is_superseded:
        return Review.SUPERSEDED
    decided = {decision.finding_id for decision in decisions}
    reviewed = bool(findings) and all(finding.id in decided for finding in findings)
    return Review.REVIEWED if reviewed else Review.NOT_REVIEWED


def _model(manifest: Manifest | None) -> ReportModel | None:
    if manifest is None:
        return None
    return ReportModel(
        name=manifest.name,
        version=manifest.version,
        title=manifest.title,
        publisher=manifest.publisher,
        weights_sha256=manifest.weights_sha256,
        clearance_status=manifest.clearance_status,
        intended_use=manifest.intended_use,
        operating_threshold=manifest.operating_threshold,
    )


def _series_of(study: Study, image: Image | None) -> Series | None:
    wanted = image.series_instance_uid if image is not None else ""
    return next((series for series in study.series if series.series_instance_uid == wanted), None)


def _series_read(series: Series | None, volume: Volume) -> SeriesRead:
    return SeriesRead(
        description=series.description if series else "",
        number=series.series_number if series else None,
        slice_count=len(volume.slice_sop_instance_uids),
        slice_thickness_mm=volume.slice_thickness_mm,
        slice_spacing_mm=volume.spacing_mm[0],
        kernel=series.convolution_kernel if series else "",
        manufacturer=series.manufacturer if series else "",
    )


def _radiograph_read(series: Series | None, radiograph: Radiograph) -> RadiographRead:
    return RadiographRead(
        description=series.description if series else "",
        number=series.series_number if series else None,
        view_position=radiograph.view_position,
        rows=radiograph.pixels.shape[0],
        columns=radiograph.pixels.shape[1],
        bits=radiograph.bits,
        spacing_mm=radiograph.spacing_mm,
        manufacturer=series.manufacturer if series else "",
    )


def _statements(statements: Sequence[Classification]) -> Iterator[StatementRow]:
    for number, one in enumerate(statements, start=1):
        yield StatementRow(number, one.label, one.probability, one.threshold, one.is_positive)


def _structures(structures: Sequence[Structure]) -> Iterator[StructureRow]:
    total = sum(one.volume_ml for one in structures)
    for number, one in enumerate(structures, start=1):
        low = one.low_attenuation_share
        yield StructureRow(
            number, one.label, colour_of(number), one.volume_ml, 100 * one.volume_ml / total, one.mean_hu,
            None if low is None else 100 * low,
        )  # fmt: skip


def _row(finding: Finding, series: Series | None) -> FindingRow:
    instances: tuple[Instance, ...] = series.instances if series else ()
    source = next((one for one in instances if one.sop_instance_uid == finding.slice_sop_instance_uid), None)
    number = source.instance_number if source and source.number_of_frames <= 1 else finding.slice_frame_number
    nodule = finding.nodule or NoduleFeatures()
    return FindingRow(
        id=finding.id,
        label=finding.label,
        score=finding.score,
        long_axis_mm=finding.long_axis_mm,
        short_axis_mm=finding.short_axis_mm,
        mean_diameter_mm=finding.mean_diameter_mm,
        volume_mm3=finding.volume_mm3,
        image_number=number if source and number is not None else finding.slice_index + 1,
        slice_sop_instance_uid=finding.slice_sop_instance_uid,
        lobe=nodule.lobe,
        kind=nodule.kind.value if nodule.kind is not None else None,
        prior=prior_row(finding),
        solid_part_mm=nodule.solid_part_mm,
        pleura_distance_mm=nodule.pleura_distance_mm,
    )


def report_values(
    view: ReportView,
    language: str,
    image_href: Callable[[str], str],
    *,
    row_actions: Callable[[FindingRow], str] | None = None,
) -> dict[str, Any]:
    """What `report_body.html` needs. A page of another application includes it with these values.

    row_actions: gives the markup of a page's own controls for a finding; safe markup, not plain text.
    """
    word = words(language)
    return {
        "report": view,
        "w": word,
        "f": report_format,
        "said": lambda text: translated(text, language, word),
        "unread": lambda code, text: reason_text(code, text, language),
        "image_href": image_href,
        "row_actions": row_actions,
        "report_language": "zh-Hans" if language == "zh" else "en",
    }


def render_report_html(
    view: ReportView, *, language: str, for_print: bool, image_href: Callable[[str], str]
) -> str:
    """The report as a whole page: for the printer with pages and feet, else for a screen."""
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    values = report_values(view, language, image_href)
    return _environment().get_template("report.html").render(**values, css=css, for_print=for_print)


def render_report_pdf(view: ReportView, language: str) -> bytes:
    """The report as PDF, rendered in a process of its own; the same view gives the same bytes."""
    html = render_report_html(
        view, language=language, for_print=True, image_href=lambda name: f"key-image:{name}"
    )
    images = {image.name: image.png for image in view.key_images}
    return print_in_child(html, images)


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(TEMPLATES)
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
