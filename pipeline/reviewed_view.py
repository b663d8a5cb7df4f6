"""A stored report with what people have said of it since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.report_view import Decision, ReportView, Verdict
from pipeline.report_view import Review as ReportReview
from pipeline.reviews import ReviewItem
from study.review import Review, ReviewState, VerdictKind

_SHOWN_AS = {
    VerdictKind.ACCEPT: Verdict.ACCEPTED,
    VerdictKind.EDIT: Verdict.ACCEPTED,
    VerdictKind.REJECT: Verdict.REJECTED,
    VerdictKind.UNSURE: Verdict.UNSURE,
}


def with_review(view: ReportView, items: Sequence[ReviewItem], review: Review) -> ReportView:
    """The report as it is after the review."""
    decisions = tuple(
        Decision(item.number, _SHOWN_AS[said.kind], said.by, f"{said.at:%Y-%m-%d %H:%M %Z}")
        for item in items
        if (said := review.of(item.finding_uid)) is not None
    )
    state = {
        ReviewState.REVIEWED: ReportReview.REVIEWED,
        ReviewState.SUPERSEDED: ReportReview.SUPERSEDED,
    }.get(review.state, ReportReview.NOT_REVIEWED)
    return replace(view, review=state, decisions=decisions)
