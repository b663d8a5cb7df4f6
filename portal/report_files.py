"""The report of a study as the encode step left it: report.json, key images as PNG, report.pdf."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.report_view import ReportView
from pipeline.services import Folders
from pipeline.store import StudyRecord

_IMAGE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,80}\.png", re.ASCII)


@dataclass(frozen=True)
class ReportFiles:
    """One stored report and the folder of its files. product: empty for the study's own report."""

    folder: Path
    revision: int
    view: ReportView
    product: str = ""

    @property
    def query(self) -> str:
        """What an address of one of its files ends with."""
        product = f"&product={self.product}" if self.product else ""
        return f"revision={self.revision}{product}"

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


def find_reports(folders: Folders, study: StudyRecord, revision: int | None = None) -> list[ReportFiles]:
    """The reports of `revision`, or the latest that there are; an earlier one stands until the next is made.

    The study's own comes first, those of further models after it. What ran in shadow is not for readers.
    """
    wanted = [revision] if revision is not None else range(study.revision, 0, -1)
    own = folders.results / str(study.id)
    with folders.objects.folders_at_hand(study.tenant, [own], without=".dcm"):
        return _newest(own, study, wanted)


def _newest(own: Path, study: StudyRecord, wanted: Iterable[int]) -> list[ReportFiles]:
    for number in wanted:
        folder = own / str(number)
        first = read_report(folder, number, "")
        if first is not None:
            products = [choice["product"] for choice in study.route if not choice.get("shadow")]
            further = (read_report(folder / product, number, product) for product in products)
            return [first, *(files for files in further if files is not None)]
    return []


def find_report(
    folders: Folders, study: StudyRecord, revision: int | None = None, product: str = ""
) -> ReportFiles | None:
    """One of `find_reports`; without a product the study's own."""
    reports = find_reports(folders, study, revision)
    return next((files for files in reports if files.product == product), None)


def read_report(folder: Path, revision: int, product: str) -> ReportFiles | None:
    try:
        record = json.loads((folder / "report.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    return ReportFiles(folder, revision, ReportView.from_json(record), product)
