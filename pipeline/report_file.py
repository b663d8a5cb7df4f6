"""A report as files in the folder of a result: report.json, its key images as PNG, report.pdf."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.report_view import ReportView
from pipeline.study_file import write_durably


def save_report(folder: Path, view: ReportView, pdf: bytes) -> None:
    """Write the report. report.json comes last: where it lies, the rest lies too."""
    for image in view.key_images:
        write_durably(folder / image.name, image.png)
    write_durably(folder / "report.pdf", pdf)
    write_durably(folder / "report.json", json.dumps(view.as_json(), ensure_ascii=False).encode())


def load_report(folder: Path) -> ReportView:
    """The report with its pictures. Raises FileNotFoundError where there is none."""
    record = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    images = {image["name"]: (folder / image["name"]).read_bytes() for image in record["key_images"]}
    return ReportView.from_json(record, images)
