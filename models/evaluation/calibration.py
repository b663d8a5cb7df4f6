"""Whether probabilities mean what they say, and the fit that makes them do so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from models.evaluation.bootstrap import Estimate, bootstrap, wilson

Array = NDArray[np.float64]
Truths = NDArray[np.bool_]
_EDGE = 1e-7


@dataclass(frozen=True)
class Bin:
    """The cases whose probability lies in [low, high), the last bin closed: what was said and what was so."""

    low: float
    high: float
    said: float
    was: Estimate


def reliability(probabilities: Array, truths: Truths, bins: int = 10) -> tuple[Bin, ...]:
    """Bins of equal width; an empty one is left out."""
    number = np.minimum((probabilities * bins).astype(int), bins - 1)
    return tuple(
        Bin(
            index / bins,
            (index + 1) / bins,
            float(probabilities[chosen].mean()),
            wilson(int(truths[chosen].sum()), int(chosen.sum())),
        )
        for index in range(bins)
        if (chosen := number == index).any()
    )


def expected_calibration_error(probabilities: Array, truths: Truths, bins: int = 10) -> float:
    """The mean of |said - was| over the bins, each by its share of the cases (Naeini 2015); NaN of none.

    It is never 0 with few cases: chance alone gives perfect probabilities up to 0.4 sqrt(bins / cases).
    """
    if not len(probabilities):
        return float("nan")
    found = reliability(probabilities, truths, bins)
    return float(sum(one.was.count * abs(one.said - one.was.value) for one in found) / len(probabilities))


def brier(probabilities: Array, truths: Truths) -> float:
    """The mean squared difference between probability and truth; NaN of none."""
    return float(np.mean((probabilities - truths) ** 2)) if len(probabilities) else float("nan")


def calibration_slope(probabilities: Array, truths: Truths) -> tuple[float, float]:
    """Slope and intercept of the truth's logit against the said one: 1 and 0 are perfect, under 1 is too sure."""
    fit = fit_platt(logit(probabilities), truths, smooth=False)
    return fit.slope, fit.intercept


def brier_interval(probabilities: Array, truths: Truths, *, seed: int = 0) -> Estimate:
    """The Brier score with its interval over cases."""
    return bootstrap(lambda index: brier(probabilities[index], truths[index]), len(truths), seed=seed)


def logit(probabilities: Array) -> Array:
    """log(p / (1 - p)), finite at 0 and 1."""
    inside = np.clip(probabilities, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(inside / (1 - inside)))


def sigmoid(logits: Array) -> Array:
    """The inverse of `logit`."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))))


@dataclass(frozen=True)
class Platt:
    """p = sigmoid(slope * logit + intercept)."""

    slope: float
    intercept: float

    def __call__(self, logits: Array) -> Array:
        """Calibrated probabilities."""
        return sigmoid(self.slope * logits + self.intercept)


def fit_platt(logits: Array, truths: Truths, *, smooth: bool = True) -> Platt:
    """Platt's fit (1999) by maximum likelihood; `smooth` uses his targets, which keep separable data finite."""
    positives = int(truths.sum())
    negatives = len(truths) - positives
    if not positives or not negatives:
        raise ValueError("a calibration needs cases of both classes")
    high, low = ((positives + 1) / (positives + 2), 1 / (negatives + 2)) if smooth else (1.0, 0.0)
    targets = np.where(truths, high, low)

    def loss(values: Array) -> tuple[float, Array]:
        raw = values[0] * logits + values[1]
        difference = sigmoid(raw) - targets
        slopes = np.array([(difference * logits).mean(), difference.mean()])
        return float(np.mean(np.logaddexp(0, raw) - targets * raw)), slopes

    found = optimize.minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    return Platt(float(found[0]), float(found[1]))


def fit_temperature(logits: Array, truths: Truths) -> float:
    """The T > 0 for which sigmoid(logit / T) is likeliest (Guo 2017); the order of the cases is kept."""
    if truths.all() or not truths.any():
        raise ValueError("a calibration needs cases of both classes")

    def loss(log_temperature: float) -> float:
        raw = logits / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, raw) - truths * raw))

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-5, 5), method="bounded").x))
