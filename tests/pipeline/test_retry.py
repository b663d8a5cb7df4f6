"""Which errors are tried again, and for how long."""

from __future__ import annotations

import psycopg
import pytest

from pipeline import retry
from pipeline.errors import DeliveryIncomplete, PeerUnknown, StudyFailed

PASSING = (OSError(28, "no space"), MemoryError(), psycopg.OperationalError("gone"))


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_what_may_pass_by_itself_is_tried_again_and_then_given_up(error: Exception) -> None:
    delays = [retry.decide(error, attempts) for attempts in range(retry.ATTEMPTS_MAX + 2)]
    assert [one.delay_s for one in delays if one] == [2, 4, 8, 16, 32, 60]
    assert delays[retry.ATTEMPTS_MAX :] == [None, None]


@pytest.mark.parametrize(
    "error", [DeliveryIncomplete("no answer"), PeerUnknown("PACS")], ids=lambda error: type(error).__name__
)
def test_a_delivery_is_tried_for_three_days_at_most_every_ten_minutes(error: Exception) -> None:
    delays = []
    while (decision := retry.decide(error, len(delays))) is not None:
        delays.append(decision.delay_s)
    assert delays == sorted(delays)
    assert delays[-1] == 600
    assert 2.5 * 86_400 < sum(delays) < 4 * 86_400


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), StudyFailed("CODE", "text"), AssertionError()]
)
def test_our_own_mistakes_are_not_tried_again(error: Exception) -> None:
    assert retry.decide(error, 0) is None
