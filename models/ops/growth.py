"""How much a nodule grew between two scans, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from study.nodule import Growth, NoduleKind, Trend

# The edge of a nodule is found with an error that grows with the slices; on a nodule of diameter d it makes an error of
# 3 × edge / d in the volume. At 1 mm slices this gives ±30 % (95 %) for the change of a solid nodule of 6 mm; repeated
# scans of patients gave ±27 % (mean volume 98 mm³; Marchianò, Radiology 2009). At 5 mm it is a factor of 2.4.
EDGE_MM, EDGE_PER_SLICE = 0.12, 0.10
# Faint edges are twice as hard to find, and no scan repeats another by less than this.
SUBSOLID_FACTOR = 1.5
VOLUME_ERROR_MIN = 0.03
_Z95 = 1.96


@dataclass(frozen=True)
class Sized:
    """A nodule of one scan. slice_mm: thickness or distance of its slices, whichever is larger."""

    volume_mm3: float
    slice_mm: float
    kind: NoduleKind | None = None

    @property
    def volume_error(self) -> float:
        """Standard deviation of the logarithm of the volume."""
        diameter = math.cbrt(6 * self.volume_mm3 / math.pi)
        is_subsolid = self.kind in (NoduleKind.PART_SOLID, NoduleKind.GROUND_GLASS)
        edge = (EDGE_MM + EDGE_PER_SLICE * self.slice_mm) * (SUBSOLID_FACTOR if is_subsolid else 1.0)
        return math.hypot(VOLUME_ERROR_MIN, 3 * edge / diameter)


def growth(now: Sized, then: Sized, days: int | None) -> Growth:
    """Change and doubling time with their 95 % intervals, on the assumption of exponential growth.

    Raises ValueError where a volume is not positive.
    """
    if now.volume_mm3 <= 0 or then.volume_mm3 <= 0:
        raise ValueError("a nodule has a volume")
    change = math.log(now.volume_mm3 / then.volume_mm3)
    error = _Z95 * math.hypot(now.volume_error, then.volume_error)
    low, high = change - error, change + error
    trend = Trend.GROWN if low > 0 else Trend.SHRUNK if high < 0 else Trend.UNCHANGED
    percents = (100 * math.expm1(low), 100 * math.expm1(high))
    if change <= 0 or days is None or days <= 0:
        return Growth(trend, 100 * math.expm1(change), percents)
    doubling = days * math.log(2)
    interval = (doubling / high, doubling / low if low > 0 else None)
    return Growth(trend, 100 * math.expm1(change), percents, doubling / change, interval)
