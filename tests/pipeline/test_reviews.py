"""Verdicts on a real database: who said what is kept, the last word counts, and nothing is lost between two readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipeline import reviews
from pipeline.audit import find_problems
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
from study.nodule import NoduleKind
from study.review import ReviewState, Verdict, VerdictKind
from tests.pipeline.conftest import ALPHA, BETA, Clinic
from tests.pipeline.review_desk import AT, Desk
from tests.review_seed import seed_result


@pytest.fixture
def desk(clinic: Clinic, tmp_path: Path) -> Desk:
    return Desk(clinic, seed_result(clinic.owner, tmp_path, ALPHA), tmp_path)


def test_the_last_word_that_was_not_taken_back_counts(desk: Desk) -> None:
    first, second = desk.seeded.uids
    desk.say(1, "accept")
    desk.say(1, "reject", note="vessel")
    desk.say(2, "edit", size_mm=8.5, nodule_kind=NoduleKind.SOLID)
    said = desk.books().review
    assert {one.finding_uid: one.kind.value for one in said.verdicts} == {first: "reject", second: "edit"}
    assert said.state is ReviewState.IN_REVIEW
    kinds = [desk.take_back(first).review.of(first)]
    kinds.append(desk.take_back(first).review.of(first))
    assert [one and one.kind.value for one in kinds] == ["accept", None]
    with pytest.raises(NothingToTakeBack):
        desk.take_back(first)
    events = [row["detail"]["verdict"] for row in _audited(desk.clinic)]
    assert events == ["accept", "reject", "edit", "undo", "undo"]


def _audited(clinic: Clinic) -> list[dict[str, Any]]:
    return clinic.rows("SELECT detail FROM audit_event WHERE action = 'verdict_given' ORDER BY sequence")


def test_rows_are_appended_and_never_changed_not_by_the_owner_either(desk: Desk) -> None:
    desk.say(1, "accept")
    for change in ("UPDATE verdict SET kind = 'reject'", "DELETE FROM verdict", "TRUNCATE verdict"):
        with pytest.raises(psycopg.Error):
            desk.clinic.owner.execute(change)
    assert find_problems(desk.clinic.owner) == []


def test_another_hospital_sees_nothing_of_it(desk: Desk) -> None:
    desk.say(1, "accept")
    with desk.clinic.database.transaction(BETA) as conn:
        assert conn.execute("SELECT count(*) AS n FROM verdict").fetchone() == {"n": 0}


def test_who_speaks_second_learns_what_the_first_said_and_nothing_is_lost(desk: Desk) -> None:
    seen = desk.books().version
    desk.say(1, "accept", by="dr li", seen=seen)
    desk.say(2, "accept", by="dr chen", seen=seen)  # of another finding: no conflict
    with pytest.raises(SaidMeanwhile):
        desk.say(1, "reject", by="dr chen", seen=seen)
    desk.say(1, "reject", by="dr chen")  # having seen it
    rows = desk.clinic.rows("SELECT said_by, kind FROM verdict ORDER BY id")
    assert [(row["said_by"], row["kind"]) for row in rows] == [
        ("dr li", "accept"), ("dr chen", "accept"), ("dr chen", "reject"),
    ]  # fmt: skip


def test_a_form_sent_twice_speaks_once(desk: Desk) -> None:
    for _ in range(2):
        desk.say(1, "accept", seen=0)
        desk.miss()
    assert len(desk.clinic.rows("SELECT 1 FROM verdict")) == 2


def test_what_cannot_be_said_is_refused(desk: Desk) -> None:
    with pytest.raises(FindingUnknown):
        desk.with_result(
            lambda conn, result: reviews.say(
                conn, result, Verdict("1.2.9", VerdictKind.ACCEPT, "dr chen", AT), seen=0
            )
        )
    with pytest.raises(PlaceUnknown):
        desk.miss("1.2.3")  # no UID of ours
    with pytest.raises(PlaceUnknown):
        desk.miss(desk.seeded.uids[0] if desk.seeded.uids[0].startswith("2.25.") else "2.25.0")
    desk.miss()
    with pytest.raises(VerdictUnfit):
        desk.with_result(
            lambda conn, result: reviews.say_complete(
                conn, result, by="dr chen", at=AT, seen=result.books.version
            )
        )


def test_a_verdict_on_a_superseded_result_is_refused(desk: Desk) -> None:
    seed_result(desk.clinic.owner, desk.root, ALPHA, study_id=desk.seeded.study_id, revision=2)
    with pytest.raises(ReviewSuperseded):
        desk.say(1, "accept")
    newer = desk.with_result(lambda _, result: result.newer_revision)
    assert newer == 2


def test_a_review_is_finished_when_each_finding_has_a_verdict_and_the_result_is_delivered(desk: Desk) -> None:
    desk.say(1, "accept")
    with pytest.raises(FindingsUndecided):
        desk.finish()
    desk.say(2, "unsure")
    desk.clinic.owner.execute("UPDATE study SET status = 'encoded'")
    with pytest.raises(NotDeliveredYet):
        desk.finish()
    desk.clinic.owner.execute("UPDATE study SET status = 'delivered'")
    review = desk.finish().review
    assert (review.state, review.by, review.at, review.number) == (ReviewState.REVIEWED, "dr chen", AT, 1)
    assert desk.finish().review.number == 1  # pressed twice
    assert desk.say(2, "accept").review.state is ReviewState.IN_REVIEW
    assert desk.finish().review.number == 2
