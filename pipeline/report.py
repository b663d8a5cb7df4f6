"""Reports: what a study's result says, as a view, as HTML and as PDF from one template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2

from models.manifest import Manifest
from pipeline import report_format
from pipeline.guidelines.of_findings import ChosenGuideline, GuidelineRead, apply_guideline
from pipeline.key_images import render_key_images
from pipeline.radiograph_images import render_radiograph
from pipeline.reason_text import reason_text
from pipeline.report_pdf import print_in_child
from pipeline.report_prior import resolved_rows
from pipeline.report_rows import (
    finding_row,
    model_row,
    radiograph_row,
    series_row,
    statement_rows,
    structure_rows,
)
from pipeline.report_text import words
from pipeline.report_view import KeyImage, ReportState, ReportView
from pipeline.status import StudyStatus
from pipeline.structure_images import render_structures
from study.answer import Classification, Image, Structure
from study.findings import Finding
from study.nodule import PriorRead
from study.radiograph import Radiograph
from study.review import Review, ReviewState
from study.sentences import translated
from study.study import Series, Study
from study.volume import Volume

TEMPLATES = Path(__file__).resolve().parent / "templates"
_PICTURED_MAX = 4
# What a screen and a printer show of a long table; the rest is counted, and in the SR, the SEG and the CSV.
ROWS_ON_SCREEN, ROWS_IN_PRINT = 200, 60
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
    prior_volume: Volume | None = None,
    reason: tuple[str, str] | None = None,
    revision: int = 1,
    review: Review | None = None,
    pictured_max: int = _PICTURED_MAX,
    guideline: ChosenGuideline | None = None,
) -> ReportView:
    """The report of one result, or of a study that has none.

    manifest and volume or radiograph are given when a model ran. model_notes, prior: the answer's notes, beside
    those of decoding, and the earlier study that it was compared with; prior_volume: its images, where they are here.
    reason: (code, sentence) of a rejected or failed study; such a study has no findings in its report
    whatever is given. guideline: what the tenant has chosen to be applied to nodules. review: none so far without it.
    pictured_max: findings that get pictures.
    """
    outlines = bool(structures) or (manifest is not None and manifest.outlines)
    state = _state(status, findings, statements, outlines=outlines)
    image = volume or radiograph
    series = _series_of(study, image)
    model = model_row(manifest)
    point = model.operating_point if model else None
    has_result = state in (ReportState.FINDINGS, ReportState.NO_FINDING)
    ordered: list[Finding] = []
    read: GuidelineRead | None = None
    if state is ReportState.FINDINGS and volume is not None:
        read = apply_guideline(guideline, study, findings) if guideline is not None and findings else None
        ordered = _worst_first(findings, guideline, read)
    images: list[KeyImage] = []
    if ordered and volume is not None:
        images = render_key_images(volume, ordered[:pictured_max], prior_volume)
    if state is ReportState.MEASURED and volume is not None:
        images = render_structures(volume, structures)
    if has_result and radiograph is not None:
        images = render_radiograph(radiograph, statements)
    code, text = reason or ("", "")
    return ReportView(
        state=state,
        review=review or Review(ReviewState.NOT_REVIEWED),
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
        model=model,
        series=series_row(series, volume) if volume is not None else None,
        radiograph=radiograph_row(series, radiograph) if radiograph is not None else None,
        input_notes=(*image.notes, *model_notes) if image is not None else (),
        prior_study_date=prior.study_date if prior is not None else "",
        reason_code=code,
        reason_text=text,
        resolved=resolved_rows(prior),
        findings=tuple(
            finding_row(finding, series, read.category_of(finding.id) if read else None, point)
            for finding in ordered
        ),
        statements=tuple(statement_rows(statements, point)) if has_result else (),
        structures=tuple(structure_rows(structures)) if state is ReportState.MEASURED else (),
        key_images=tuple(images),
        guideline=read,
    )


def _state(
    status: StudyStatus,
    findings: Sequence[Finding],
    statements: Sequence[Classification],
    *,
    outlines: bool,
) -> ReportState:
    state = _STATES_WITHOUT_RESULT.get(status)
    if state is not None:
        return state
    if outlines and not (findings or statements):
        return ReportState.MEASURED
    found = bool(findings) or any(one.is_positive for one in statements)
    return ReportState.FINDINGS if found else ReportState.NO_FINDING


def _worst_first(
    findings: Sequence[Finding], guideline: ChosenGuideline | None, read: GuidelineRead | None
) -> list[Finding]:
    """By category, then by size. What got no category counts as the worst: nobody knows that it is better."""
    categories = guideline.guideline.categories if guideline is not None else ()

    def key(finding: Finding) -> tuple[int, float, int]:
        worst = read.worst if read is not None else None
        category = (read.category_of(finding.id) or worst) if read is not None else None
        rank = categories.index(category) if category is not None else 0
        return -rank, -finding.mean_diameter_mm, finding.id

    return sorted(findings, key=key)


def _series_of(study: Study, image: Image | None) -> Series | None:
    wanted = image.series_instance_uid if image is not None else ""
    return next((series for series in study.series if series.series_instance_uid == wanted), None)


def report_values(
    view: ReportView,
    language: str,
    image_href: Callable[[str], str],
    *,
    slice_href: Callable[[str, str], str | None] = lambda _series, _instance: None,
    csv_href: str = "",
    newer_href: str = "",
    rows_max: int = ROWS_ON_SCREEN,
    for_print: bool = False,
) -> dict[str, Any]:
    """What `report_body.html` needs. A page of another application includes it with these values.

    slice_href: where the slice of (Series, SOP Instance UID) is shown, None without a viewer. csv_href: the whole
    finding table. newer_href: the report that takes this one's place.
    """
    word = words(language)
    return {
        "report": view,
        "w": word,
        "f": report_format,
        "said": lambda text: report_format.note(translated(text, language, word)),
        "unread": lambda code, text: report_format.note(reason_text(code, text, language)),
        "image_href": image_href,
        "slice_href": slice_href,
        "csv_href": csv_href,
        "newer_href": newer_href,
        "rows_max": rows_max,
        "for_print": for_print,
        "languages": (),
        "report_language": "zh-Hans" if language == "zh" else "en",
    }


def render_report_html(
    view: ReportView, *, language: str, for_print: bool, image_href: Callable[[str], str]
) -> str:
    """The report as a whole page: for the printer with pages and feet, else for a screen."""
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    rows_max = ROWS_IN_PRINT if for_print else ROWS_ON_SCREEN
    values = report_values(view, language, image_href, rows_max=rows_max, for_print=for_print)
    return _environment().get_template("report.html").render(**values, css=css)


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
