"""What a review leaves of a guideline's categories: never one that rests on values the reader has changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.guidelines.of_findings import GuidelineNote, GuidelineRead
from pipeline.guidelines.registry import GUIDELINES
from pipeline.report_view import ReportView
from pipeline.reviewed_view import with_review
from pipeline.reviews import ReviewItem
from study.review import Review, ReviewState, Verdict, VerdictKind
from tests.report_builders import report

AT = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
TITLE = GUIDELINES["lung_rads_2022"].title


@pytest.fixture
def view() -> ReportView:
    categories = next(one for one in GUIDELINES.values() if one.title == TITLE).categories
    least, most = categories[0], categories[-1]
    notes = (GuidelineNote(1, most, "rule of 1", "规则一"), GuidelineNote(2, least, "rule of 2", "规则二"))
    return replace(report(), guideline=GuidelineRead(TITLE, "source", most, notes))


def reviewed(view: ReportView, *verdicts: tuple[str, VerdictKind, dict[str, Any]]) -> GuidelineRead:
    items = [ReviewItem(f"2.25.{number}", number, "nodule", is_positive=True) for number in (1, 2)]
    said = tuple(Verdict(uid, kind, "dr chen", AT, **values) for uid, kind, values in verdicts)
    after = with_review(view, items, Review(ReviewState.REVIEWED, "dr chen", AT, said, 1))
    assert after.guideline is not None
    return after.guideline


def test_what_the_reader_accepts_keeps_its_category(view: ReportView) -> None:
    said = [("2.25.1", VerdictKind.ACCEPT, {}), ("2.25.2", VerdictKind.UNSURE, {})]
    assert reviewed(view, *said) == view.guideline


def test_a_changed_finding_has_no_category_and_the_result_no_worst_one(view: ReportView) -> None:
    read = reviewed(view, ("2.25.2", VerdictKind.EDIT, {"size_mm": 31.0}))
    assert view.guideline is not None
    assert (read.category_of(1), read.category_of(2), read.worst) == (view.guideline.worst, None, None)
    changed = read.note_of(2)
    assert changed is not None
    assert "no longer holds" in changed.en
    assert "不再适用" in changed.zh


def test_without_a_rejected_finding_the_worst_of_the_others_stands_with_a_word_about_their_number(
    view: ReportView,
) -> None:
    read = reviewed(view, ("2.25.1", VerdictKind.REJECT, {}))
    assert view.guideline is not None
    assert (read.category_of(1), read.worst) == (None, view.guideline.category_of(2))
    other = read.note_of(2)
    assert other is not None
    assert other.en.startswith("rule of 2")
    assert "given anew" in other.en


def test_an_added_finding_may_be_worse_than_all_others(view: ReportView) -> None:
    place = ("1.2.3", 10.0, 20.0)
    read = reviewed(view, ("2.25.9", VerdictKind.MISSED, {"place": place, "size_mm": 40.0}))
    assert view.guideline is not None
    assert (read.category_of(1), read.worst) == (view.guideline.category_of(1), None)
