"""A review that exists is one that could be: verdicts have what their kind needs, and the last word counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from study.errors import InvalidReview
from study.nodule import NoduleKind
from study.review import Review, ReviewState, Verdict, VerdictKind

AT = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
PLACE = ("1.2.3", 10.0, 20.5)


def verdict(kind: str, uid: str | None = "2.25.1", **values: Any) -> Verdict:
    return Verdict(uid, VerdictKind(kind), "dr chen", values.pop("at", AT), **values)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("accept", {"uid": None}),
        ("accept", {"place": PLACE}),
        ("missed", {}),
        ("missed", {"place": ("1.2.3", -1.0, 0.0)}),
        ("missed", {"place": ("1.2.3", float("nan"), 0.0)}),
        ("edit", {}),
        ("edit", {"size_mm": 0.0}),
        ("edit", {"size_mm": float("nan")}),
        ("edit", {"size_mm": 1001.0}),
        ("reject", {"note": "x" * 2001}),
        ("accept", {"at": datetime(2026, 11, 26)}),  # noqa: DTZ001
    ],
)
def test_a_verdict_that_could_not_be_is_none(kind: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidReview):
        verdict(kind, **values)


def test_kinds_are_read_from_the_text_of_a_stored_record() -> None:
    edited = verdict("edit", nodule_kind="part_solid")
    assert edited.kind is VerdictKind.EDIT
    assert edited.nodule_kind is NoduleKind.PART_SOLID


def test_the_last_word_on_a_finding_counts_and_missed_ones_stand_apart() -> None:
    missed = verdict("missed", "2.25.9", place=PLACE)
    review = Review(ReviewState.IN_REVIEW, verdicts=(verdict("accept"), missed, verdict("reject")))
    said = review.of("2.25.1")
    assert said is not None
    assert said.kind is VerdictKind.REJECT
    assert review.of("2.25.2") is None
    assert review.missed == (missed,)


def test_a_finished_review_names_who_finished_it() -> None:
    with pytest.raises(InvalidReview):
        Review(ReviewState.REVIEWED)
