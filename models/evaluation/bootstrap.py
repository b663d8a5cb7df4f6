"""A number with its 95 % interval: Wilson's for shares, the bootstrap's for everything else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Standard normal quantile of 97.5 %.
Z95 = 1.959963984540054
REPEATS = 1000

Statistic = Callable[[NDArray[np.intp]], float]
"""What is measured on the units whose indices are given; an index may come several times."""


@dataclass(frozen=True)
class Estimate:
    """A value, the ends of its 95 % interval, and of how many independent units it was made.

    NaN where nothing could be measured; as JSON that is null.
    """

    value: float
    low: float
    high: float
    count: int

    def as_json(self) -> dict[str, float | int | None]:
        """Rounded to four digits, without NaN, which JSON does not know."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        return {
            **{key: round(v, 4) if math.isfinite(v) else None for key, v in ends.items()},
            "count": self.count,
        }


def wilson(successes: int, count: int) -> Estimate:
    """A share with Wilson's score interval (Wilson 1927), which holds for few units and for shares of 0 and 1."""
    if not 0 <= successes <= count:
        raise ValueError(f"{successes} of {count} is not a share")
    if count == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    share, square = successes / count, Z95**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = Z95 / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    # Rounding must not put the share itself outside.
    return Estimate(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)), count)


def bootstrap(statistic: Statistic, count: int, *, seed: int = 0, repeats: int = REPEATS) -> Estimate:
    """The percentile interval of a statistic under resampling of its `count` units.

    The unit is what is independent: the scan or the patient, never the nodule. Draws on which the
    statistic does not exist (NaN) are left out; fewer than 2 units have no interval.
    """
    value = statistic(np.arange(count)) if count else math.nan
    if count < 2:
        return Estimate(value, math.nan, math.nan, count)
    rng = np.random.default_rng(seed)
    draws = np.array([statistic(rng.integers(0, count, count)) for _ in range(repeats)])
    return from_draws(value, draws, count)


def from_draws(value: float, draws: NDArray[np.float64], count: int) -> Estimate:
    """The percentile interval of draws that were made elsewhere."""
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return Estimate(value, math.nan, math.nan, count)
    low, high = np.quantile(draws, (0.025, 0.975))
    return Estimate(value, float(low), float(high), count)


def median(values: NDArray[np.float64], *, seed: int = 0) -> Estimate:
    """The median of one value per unit with its interval."""
    return bootstrap(lambda index: float(np.median(values[index])), len(values), seed=seed)


def mean(values: NDArray[np.float64], *, seed: int = 0) -> Estimate:
    """The mean of one value per unit with its interval."""
    return bootstrap(lambda index: float(np.mean(values[index])), len(values), seed=seed)
