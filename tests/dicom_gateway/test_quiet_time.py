"""The quiet time that is learned from a sender's pauses is bounded, and no single study moves it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_gateway.quiet_time import PAUSE_MAX_S, SAMPLES_MIN, QuietTime, learn


def test_of_few_studies_the_longest_pause_counts_and_none_leaves_the_configured_time() -> None:
    assert learn([], 10.0, 50.0) == QuietTime(10.0)
    few = learn([2.0] * (SAMPLES_MIN - 2) + [40.0], 10.0, 50.0)
    assert few == QuietTime(40.0 * 1.15, 40.0, SAMPLES_MIN - 1)
    assert not few.is_learned


def test_of_ten_studies_too_the_longest_counts_and_of_twenty_the_90th_percentile() -> None:
    assert [learn([2.0] * n + [40.0], 10.0, 50.0).pause_s for n in (9, 18, 19)] == [40.0, 40.0, 2.0]


def test_a_sender_that_pauses_is_given_somewhat_longer() -> None:
    assert learn([9.0] * 212, 10.0, 50.0) == QuietTime(9.0 * 1.15, 9.0, 200)


def test_a_sender_that_never_pauses_keeps_the_configured_time() -> None:
    assert learn([0.1] * 100, 10.0, 50.0).seconds == 10.0


def test_one_odd_study_in_ten_changes_nothing() -> None:
    assert learn([2.0] * 90 + [500.0] * 10, 10.0, 50.0) == learn([2.0] * 100, 10.0, 50.0)


def test_images_added_an_hour_later_are_no_pause() -> None:
    assert learn([PAUSE_MAX_S + 1] * 100, 10.0, 50.0).study_count == 0


@given(st.lists(st.floats(0, 1e6), max_size=300), st.floats(0.1, 3600), st.floats(0.1, 3600))
def test_it_is_never_shorter_than_configured_nor_longer_than_the_longest(
    pauses: list[float], configured_s: float, max_s: float
) -> None:
    assert configured_s <= learn(pauses, configured_s, max_s).seconds <= max(configured_s, max_s)


def test_a_quiet_time_is_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        QuietTime(0.0)
