"""What a review makes of a guideline's categories: applied anew to what the reader left, never to what was changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.guidelines.inputs import Setting
from pipeline.guidelines.of_findings import GuidelineNote, GuidelineRead
from pipeline.guidelines.registry import GUIDELINES
from pipeline.report_prior import PriorRow
from pipeline.report_view import FindingRow, ReportView
from pipeline.reviewed_view import with_review
from pipeline.reviews import ReviewItem
from study.nodule import NoduleKind
from study.review import Review, ReviewState, Verdict, VerdictKind
from tests.report_builders import report

AT = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
TITLE = GUIDELINES["lung_rads_2022"].title
PLACE = ("1.2.3", 10.0, 20.0)


def row(number: int, size_mm: float, category: str, **values: Any) -> FindingRow:
    return FindingRow(
        number, "nodule", 0.9, size_mm + 1, size_mm - 1, size_mm, 4 / 3 * 3.14 * (size_mm / 2) ** 3, 10, "1.2.3",
        kind="solid", category=category, pleura_distance_mm=8.0, **values,
    )  # fmt: skip


@pytest.fixture
def view() -> ReportView:
    """Two solid nodules at baseline screening: 9 mm is 4A, 5 mm is 2 (Lung-RADS v2022, solid nodules)."""
    notes = (GuidelineNote(1, "4A", "rule of 1", "规则一"), GuidelineNote(2, "2", "rule of 2", "规则二"))
    return replace(
        report(),
        patient_age="061Y",
        prior_study_date="",
        findings=(row(1, 9.0, "4A"), row(2, 5.0, "2")),
        guideline=GuidelineRead(TITLE, "source", "4A", notes),
    )


def reviewed(
    view: ReportView, *verdicts: tuple[str, str, dict[str, Any]]
) -> tuple[GuidelineRead, ReportView]:
    items = [ReviewItem(f"2.25.{number}", number, "nodule", is_positive=True) for number in (1, 2)]
    said = tuple(Verdict(uid, VerdictKind(kind), "dr chen", AT, **values) for uid, kind, values in verdicts)
    review = Review(ReviewState.REVIEWED, "dr chen", AT, said, 1)
    after = with_review(view, items, review, Setting.SCREENING)
    assert after.guideline is not None
    return after.guideline, after


def test_what_the_reader_accepts_keeps_its_category(view: ReportView) -> None:
    assert reviewed(view, ("2.25.1", "accept", {}), ("2.25.2", "unsure", {}))[0] == view.guideline


def test_a_changed_size_gets_the_category_of_that_size_in_note_row_and_worst(view: ReportView) -> None:
    read, after = reviewed(view, ("2.25.2", "edit", {"size_mm": 16.0}))
    assert (read.category_of(1), read.category_of(2), read.worst) == ("4A", "4B", "4B")
    assert [one.category for one in after.findings] == ["4A", "4B"]
    changed = read.note_of(2)
    assert changed is not None
    assert changed.en.startswith("By the reader's values: ")
    assert changed.zh.startswith("按阅片者给出的数值：")


def test_a_type_whose_further_measure_the_reader_did_not_give_has_no_category_and_says_what_is_missing(
    view: ReportView,
) -> None:
    read, after = reviewed(view, ("2.25.1", "edit", {"nodule_kind": NoduleKind.PART_SOLID}))
    changed = read.note_of(1)
    assert changed is not None
    assert changed.category is None
    assert "the size of its solid part" in changed.en
    assert (after.findings[0].category, read.worst) == (None, "2")


def test_a_rejected_finding_has_no_category_anywhere_and_the_worst_of_the_others_stands(
    view: ReportView,
) -> None:
    read, after = reviewed(view, ("2.25.1", "reject", {}))
    assert (read.category_of(1), read.worst) == (None, "2")
    assert [one.category for one in after.findings] == [None, "2"]
    assert read.note_of(1) is not None
    assert "rejected" in read.notes[0].en


def test_an_added_finding_counts_and_one_that_cannot_be_judged_leaves_no_worst(view: ReportView) -> None:
    measured = {"place": PLACE, "size_mm": 20.0, "nodule_kind": NoduleKind.SOLID}
    assert reviewed(view, ("2.25.9", "missed", measured))[0].worst == "4B"
    assert reviewed(view, ("2.25.9", "missed", {"place": PLACE}))[0].worst is None
    # Where a prior was at hand nobody looked there for what was added: new, growing or stable are not the same.
    with_prior = replace(view, prior_study_date="20250601")
    assert reviewed(with_prior, ("2.25.9", "missed", {**measured, "size_mm": 10.0}))[0].worst is None


def test_growth_is_told_from_the_readers_size_and_the_prior(view: ReportView) -> None:
    stable = row(1, 9.0, "2", prior=PriorRow("matched", 9.0))
    with_prior = replace(
        view, study_date="20260601", prior_study_date="20251201", findings=(stable, view.findings[1])
    )
    read, _ = reviewed(with_prior, ("2.25.1", "edit", {"size_mm": 12.0}))
    assert read.category_of(1) == "4B", "a solid nodule of 8 mm and more that grows"


def test_a_guideline_that_is_no_longer_applied_here_is_left_to_the_reader(view: ReportView) -> None:
    assert view.guideline is not None
    read, after = reviewed(
        replace(view, guideline=replace(view.guideline, title="Another")), ("2.25.1", "reject", {})
    )
    assert read.worst is None
    assert [note.category for note in read.notes] == [one.category for one in after.findings] == [None, None]
