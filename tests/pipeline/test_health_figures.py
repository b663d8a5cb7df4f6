"""Figures from counts: by hand, and without groups that could tell of a person."""

from __future__ import annotations

import math
from datetime import date

import pytest

from pipeline.health_figures import (
    Health,
    Key,
    Window,
    add_up,
    calibration,
    calibration_error,
    group_rows,
    latency_bucket,
    score_bin,
)  # fmt: skip

DAY = date(2026, 1, 1)


def window(*rows: tuple[str, str, int]) -> Window:
    return Window(DAY, DAY, add_up(rows))


def test_latency_is_the_upper_edge_of_the_bucket() -> None:
    rows = [("latency:infer", latency_bucket(seconds), 1) for seconds in (0.5, 0.6, 0.7, 9.0)]
    one = window(*rows)
    assert 0.5 <= one.latency_s("infer", 0.5) <= 0.9
    assert 9.0 <= one.latency_s("infer", 0.95) <= 13.5
    assert math.isnan(one.latency_s("encode", 0.5))
    assert one.steps() == ["infer"]


def test_a_latency_beyond_every_bucket_counts_in_the_last() -> None:
    assert float(latency_bucket(1e9)) == pytest.approx(566.9, rel=0.01)


def test_scores_fall_into_tenths() -> None:
    found = [score_bin(score) for score in (None, 0.0, 0.09, 0.5, 0.999, 1.0)]
    assert found == ["none", "0.0", "0.0", "0.5", "0.9", "0.9"]


def test_calibration_is_what_was_said_against_what_was_accepted() -> None:
    one = window(("said_accepted", "0.9", 6), ("said_rejected", "0.9", 4), ("said_rejected", "0.5", 10))
    low, high = calibration(one)
    assert (low.said, low.accepted.value, high.said, high.accepted.value) == (
        0.55,
        0.0,
        pytest.approx(0.95),
        0.6,
    )
    gap = calibration_error(one)
    assert gap.value == pytest.approx((0.55 + 0.95) / 2 - 6 / 20)
    assert gap.low < gap.value < gap.high


def test_concordance_leaves_out_results_that_nobody_judged() -> None:
    found = window(
        ("verdict", "accepted", 9), ("verdict", "rejected", 1), ("verdict", "none", 500)
    ).concordance
    assert (found.value, found.count) == (0.9, 10)


class TestGroups:
    def test_a_group_of_fewer_than_ten_studies_is_hidden_and_its_number_too(self) -> None:
        rows = group_rows(
            window(("sex", "F", 40), ("sex", "M", 55), ("sex", "O", 3), ("sex_positive", "O", 3))
        )
        hidden = {row.value for row in rows if row.is_hidden}
        # With one hidden alone, the total would tell its number: the next smallest goes with it.
        assert hidden == {"O", "F"}
        assert all(row.positive is None and row.concordance is None for row in rows if row.is_hidden)

    def test_groups_that_are_large_enough_are_shown(self) -> None:
        rows = group_rows(window(("sex", "F", 40), ("sex", "M", 55), ("sex_positive", "F", 10)))
        assert [(row.value, row.count) for row in rows] == [("F", 40), ("M", 55)]
        assert rows[0].positive is not None
        assert rows[0].positive.value == 0.25


def test_figures_that_do_not_exist_are_no_metrics() -> None:
    health = Health(Key("p", "1", ""), window(("status", "completed", 3), ("score", "0.5", 3)), None)
    assert list(health.metrics()) == [
        ("completed", "", 3.0), ("refused_share", "", 0.0), ("failed_share", "", 0.0), ("verdicts", "", 0.0),
    ]  # fmt: skip
