"""What a page needs that shows a report: its words, its pictures, where its slices open, its other languages."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from pipeline.report import report_values
from pipeline.report_view import ReportView
from pipeline.store import StudyRecord
from portal.context import PortalContext
from portal.report_files import ReportFiles
from portal.viewer_link import viewer_url

LANGUAGE_NAMES = {"en": "English", "zh": "中文"}


def report_on_page(
    context: PortalContext,
    study: StudyRecord,
    files: ReportFiles,
    view: ReportView,
    *,
    language: str,
    own_language: str,
    page_path: str,
    newest_revision: int,
    sees_images: bool = True,
) -> dict[str, Any]:
    """The values of `report_body.html`.

    view: the report of `files`, with what was said of it since. own_language: of the reader; `language` is the one
    asked for. page_path: where this page lies. newest_revision: of the newest report there is.
    sees_images: slices open in the viewer, where one is installed.
    """
    base = f"/studies/{study.id}"
    is_old = files.revision < newest_revision

    def page_in(code: str) -> str:
        asked = {"product": files.product, "language": code if code != own_language else ""}
        asked["revision"] = str(files.revision) if is_old else ""
        query = urlencode({key: value for key, value in asked.items() if value})
        return f"{page_path}?{query}" if query else page_path

    said = f"&language={language}" if language != own_language else ""
    return report_values(
        view.superseded() if is_old else view,
        language,
        lambda name: f"{base}/images/{name}?{files.query}",
        slice_href=lambda series, instance: (
            viewer_url(context, study.study_instance_uid, series, instance) if sees_images else None
        ),
        csv_href=f"{base}/findings.csv?{files.query}{said}",
        newer_href=f"{page_path}?product={files.product}" if files.product else page_path,
    ) | {
        "languages": [(code, name, page_in(code), code == language) for code, name in LANGUAGE_NAMES.items()],
        "pdf_href": f"{base}/report.pdf?{files.query}{said}",
    }
