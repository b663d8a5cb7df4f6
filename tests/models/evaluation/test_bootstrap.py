"""Intervals: known values of Wilson's, and that 95 % intervals hold the truth about 95 times of 100."""

import math

import numpy as np
import pytest
from scipy import stats

from models.evaluation.bootstrap import bootstrap, mean, median, wilson


def test_wilsons_interval_is_scipys() -> None:
    for successes, count in [(0, 10), (1, 10), (9, 10), (10, 10), (81, 263), (500, 1000)]:
        wanted = stats.binomtest(successes, count).proportion_ci(0.95, method="wilson")
        found = wilson(successes, count)
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_no_units_have_no_share() -> None:
    found = wilson(0, 0)
    assert math.isnan(found.value)
    assert found.as_json() == {"value": None, "low": None, "high": None, "count": 0}


def test_more_successes_than_units_are_refused() -> None:
    with pytest.raises(ValueError, match="not a share"):
        wilson(3, 2)


def test_the_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(3).normal(5, 2, 400)
    found = mean(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_ninety_five_percent_intervals_hold_the_truth_about_as_often() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        values = rng.exponential(1.0, 60)
        found = bootstrap(lambda i, v=values: float(v[i].mean()), 60, seed=seed, repeats=200)
        held += found.low <= 1.0 <= found.high
    assert 0.86 <= held / 200 <= 0.99


def test_one_unit_has_a_value_and_no_interval() -> None:
    found = median(np.array([4.0]))
    assert found.value == 4.0
    assert math.isnan(found.low)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(1).normal(size=30)
    assert mean(values, seed=5) == mean(values, seed=5)
