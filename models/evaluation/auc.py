"""Two classes told apart by a score: area under the ROC curve, sensitivity and specificity at a threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from models.evaluation.bootstrap import Z95, Estimate, wilson

Scores = NDArray[np.float64]
Truths = NDArray[np.bool_]


def auc(scores: Scores, truths: Truths) -> Estimate:
    """Area under the ROC curve, ties counted half.

    The interval is DeLong's (1988) on the logit scale. Where the classes are told apart without a mistake DeLong's
    variance is zero, which few cases do not show: there it is Newcombe's score interval (2006, method 5).
    NaN where a class is missing.
    """
    positive, negative = scores[truths], scores[~truths]
    m, n = len(positive), len(negative)
    if not m or not n:
        return Estimate(math.nan, math.nan, math.nan, m + n)
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    # Share of the other class that each case is on the right side of (Sun and Xu 2014).
    above = (ranks[:m] - stats.rankdata(positive)) / n
    below = 1 - (ranks[m:] - stats.rankdata(negative)) / m
    area = float(above.mean())
    variance = float(above.var(ddof=1) / m + below.var(ddof=1) / n) if min(m, n) > 1 else 0.0
    if variance == 0 or area in (0.0, 1.0):
        low, high = _newcombe(area, m, n)
    else:
        logit, spread = math.log(area / (1 - area)), math.sqrt(variance) / (area * (1 - area))
        low, high = (1 / (1 + math.exp(-(logit + sign * Z95 * spread))) for sign in (-1, 1))
    return Estimate(area, low, high, m + n)


def _newcombe(area: float, m: int, n: int) -> tuple[float, float]:
    """The areas whose own Hanley-McNeil variance puts `area` at the edge of their 95 %."""
    half = (m + n) / 2 - 1

    def excess(theta: float) -> float:
        spread = theta * (1 - theta) / (m * n)
        spread *= 1 + half * (1 - theta) / (2 - theta) + half * theta / (1 + theta)
        return (area - theta) ** 2 - Z95**2 * spread

    low = (
        0.0
        if area == 0
        else float(optimize.brentq(excess, 0, area - 1e-12))
        if excess(area - 1e-9) < 0
        else area
    )
    high = (
        1.0
        if area == 1
        else float(optimize.brentq(excess, area + 1e-12, 1))
        if excess(area + 1e-9) < 0
        else area
    )
    return low, high


@dataclass(frozen=True)
class AtThreshold:
    """What a threshold does: sensitivity, specificity and the predictive values, each with Wilson's interval.

    The predictive values are those of the share of positives in the data at hand.
    """

    threshold: float
    sensitivity: Estimate
    specificity: Estimate
    positive_predictive_value: Estimate
    negative_predictive_value: Estimate


def at_threshold(scores: Scores, truths: Truths, threshold: float) -> AtThreshold:
    """Scores at or above the threshold are called positive."""
    called = scores >= threshold
    right = called == truths
    parts = (
        wilson(int(right[chosen].sum()), int(chosen.sum())) for chosen in (truths, ~truths, called, ~called)
    )
    return AtThreshold(threshold, *parts)


def roc(scores: Scores, truths: Truths) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False and true positive rates from (0, 0) to (1, 1), one point for each different score."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    true = np.cumsum(truths[order])[last]
    false = np.cumsum(~truths[order])[last]
    return np.append(0, false / max(1, false[-1])), np.append(0, true / max(1, true[-1]))


def threshold_for_sensitivity(scores: Scores, truths: Truths, wanted: float) -> float:
    """The highest threshold at which at least this share of the positives is called positive."""
    positive = np.sort(scores[truths])[::-1]
    if not len(positive) or not 0 < wanted <= 1:
        raise ValueError("a threshold needs positives and a sensitivity in (0, 1]")
    return float(positive[math.ceil(wanted * len(positive) - 1e-9) - 1])


def threshold_for_specificity(scores: Scores, truths: Truths, wanted: float) -> float:
    """The lowest threshold at which at least this share of the negatives is called negative."""
    negative = np.sort(scores[~truths])
    if not len(negative) or not 0 < wanted <= 1:
        raise ValueError("a threshold needs negatives and a specificity in (0, 1]")
    return float(np.nextafter(negative[math.ceil(wanted * len(negative) - 1e-9) - 1], np.inf))
