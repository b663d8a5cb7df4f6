"""The report of a study as the encode step left it: report.json, key images as PNG, report.pdf."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.report_view import ReportView
from pipeline.store import StudyRecord

_IMAGE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,80}\.png", re.ASCII)


@dataclass(frozen=True)
class ReportFiles:
    """One stored report and the folder of its files."""

    folder: Path
    revision: int
    view: ReportView

    @property
    def pdf(self) -> Path | None:
        path = self.folder / "report.pdf"
        return path if path.is_file() else None

    def image(self, name: str) -> Path | None:
        """The file of a key image; only names that the report itself has are looked for."""
        if _IMAGE_NAME.fullmatch(name) is None or all(image.name != name for image in self.view.key_images):
            return None
        path = self.folder / name
        return path if path.is_file() else None


def find_report(results_root: Path, study: StudyRecord, revision: int | None = None) -> ReportFiles | None:
    """The report of `revision`, or the latest there is; an earlier one stands until the next is made."""
    wanted = [revision] if revision is not None else range(study.revision, 0, -1)
    for number in wanted:
        folder = results_root / str(study.id) / str(number)
        try:
            record = json.loads((folder / "report.json").read_text("utf-8"))
        except FileNotFoundError:
            continue
        return ReportFiles(folder, number, ReportView.from_json(record))
    return None
