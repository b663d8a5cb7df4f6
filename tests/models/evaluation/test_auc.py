"""ROC: areas against counting pairs, DeLong's variance against the bootstrap, coverage of the interval."""

import math

import numpy as np
import pytest
from scipy import stats

from models.evaluation.auc import (
    at_threshold,
    auc,
    roc,
    threshold_for_sensitivity,
    threshold_for_specificity,
)  # fmt: skip


def two_classes(m: int, n: int, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(shift, 1, m), rng.normal(0, 1, n)])
    return scores, np.repeat([True, False], [m, n])


def test_the_area_counts_pairs_and_ties_half() -> None:
    scores, truths = two_classes(30, 50, 1.0, seed=0)
    scores = np.round(scores, 1)
    pairs = np.subtract.outer(scores[truths], scores[~truths])
    assert auc(scores, truths).value == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2)
    wanted = stats.mannwhitneyu(scores[truths], scores[~truths]).statistic / 1500
    assert auc(scores, truths).value == pytest.approx(wanted)


def test_delongs_interval_is_near_that_of_the_bootstrap() -> None:
    scores, truths = two_classes(120, 200, 1.0, seed=1)
    rng = np.random.default_rng(0)
    p, n = scores[truths], scores[~truths]
    draws = [auc(np.concatenate([rng.choice(p, 120), rng.choice(n, 200)]), truths).value for _ in range(1000)]
    found = auc(scores, truths)
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, (0.025, 0.975)), abs=0.012)


@pytest.mark.parametrize("shift", [0.5, 2.5])
def test_the_interval_holds_the_true_area_about_95_times_of_100(shift: float) -> None:
    truth = float(stats.norm.cdf(shift / math.sqrt(2)))
    found = [auc(*two_classes(25, 40, shift, seed)) for seed in range(300)]
    held = np.mean([one.low <= truth <= one.high for one in found])
    assert 0.91 <= held <= 0.99


def test_classes_without_a_mistake_still_have_an_interval() -> None:
    few, many = (auc(np.arange(2.0 * n), np.arange(2 * n) >= n) for n in (5, 200))
    assert few.value == few.high == many.value == 1.0
    assert 0.5 < few.low < 0.9 < many.low < 1.0


def test_a_missing_class_has_no_area() -> None:
    assert math.isnan(auc(np.array([0.1, 0.2]), np.array([True, True])).value)


def test_a_threshold_counted_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.4, 0.7, 0.3, 0.2, 0.1])
    truths = np.array([True, True, True, False, False, False, False])
    found = at_threshold(scores, truths, 0.7)
    assert found.sensitivity.value == pytest.approx(2 / 3)
    assert found.specificity.value == pytest.approx(3 / 4)
    assert found.positive_predictive_value.value == pytest.approx(2 / 3)
    assert found.negative_predictive_value.value == pytest.approx(3 / 4)


def test_the_curve_runs_from_corner_to_corner_and_has_the_area() -> None:
    scores, truths = two_classes(40, 60, 1.2, seed=4)
    scores = np.round(scores, 1)
    false, true = roc(scores, truths)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true, false) == pytest.approx(auc(scores, truths).value)


def test_a_chosen_threshold_reaches_what_was_asked_and_not_more_than_needed() -> None:
    scores, truths = two_classes(50, 50, 1.0, seed=5)
    threshold = threshold_for_sensitivity(scores, truths, 0.9)
    assert at_threshold(scores, truths, threshold).sensitivity.value == pytest.approx(0.9)
    threshold = threshold_for_specificity(scores, truths, 0.9)
    assert at_threshold(scores, truths, threshold).specificity.value == pytest.approx(0.9)
    with pytest.raises(ValueError, match="needs positives"):
        threshold_for_sensitivity(scores, np.zeros(100, bool), 0.9)
