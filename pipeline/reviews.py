"""Reviewing: a person says something of a result, takes it back, and finishes. Each in the caller's transaction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import procrastinate

from pipeline import audit, review_outcome, store, verdict_store
from pipeline.audit import AuditEvent
from pipeline.database import Connection
from pipeline.queue import defer_health_round, defer_reissue
from pipeline.review_errors import (
    FindingsUndecided,
    FindingUnknown,
    NotDeliveredYet,
    NothingToTakeBack,
    PlaceUnknown,
    ReviewSuperseded,
    SaidMeanwhile,
    VerdictUnfit,
)
from pipeline.status import StudyStatus
from pipeline.store import Row, StudyRecord
from pipeline.verdict_store import Books, ResultKey
from study.review import ReviewState, Verdict, VerdictKind

_NEW_UID = re.compile(r"2\.25\.[1-9][0-9]{0,38}", re.ASCII)
MISSED_MAX = 100
"""Findings that one review can add."""


@dataclass(frozen=True)
class ReviewItem:
    """One finding or statement of the model that a verdict can be about.

    number: as the report shows it. size_mm, nodule_kind: None of a statement about a whole image.
    """

    finding_uid: str
    number: int
    label: str
    is_positive: bool
    size_mm: float | None = None
    nodule_kind: str | None = None


@dataclass(frozen=True)
class ReviewedResult:
    """A result with what people have said of it. series_instance_uid: of the series that the model read."""

    study: StudyRecord
    key: ResultKey
    row: Row
    items: tuple[ReviewItem, ...]
    books: Books
    newer_revision: int | None = None

    @property
    def series_instance_uid(self) -> str:
        """Empty where the route does not tell any more."""
        chosen = (one for one in self.study.route if one.get("product") == self.key.product)
        return str(next(chosen, {}).get("series_instance_uid", ""))

    @property
    def labels(self) -> tuple[str, ...]:
        """What a missed finding can be: what the model looks for."""
        statements = tuple(one.label for one in self.items if one.size_mm is None)
        return statements or ("nodule",)

    @property
    def is_of_whole_image(self) -> bool:
        """Whether the model makes statements about one image and measures nothing."""
        return bool(self.row["statements"])

    def item(self, finding_uid: str) -> ReviewItem:
        """Raises `FindingUnknown`."""
        found = next((one for one in self.items if one.finding_uid == finding_uid), None)
        if found is None:
            raise FindingUnknown(FindingUnknown.__doc__)
        return found

    @property
    def undecided(self) -> tuple[ReviewItem, ...]:
        """Findings without a verdict; a statement that is negative needs none."""
        return tuple(
            one for one in self.items if one.is_positive and one.finding_uid not in self.books.counting
        )


def open_result(
    conn: Connection, tenant: str, study_id: UUID | str, revision: int, product: str, *, lock: bool = False
) -> ReviewedResult:
    """The result with its verdicts. product: empty for the one whose report is the study's.

    lock: nobody else speaks of the study until the transaction ends. Raises `StudyNotFound`, `FindingUnknown`.
    """
    study = (store.lock_study if lock else store.get_study)(conn, tenant, study_id)
    results = _results(conn, study)
    wanted = product or _own_product(study, results, revision)
    row = next((one for one in results if (one["product"], one["revision"]) == (wanted, revision)), None)
    if row is None:
        raise FindingUnknown("The study has no such result.")
    newest = max(one["revision"] for one in results if one["product"] == wanted)
    key = ResultKey(tenant, study.id, revision, wanted)
    is_superseded = newest > revision
    books = verdict_store.read(conn, key, is_superseded=is_superseded)
    return ReviewedResult(study, key, row, _items(row), books, newest if is_superseded else None)


def _results(conn: Connection, study: StudyRecord) -> list[Row]:
    return conn.execute(
        """SELECT product, revision, model_name, model_version, findings, answer->'classifications' AS statements
           FROM result WHERE tenant = %s AND study_id = %s AND NOT is_shadow ORDER BY revision, product""",
        (study.tenant, study.id),
    ).fetchall()


def _own_product(study: StudyRecord, results: list[Row], revision: int) -> str:
    """The study's own report is that of the first model of the route that ran in this revision."""
    ran = [one["product"] for one in results if one["revision"] == revision]
    routed = [choice["product"] for choice in study.route if choice.get("product") in ran]
    return str((routed or ran or [""])[0])


def _items(row: Row) -> tuple[ReviewItem, ...]:
    findings = [
        ReviewItem(
            one["tracking_uid"], one["id"], one["label"], True, one["mean_diameter_mm"],
            (one.get("nodule") or {}).get("kind"),
        )
        for one in row["findings"]
    ]  # fmt: skip
    statements = [
        ReviewItem(one["tracking_uid"], number, one["label"], bool(one["is_positive"]))
        for number, one in enumerate(row["statements"] or [], start=1)
    ]
    return (*findings, *statements)


def say(conn: Connection, result: ReviewedResult, verdict: Verdict, *, seen: int) -> Books:
    """Take a verdict on a locked result. seen: `Books.version` of what the speaker saw.

    The same again changes nothing. Raises `ReviewSuperseded`, `FindingUnknown`, `VerdictUnfit`, `SaidMeanwhile`.
    """
    _require_newest(result)
    finding_uid = str(verdict.finding_uid)
    if verdict.kind is VerdictKind.MISSED:
        _require_missed(result, finding_uid, verdict)
    elif verdict.kind is VerdictKind.EDIT and result.item(finding_uid).size_mm is None:
        raise VerdictUnfit("A statement about a whole image has no size and no type.")
    else:
        result.item(finding_uid)
    counting = result.books.counting.get(finding_uid)
    if counting is not None and _says_the_same(counting, verdict):
        return result.books
    _require_seen(result, finding_uid, verdict.by, seen)
    verdict_store.say(conn, result.key, verdict)
    item = next((one for one in result.items if one.finding_uid == finding_uid), None)
    _audit(conn, result, verdict.by, verdict.kind, item)
    return verdict_store.read(conn, result.key)


def say_complete(conn: Connection, result: ReviewedResult, *, by: str, at: datetime, seen: int) -> Books:
    """Take it that the whole study shows no further finding. Raises as `say` does."""
    _require_newest(result)
    if result.books.completed is not None:
        return result.books
    others = [row for row in result.books.counting.values() if row["kind"] == VerdictKind.MISSED]
    if any(row["id"] > seen and row["said_by"] != by for row in others):
        raise SaidMeanwhile(SaidMeanwhile.__doc__)
    if others:
        raise VerdictUnfit("A finding was added: take it back first, or leave it standing.")
    verdict_store.say_complete(conn, result.key, by=by, at=at)
    _audit(conn, result, by, verdict_store.COMPLETE)
    return verdict_store.read(conn, result.key)


def take_back(
    conn: Connection, result: ReviewedResult, finding_uid: str, *, by: str, at: datetime, seen: int
) -> Books:
    """Take back what counts for the finding, or with an empty UID that nothing was missed.

    Raises `ReviewSuperseded`, `NothingToTakeBack`, `SaidMeanwhile`.
    """
    _require_newest(result)
    row = result.books.counting.get(finding_uid) if finding_uid else result.books.completed
    if row is None:
        raise NothingToTakeBack(NothingToTakeBack.__doc__)
    _require_seen(result, finding_uid, by, seen)
    verdict_store.undo(conn, result.key, row["id"], by=by, at=at)
    item = next((one for one in result.items if one.finding_uid == finding_uid), None)
    _audit(conn, result, by, verdict_store.UNDO, item)
    return verdict_store.read(conn, result.key)


def finish(
    queue: procrastinate.App,
    conn: Connection,
    result: ReviewedResult,
    *,
    by: str,
    at: datetime,
    seen: int,
    party_id: str | None = None,
) -> Books:
    """Finish the review of a locked result: its re-issue, its outcome and the count of the model follow from it.

    party_id: the party that the reviewer belongs to. Pressed twice it finishes once.
    Raises `ReviewSuperseded`, `NotDeliveredYet`, `FindingsUndecided`, `SaidMeanwhile`.
    """
    _require_newest(result)
    if result.books.review.state is ReviewState.REVIEWED:
        return result.books
    if result.study.status is not StudyStatus.DELIVERED:
        raise NotDeliveredYet(NotDeliveredYet.__doc__)
    if result.undecided:
        raise FindingsUndecided(FindingsUndecided.__doc__)
    latest = max(result.books.touched.values(), key=lambda row: int(row["id"]), default=None)
    if latest is not None and latest["id"] > seen and latest["said_by"] != by:
        raise SaidMeanwhile(SaidMeanwhile.__doc__)
    number = result.books.review.number + 1
    verdict_store.finish(conn, result.key, number, by=by, at=at)
    books = verdict_store.read(conn, result.key)
    detail: dict[str, Any] = {"by": by, "product": result.key.product, "review": number}
    detail["outcome"] = review_outcome.record(
        conn, result.study, result.key, result.items, books.review, by=party_id or f"user {by}"
    )
    store.note(conn, result.study, "review_finished", detail=detail)
    defer_reissue(queue, conn, result.study, result.key.revision, result.key.product, number)
    defer_health_round(queue, conn, at)
    audit.record(
        conn,
        result.key.tenant,
        AuditEvent.REVIEW_FINISHED,
        {"user": by, "study": str(result.study.id), "product": result.key.product, "review": number},
    )
    return books


def _require_newest(result: ReviewedResult) -> None:
    if result.newer_revision is not None:
        raise ReviewSuperseded(ReviewSuperseded.__doc__)


def _require_missed(result: ReviewedResult, finding_uid: str, verdict: Verdict) -> None:
    is_ours = any(one.finding_uid == finding_uid for one in result.items)
    if _NEW_UID.fullmatch(finding_uid) is None or is_ours:
        raise PlaceUnknown(PlaceUnknown.__doc__)
    if verdict.label not in result.labels:
        raise VerdictUnfit("Say what it is: one of the findings that the model looks for.")
    if len(result.books.review.missed) >= MISSED_MAX:
        raise VerdictUnfit(f"A review adds at most {MISSED_MAX} findings.")


def _require_seen(result: ReviewedResult, finding_uid: str, by: str, seen: int) -> None:
    touched = result.books.touched.get(finding_uid)
    if touched is not None and touched["id"] > seen and touched["said_by"] != by:
        raise SaidMeanwhile(SaidMeanwhile.__doc__)


def _says_the_same(row: Row, verdict: Verdict) -> bool:
    place = (row["sop_instance_uid"], row["column_px"], row["row_px"]) if row["sop_instance_uid"] else None
    said = (row["kind"], row["said_by"], row["note"], row["size_mm"], row["nodule_kind"], place, row["label"])
    return said == (
        verdict.kind, verdict.by, verdict.note, verdict.size_mm, verdict.nodule_kind, verdict.place, verdict.label
    )  # fmt: skip


def _audit(
    conn: Connection, result: ReviewedResult, by: str, kind: str, item: ReviewItem | None = None
) -> None:
    """Last in its transaction: the trail is locked until the commit."""
    detail = {
        "user": by,
        "study": str(result.study.id),
        "product": result.key.product,
        "verdict": str(kind),
        "finding": item.number if item is not None else None,
    }
    audit.record(conn, result.key.tenant, AuditEvent.VERDICT_GIVEN, detail)
