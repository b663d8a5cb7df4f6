"""What a sender's MPPS is worth is learned from the studies that it listed."""

from __future__ import annotations

import pytest

from dicom_gateway.step_habits import series_never_sent, series_not_sent, steps_list_less


@pytest.mark.parametrize(
    ("listed_less", "expected"),
    [([], None), ([False] * 2, None), ([False] * 3, False), ([True], True), ([True] + [False] * 18, True),
     ([True] + [False] * 19, False), ([True] * 2 + [False] * 30, True)],
)  # fmt: skip
def test_mpps_is_believed_when_three_studies_came_as_listed_until_something_came_that_was_not(
    listed_less: list[bool], expected: bool | None
) -> None:
    assert steps_list_less(listed_less) is expected


@pytest.mark.parametrize(
    ("absent", "expected"),
    [([], 0), ([1] * 9, 0), ([1] * 10, 1), ([2] * 5 + [1] * 5, 1), ([0] + [1] * 10, 0), ([0] + [1] * 20, 1)],
)
def test_so_many_series_stay_away_as_did_in_nearly_every_study(absent: list[int], expected: int) -> None:
    assert series_not_sent(absent) == expected


def test_only_what_stayed_away_from_every_study_ends_the_wait_of_the_next() -> None:
    assert [series_never_sent(seen) for seen in ([1] * 9, [1] * 10, [0] + [1] * 20)] == [0, 1, 0]
