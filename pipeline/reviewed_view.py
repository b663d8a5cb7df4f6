"""A stored report with what people have said of it since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.guidelines.inputs import Setting
from pipeline.guidelines.of_reviewed import read_anew
from pipeline.report_view import ReportView
from pipeline.reviews import ReviewItem
from study.review import Review


def with_review(
    view: ReportView, items: Sequence[ReviewItem], review: Review, setting: Setting | None
) -> ReportView:
    """The report as it is after the review. Reports of older releases do not know the UIDs of their rows.

    setting: why the tenant's examinations are made; a guideline is applied anew where the review changes findings.
    """
    uids = {item.number: item.finding_uid for item in items}
    findings = tuple(replace(row, tracking_uid=uids.get(row.id, row.tracking_uid)) for row in view.findings)
    statements = tuple(
        replace(row, tracking_uid=uids.get(row.number, row.tracking_uid)) for row in view.statements
    )
    view = replace(view, review=review, findings=findings, statements=statements)
    if view.guideline is None or not review.changes_findings:
        return view
    read = read_anew(view.guideline, view, review, setting)
    findings = tuple(replace(row, category=read.category_of(row.id)) for row in findings)
    return replace(view, findings=findings, guideline=read)
