"""When a study is complete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_gateway.assemble import ArrivalState, is_complete

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def state(how: str | None = "released", count: int = 12) -> ArrivalState:
    return ArrivalState(NOON, association_open=how is None, association_ended=how, instance_count=count)


@given(st.floats(-100, 100), st.floats(0, 60))
def test_a_study_is_complete_exactly_when_it_has_been_quiet_long_enough(
    silence_s: float, quiet_s: float
) -> None:
    now = NOON + timedelta(seconds=silence_s)
    completion = is_complete(state(), now, quiet_s)
    assert (completion is not None) == ((now - NOON).total_seconds() >= quiet_s)


def test_the_reason_names_count_silence_and_rule() -> None:
    completion = is_complete(state(), NOON + timedelta(seconds=10.04), 10)
    assert completion is not None
    assert completion.reason == (
        "12 instances, then 10.0 s without another (quiet time 10 s); the association was released"
    )


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (None, "still open"),
        ("lost", "lost before"),
        ("aborted", "aborted before"),
        ("released", "was released"),
    ],
)
def test_the_reason_tells_how_the_association_stands(how: str | None, words: str) -> None:
    completion = is_complete(state(how, count=1), NOON + timedelta(seconds=11), 10)
    assert completion is not None
    assert words in completion.reason
    assert completion.reason.startswith("1 instance,")


def test_a_clock_that_goes_backwards_only_waits() -> None:
    assert is_complete(state(), NOON - timedelta(hours=1), 10) is None


def test_times_without_a_zone_and_empty_arrivals_are_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        ArrivalState(datetime(2026, 3, 1), False, "released", 1)  # noqa: DTZ001
    with pytest.raises(ValueError, match="at least one"):
        state(count=0)
