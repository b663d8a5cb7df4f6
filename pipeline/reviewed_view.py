"""A stored report with what people have said of it since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.guidelines.of_findings import GuidelineNote, GuidelineRead
from pipeline.guidelines.registry import GUIDELINES
from pipeline.report_view import ReportView
from pipeline.reviews import ReviewItem
from study.review import Review, VerdictKind


def with_review(view: ReportView, items: Sequence[ReviewItem], review: Review) -> ReportView:
    """The report as it is after the review. Reports of older releases do not know the UIDs of their rows."""
    uids = {item.number: item.finding_uid for item in items}
    findings = tuple(replace(row, tracking_uid=uids.get(row.id, row.tracking_uid)) for row in view.findings)
    statements = tuple(
        replace(row, tracking_uid=uids.get(row.number, row.tracking_uid)) for row in view.statements
    )
    guideline = view.guideline and _still_holds(view.guideline, uids, review)
    return replace(view, review=review, findings=findings, statements=statements, guideline=guideline)


_CHANGED = (
    "The reader changed this finding: the category that the model's values gave no longer holds.",
    "阅片者已修改该所见：按模型测量值得出的分类不再适用。",
)
_REJECTED = ("The reader rejected this finding: it has no category.", "阅片者已否定该所见：无分类。")
_OTHERS = (
    "The reader rejected or added findings: a category that depends on their number has to be given anew.",
    "阅片者已否定或新增所见：与结节数目有关的分类须重新判定。",
)


def _still_holds(read: GuidelineRead, uids: Mapping[int, str], review: Review) -> GuidelineRead:
    """Without the categories that rest on what the reader has changed; a rule is never applied to half of the inputs.

    The worst category is given only where each finding that stands has kept its own.
    """
    if not review.changes_findings:
        return read
    verdicts = {note.finding_id: review.of(uids.get(note.finding_id, "")) for note in read.notes}
    kinds = {number: verdict.kind for number, verdict in verdicts.items() if verdict is not None}
    is_counted_anew = bool(review.missed) or VerdictKind.REJECT in kinds.values()
    notes = tuple(_note(note, kinds.get(note.finding_id), is_counted_anew) for note in read.notes)
    stand = [note for note in notes if kinds.get(note.finding_id) is not VerdictKind.REJECT]
    keeps_all = not review.missed and all(note.category == before for note, before in _pairs(stand, read))
    return replace(read, notes=notes, worst=_worst(read.title, stand) if keeps_all else None)


def _note(note: GuidelineNote, kind: VerdictKind | None, is_counted_anew: bool) -> GuidelineNote:
    if kind is VerdictKind.REJECT:
        return replace(note, category=None, en=_REJECTED[0], zh=_REJECTED[1])
    if kind is VerdictKind.EDIT:
        return replace(note, category=None, en=_CHANGED[0], zh=_CHANGED[1])
    if is_counted_anew:
        return replace(note, en=f"{note.en} {_OTHERS[0]}", zh=f"{note.zh}{_OTHERS[1]}")
    return note


def _pairs(notes: Sequence[GuidelineNote], read: GuidelineRead) -> Iterator[tuple[GuidelineNote, str | None]]:
    return ((note, read.category_of(note.finding_id)) for note in notes)


def _worst(title: str, notes: Sequence[GuidelineNote]) -> str | None:
    guideline = next((one for one in GUIDELINES.values() if one.title == title), None)
    given = [note.category for note in notes if note.category is not None]
    return max(given, key=guideline.categories.index) if guideline is not None and given else None
