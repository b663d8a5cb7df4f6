"""A stored report with what people have said of it since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.report_view import ReportView
from pipeline.reviews import ReviewItem
from study.review import Review


def with_review(view: ReportView, items: Sequence[ReviewItem], review: Review) -> ReportView:
    """The report as it is after the review. Reports of older releases do not know the UIDs of their rows."""
    uids = {item.number: item.finding_uid for item in items}
    findings = tuple(replace(row, tracking_uid=uids.get(row.id, row.tracking_uid)) for row in view.findings)
    statements = tuple(
        replace(row, tracking_uid=uids.get(row.number, row.tracking_uid)) for row in view.statements
    )
    return replace(view, review=review, findings=findings, statements=statements)
