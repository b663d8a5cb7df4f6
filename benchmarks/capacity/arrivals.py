"""Made-up weeks of a region's hospitals: when each study's last instance arrives, what it is and how urgent.

What is published and what is assumed stands beside each figure; docs/capacity.md repeats it. Times are seconds from
Monday 00:00, local.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DAY_S, HOUR_S, WEEK_S = 86_400.0, 3_600.0, 604_800.0
WEEKS_PER_YEAR = 365.25 / 7

WORKING_HOURS = range(8, 17)
OUTSIDE_SHARE = 0.40
"""Outside 08-17 on Monday to Friday: of CTs 34 %, four years later 40 % (T. J. Carroll, Acad Radiol 2003)."""
MONDAY_FACTOR = 1.15
"""Assumed: Monday is the one day that predicts a high CT volume, odds ratio 3.0 (Burns, Chernyak, Scheinfeld)."""
WEEKEND_NIGHT_FACTOR = 1.25
"""Assumed: a weekend's day against the same hours outside of working time in the week."""
MORNING = {8: 1.3, 9: 1.8, 10: 1.8, 11: 1.4, 12: 0.8, 13: 0.8, 14: 1.0, 15: 0.9, 16: 0.7}
"""Assumed: how the working hours differ, relative; the peak is in the morning."""
NIGHT_FACTOR = 0.35
"""Assumed: 23-07 against the evening."""
CT_SHARE = 0.20
"""5.2 million CTs beside 23.1 million radiographs in England 2013/14 (NHS, KH12) are 18 %; CT has grown since."""
EMERGENCY_SHARE = 1 / 50
"""What the sizing is asked for."""
SLICES_MEDIAN, SLICES_SIGMA, SLICES_RANGE = 300.0, 0.5, (50.0, 1000.0)
"""Log-normal; its mean of 340 is that of 994,471 CTs with 339,830,947 images (McDonald et al., Acad Radiol 2015)."""
HOSPITAL_SIGMA = 0.8
"""Assumed: sizes of hospitals are log-normal; the largest of a hundred has about seven times the mean."""


@dataclass(frozen=True)
class Region:
    """hospitals: each a tenant of its own. studies_per_year: of all together."""

    hospitals: int = 100
    studies_per_year: float = 3e6
    ct_share: float = CT_SHARE
    emergency_share: float = EMERGENCY_SHARE


@dataclass(frozen=True)
class Trace:
    """Studies in order of arrival; all arrays have one entry for each. slices: of CTs, 0 for radiographs."""

    arrived_s: NDArray[np.float64]
    hospital: NDArray[np.int64]
    is_ct: NDArray[np.bool_]
    is_emergency: NDArray[np.bool_]
    slices: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.arrived_s)


def hourly_weights() -> NDArray[np.float64]:
    """Share of a week's studies in each of its 168 hours, Monday first."""
    weights = np.empty((7, 24))
    for day in range(7):
        for hour in range(24):
            is_night = hour < 7 or hour >= 23
            weights[day, hour] = (NIGHT_FACTOR if is_night else 1.0) * (
                WEEKEND_NIGHT_FACTOR if day > 4 else 1.0
            )
    working = np.zeros((7, 24), bool)
    working[:5, WORKING_HOURS.start : WORKING_HOURS.stop] = True
    weights[working] = np.tile([MORNING[hour] for hour in WORKING_HOURS], 5)
    weights[0] *= MONDAY_FACTOR
    for part, share in ((working, 1 - OUTSIDE_SHARE), (~working, OUTSIDE_SHARE)):
        weights[part] *= share / weights[part].sum()
    return weights.ravel()


def make_trace(region: Region, seed: int, *, first_s: float = 0.0, last_s: float = WEEK_S) -> Trace:
    """Poisson arrivals of one week between two of its seconds; the seed decides everything."""
    rng = np.random.default_rng(seed)
    expected = hourly_weights() * region.studies_per_year / WEEKS_PER_YEAR
    hours = np.repeat(np.arange(168), rng.poisson(expected))
    arrived = np.sort((hours + rng.uniform(size=len(hours))) * HOUR_S)
    arrived = arrived[(arrived >= first_s) & (arrived < last_s)]
    count = len(arrived)
    sizes = rng.lognormal(0.0, HOSPITAL_SIGMA, region.hospitals)
    is_ct = rng.uniform(size=count) < region.ct_share
    slices = np.clip(rng.lognormal(np.log(SLICES_MEDIAN), SLICES_SIGMA, count), *SLICES_RANGE)
    return Trace(
        arrived,
        rng.choice(region.hospitals, count, p=sizes / sizes.sum()),
        is_ct,
        rng.uniform(size=count) < region.emergency_share,
        np.where(is_ct, slices, 0.0),
    )
