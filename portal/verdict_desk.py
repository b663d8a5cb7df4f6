"""What the pages of a report need to show verdicts and to take them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pipeline import reviews, store
from pipeline.database import Connection
from pipeline.guidelines.inputs import Setting
from pipeline.guidelines.of_findings import setting_of
from pipeline.reissue import review_folder
from pipeline.report_view import FindingRow, ReportView, StatementRow
from pipeline.review_errors import FindingUnknown
from pipeline.reviewed_view import with_review
from pipeline.reviews import ReviewedResult, ReviewItem
from pipeline.status import StudyStatus
from portal.context import GIVES_VERDICTS, Identity
from portal.report_files import ReportFiles, read_report
from study.nodule import NoduleKind
from study.review import Review, ReviewState, Verdict

KINDS = tuple(NoduleKind)
# kind of a verdict → (word, icon, tone)
VERDICT_LOOK = {
    "accept": ("accepted", "check", "good"),
    "edit": ("changed", "check", "good"),
    "reject": ("rejected", "cross", "bad"),
    "unsure": ("unsure", "clock", "warning"),
    "missed": ("added", "check", "progress"),
}


@dataclass(frozen=True)
class VerdictDesk:
    """One result with what was said of it. product: empty for the study's own report, as in its address.

    may: whether this person gives verdicts. setting: why the tenant's examinations are made.
    """

    result: ReviewedResult
    product: str
    may: bool
    setting: Setting | None = None

    @property
    def review(self) -> Review:
        return self.result.books.review

    @property
    def seen(self) -> int:
        return self.result.books.version

    @property
    def is_reviewed(self) -> bool:
        return self.review.state is ReviewState.REVIEWED

    @property
    def is_delivered(self) -> bool:
        return self.result.study.status is StudyStatus.DELIVERED

    @property
    def positive_count(self) -> int:
        return sum(one.is_positive for one in self.result.items)

    @property
    def base(self) -> str:
        return f"/studies/{self.result.study.id}"

    @property
    def query(self) -> str:
        return urlencode({"revision": self.result.key.revision, "product": self.product})

    @property
    def page_address(self) -> str:
        """The report that is spoken of."""
        return f"{self.base}?{urlencode({'product': self.product})}" if self.product else self.base

    def item_of(self, row: FindingRow | StatementRow) -> ReviewItem | None:
        """What a row of the report speaks about; None where the books know nothing of it."""
        number = row.id if isinstance(row, FindingRow) else row.number
        return next((one for one in self.result.items if one.number == number), None)

    def said(self, item: ReviewItem | None) -> Verdict | None:
        return self.review.of(item.finding_uid) if item is not None else None


def desk_of(
    conn: Connection, identity: Identity, study_id: object, files: ReportFiles | None
) -> VerdictDesk | None:
    """The verdicts on a stored report; None for a report that is no result of a model."""
    if files is None:
        return None
    try:
        result = reviews.open_result(conn, identity.tenant, str(study_id), files.revision, files.product)
    except FindingUnknown:
        return None
    setting = setting_of(store.get_tenant(conn, identity.tenant))
    may = identity.may(GIVES_VERDICTS) and identity.role is not None
    return VerdictDesk(result, files.product, may, setting)


def reviewed_view(view: ReportView, desk: VerdictDesk | None) -> ReportView:
    """The stored report with what was said of it since."""
    if desk is None:
        return view
    return with_review(view, desk.result.items, desk.review, desk.setting)


def as_last_reviewed(
    conn: Connection, tenant: str, study_id: object, results_root: Path, files: ReportFiles
) -> ReportFiles:
    """The report of the last finished review with its PDF; as the model made it where none was finished."""
    try:
        result = reviews.open_result(conn, tenant, str(study_id), files.revision, files.product)
    except FindingUnknown:
        return files
    folder = review_folder(
        results_root, study_id, files.revision, result.key.product, result.books.review.number
    )
    return read_report(folder, files.revision, files.product) or files


def page_values(desk: VerdictDesk | None) -> dict[str, Any]:
    """What `report_verdict.html` and `review_bar.html` need."""
    return {"verdicts": desk, "VERDICT_LOOK": VERDICT_LOOK, "NODULE_KINDS": KINDS, "swaps": False}


def token_of(items: tuple[ReviewItem, ...], token: str) -> str:
    """The tracking UID that a form means: by the number in the report, or that of a finding that was added itself."""
    if "." in token:
        return token[:64]
    found = next((one for one in items if str(one.number) == token), None)
    if found is None:
        raise FindingUnknown(FindingUnknown.__doc__)
    return found.finding_uid
