"""What a report page loads and offers: key images, the PDF, the finding table as CSV."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from pipeline import store
from pipeline.report import render_report_pdf
from pipeline.report_errors import ReportNotRendered
from pipeline.report_file import load_report
from pipeline.report_text import words
from pipeline.report_view import FindingRow, ReportView
from portal.context import SEES_STUDIES, Identity, PortalContext
from portal.csv_export import csv_text
from portal.errors import PageNotFound, PrinterBusy
from portal.file_answer import file_answer
from portal.pages.reports import FINISHED, Reader
from portal.report_files import ReportFiles, find_report, find_reports
from portal.requests import Context, parse_id
from portal.verdict_desk import VerdictDesk, desk_of, reviewed_view

router = APIRouter(include_in_schema=False)

Language = Annotated[Literal["en", "zh"] | None, Query()]
Revision = Annotated[int | None, Query(ge=1, le=2**31 - 1)]

# Each print takes some hundred MB in a process of its own for a second or two.
_PRINTERS = threading.BoundedSemaphore(2)
_WAIT_S = 20.0


@dataclasses.dataclass(frozen=True)
class _Found:
    """A stored report; is_old: a newer one stands in its place. desk: what people have said of it."""

    files: ReportFiles
    is_old: bool
    desk: VerdictDesk | None = None

    @property
    def is_as_sent(self) -> bool:
        """Nothing has come over it since the model's result was sent."""
        return not self.is_old and (self.desk is None or not self.desk.seen)

    def name(self, ending: str) -> str:
        """Holds our id, not the patient's name."""
        product = f"-{self.files.product}" if self.files.product else ""
        return f"report-{self.files.view.job_id}-{self.files.revision}{product}.{ending}"


@router.get("/studies/{study_id}/images/{name}")
def image(
    request: Request,
    context: Context,
    identity: Reader,
    study_id: str,
    name: str,
    revision: Revision = None,
    product: str = "",
) -> Response:
    """One key image of the report."""
    path = _find(context, identity, study_id, revision, product).files.image(name)
    if path is None:
        raise PageNotFound
    return file_answer(request, path, "image/png")


@router.get("/studies/{study_id}/report.pdf")
def report_pdf(
    context: Context,
    identity: Reader,
    study_id: str,
    revision: Revision = None,
    product: str = "",
    language: Language = None,
) -> Response:
    """The report as it was sent. In another language, or when somebody has judged it or a newer one stands in its
    place and it must say so, it is printed anew."""
    found = _find(context, identity, study_id, revision, product)
    if found.files.pdf is None:
        raise PageNotFound
    disposition = f'attachment; filename="{found.name("pdf")}"'
    if language is None and found.is_as_sent:
        return FileResponse(
            found.files.pdf, media_type="application/pdf", headers={"Content-Disposition": disposition}
        )
    printed = _print(found, language or identity.language)
    return Response(printed, media_type="application/pdf", headers={"Content-Disposition": disposition})


@router.get("/studies/{study_id}/findings.csv")
def findings_csv(
    context: Context,
    identity: Reader,
    study_id: str,
    revision: Revision = None,
    product: str = "",
    language: Language = None,
) -> Response:
    """The whole finding table, one line for each."""
    found = _find(context, identity, study_id, revision, product)
    text = csv_text(_COLUMNS, _lines(found.files.view, language or identity.language))
    disposition = f'attachment; filename="{found.name("csv")}"'
    return Response(text, media_type="text/csv; charset=utf-8", headers={"Content-Disposition": disposition})


def _find(
    context: PortalContext, identity: Identity, study_id: str, revision: int | None, product: str
) -> _Found:
    with context.database.transaction(identity.tenant) as conn:
        study = store.get_study(conn, identity.tenant, parse_id(study_id))
        files = find_report(context.folders, study, revision, product)
        desk = desk_of(conn, identity, study.id, files)
    if files is None or (study.status is not FINISHED and not identity.may(SEES_STUDIES)):
        raise PageNotFound
    newest = find_reports(context.folders, study)
    return _Found(files, files.revision < newest[0].revision, desk)


def _print(found: _Found, language: str) -> bytes:
    try:
        view = reviewed_view(load_report(found.files.folder), found.desk)
    except FileNotFoundError:
        raise PageNotFound from None
    if not _PRINTERS.acquire(timeout=_WAIT_S):
        raise PrinterBusy
    try:
        return render_report_pdf(view.superseded() if found.is_old else view, language)
    except ReportNotRendered as error:
        raise PrinterBusy from error
    finally:
        _PRINTERS.release()


_COLUMNS = (
    "number", "lobe", "type", "mean_diameter_mm", "long_axis_mm", "short_axis_mm", "solid_part_mm", "volume_mm3",
    "mean_hu", "pleura_distance_mm", "prior_mean_diameter_mm", "prior_volume_mm3", "change_percent",
    "change_percent_low", "change_percent_high", "doubling_days", "doubling_days_low", "doubling_days_high", "trend",
    "guideline", "category", "score", "right_share_in_tests", "image",
)  # fmt: skip


def _lines(view: ReportView, language: str) -> Iterator[tuple[object, ...]]:
    word = words(language)
    for row in view.findings:
        lobe, kind = (word(text.replace("_", "-")) if text else "" for text in (row.lobe, row.kind))
        yield (
            row.id, lobe, kind, _tenths(row.mean_diameter_mm), _tenths(row.long_axis_mm), _tenths(row.short_axis_mm),
            _tenths(row.solid_part_mm), round(row.volume_mm3), _whole(row.mean_hu), _tenths(row.pleura_distance_mm),
            *_prior(row, word("new")), view.guideline.title if view.guideline else "", row.category or "",
            f"{row.score:.3f}", "" if row.right_share is None else f"{row.right_share:.2f}", row.image_number,
        )  # fmt: skip


def _prior(row: FindingRow, new: str) -> tuple[object, ...]:
    """Nine cells; what is not known is empty, never 0."""
    then = row.prior
    if then is None:
        return ("",) * 9
    low, high = then.change_percent_interval or (None, None)
    first, last = then.doubling_days_interval or (None, None)
    return (
        _tenths(then.mean_diameter_mm), _whole(then.volume_mm3), _tenths(then.change_percent), _tenths(low),
        _tenths(high), _whole(then.doubling_days), _whole(first), _whole(last),
        new if then.state == "new" else then.trend or "",
    )  # fmt: skip


def _tenths(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
