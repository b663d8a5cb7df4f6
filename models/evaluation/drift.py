"""Whether counts of now come from where counts of before came from: the population stability index and its chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Counts = Mapping[str, int]

# Chi-square's rule of five: values that are expected less often than this are put into one.
EXPECTED_MIN = 5


@dataclass(frozen=True)
class Drift:
    """psi: under 0.1 is called small, over 0.25 large (Siddiqi 2006), but it grows when there are few cases.

    p_value: how often chance alone would make a difference as large as this (chi-square test of both tables). NaN where
    there is nothing to compare. before, now: numbers of cases.
    """

    psi: float
    p_value: float
    before: int
    now: int


def drift(before: Counts, now: Counts) -> Drift:
    """Compare how often each value came. Half a case is added to each count, so that an empty one stays finite."""
    values = sorted(before.keys() | now.keys())
    table = np.array([[side.get(value, 0) for value in values] for side in (before, now)], float).reshape(
        2, -1
    )
    sizes = table.sum(axis=1)
    if not sizes.all():
        return Drift(math.nan, math.nan, int(sizes[0]), int(sizes[1]))
    rare = table.sum(axis=0) * sizes.min() / sizes.sum() < EXPECTED_MIN
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return Drift(0.0, 1.0, int(sizes[0]), int(sizes[1]))
    shares = (table + 0.5) / (table + 0.5).sum(axis=1, keepdims=True)
    psi = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    from scipy import stats  # half a second, which only who computes pays

    p_value = float(stats.chi2_contingency(table, correction=False).pvalue)
    return Drift(psi, p_value, int(sizes[0]), int(sizes[1]))


def shares_differ(before: tuple[int, int], now: tuple[int, int]) -> float:
    """The p-value of Fisher's exact test: (those that are so, all) before and now; 1 where there is nothing."""
    if not before[1] or not now[1]:
        return 1.0
    rows = [[so, count - so] for so, count in (before, now)]
    from scipy import stats

    return float(stats.fisher_exact(rows).pvalue)
