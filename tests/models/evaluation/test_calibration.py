"""Calibration: bins counted by hand, fits that find what made the data."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.calibration import (
    brier,
    brier_interval,
    calibration_slope,
    expected_calibration_error,
    fit_platt,
    fit_temperature,
    logit,
    reliability,
    sigmoid,
)  # fmt: skip


def drawn(count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """True probabilities and outcomes drawn from them."""
    rng = np.random.default_rng(seed)
    probabilities = rng.beta(0.8, 1.5, count)
    return probabilities, rng.random(count) < probabilities


def test_bins_and_their_error_counted_by_hand() -> None:
    probabilities = np.array([0.05, 0.15, 0.15, 0.95, 1.0])
    truths = np.array([False, False, True, True, True])
    found = reliability(probabilities, truths)
    assert [(one.low, one.was.count, one.was.value) for one in found] == [
        (0.0, 1, 0),
        (0.1, 2, 0.5),
        (0.9, 2, 1),
    ]
    wanted = (1 * 0.05 + 2 * 0.35 + 2 * 0.025) / 5
    assert expected_calibration_error(probabilities, truths) == pytest.approx(wanted)
    assert brier(probabilities, truths) == pytest.approx(np.mean([0.05**2, 0.15**2, 0.85**2, 0.05**2, 0]))


def test_honest_probabilities_are_calibrated_and_inflated_ones_are_not() -> None:
    probabilities, truths = drawn(20_000, seed=0)
    assert expected_calibration_error(probabilities, truths) < 0.012
    assert calibration_slope(probabilities, truths) == pytest.approx((1, 0), abs=0.06)
    inflated = sigmoid(2.5 * logit(probabilities))
    assert expected_calibration_error(inflated, truths) > 0.08
    assert calibration_slope(inflated, truths)[0] == pytest.approx(0.4, abs=0.03)


def test_temperature_finds_how_much_too_sure_a_model_is() -> None:
    probabilities, truths = drawn(20_000, seed=1)
    assert fit_temperature(3 * logit(probabilities), truths) == pytest.approx(3, rel=0.05)


def test_platt_finds_slope_and_shift_and_calibrates() -> None:
    probabilities, truths = drawn(20_000, seed=2)
    raw = (logit(probabilities) - 0.7) / 0.5
    fitted = fit_platt(raw, truths)
    assert (fitted.slope, fitted.intercept) == pytest.approx((0.5, 0.7), abs=0.05)
    assert expected_calibration_error(fitted(raw), truths) < 0.015


def test_platt_of_classes_without_overlap_stays_finite() -> None:
    logits = np.concatenate([np.full(20, -3.0), np.full(20, 3.0)])
    fitted = fit_platt(logits, logits > 0)
    assert np.isfinite([fitted.slope, fitted.intercept]).all()
    assert fitted(np.array([3.0]))[0] == pytest.approx(21 / 22, abs=0.01)


def test_one_class_alone_cannot_calibrate() -> None:
    for fit in (fit_platt, fit_temperature):
        with pytest.raises(ValueError, match="both classes"):
            fit(np.zeros(5), np.ones(5, bool))


def test_the_brier_score_has_an_interval() -> None:
    found = brier_interval(*drawn(300, seed=3))
    assert found.low < found.value < found.high
    assert found.count == 300


def test_nothing_has_no_error() -> None:
    empty = np.zeros(0)
    assert np.isnan(expected_calibration_error(empty, empty.astype(bool)))
    assert np.isnan(brier(empty, empty.astype(bool)))
