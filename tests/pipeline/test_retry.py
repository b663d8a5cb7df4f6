"""Which errors are tried again, and for how long."""

from __future__ import annotations

import psycopg
import pytest

from pipeline import retry
from pipeline.errors import CommitmentNotReported, StudyFailed

PASSING = (OSError(28, "no space"), MemoryError(), psycopg.OperationalError("gone"))


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_what_may_pass_by_itself_is_tried_again_and_then_given_up(error: Exception) -> None:
    delays = [retry.decide(error, attempts) for attempts in range(retry.ATTEMPTS_MAX + 2)]
    assert [one.delay_s for one in delays if one] == [2, 4, 8, 16, 32, 60]
    assert delays[retry.ATTEMPTS_MAX :] == [None, None]


def test_a_pause_doubles_up_to_the_longest() -> None:
    pauses = [retry.back_off_s(attempts, 2, 600) for attempts in (0, 1, 2, 8, 9, 10_000)]
    assert pauses == [2, 4, 8, 512, 600, 600]


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), StudyFailed("CODE", "text"), AssertionError()]
)
def test_our_own_mistakes_are_not_tried_again(error: Exception) -> None:
    assert retry.decide(error, 0) is None


def test_a_peer_is_offered_its_report_of_commitment_for_three_days() -> None:
    delays = []
    while (decision := retry.decide(CommitmentNotReported("no answer"), len(delays))) is not None:
        delays.append(decision.delay_s)
    assert delays[-1] == 600
    assert 2.5 * 86_400 < sum(delays) < 4 * 86_400
