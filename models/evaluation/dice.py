"""How well two masks of one structure agree: overlap, and distance between their surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]


def dice(first: Mask, second: Mask) -> float:
    """2 |A and B| / (|A| + |B|); NaN where both are empty, for then there is nothing to agree on."""
    together = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2 * int(np.count_nonzero(first & second)) / together if together else float("nan")


@dataclass(frozen=True)
class SurfaceDistance:
    """Distances in mm from each surface voxel to the other mask's surface, both directions together."""

    mean_mm: float
    p95_mm: float
    max_mm: float


def surface_distance(first: Mask, second: Mask, spacing_mm: tuple[float, ...]) -> SurfaceDistance:
    """Between the voxels of each mask that touch its outside by a face; infinite where one mask is empty.

    The edge of the array is outside. p95_mm is the 95th percentile of both directions pooled.
    """
    if not first.any() or not second.any():
        far = float("nan") if not first.any() and not second.any() else float("inf")
        return SurfaceDistance(far, far, far)
    box = ndimage.find_objects((first | second).astype(np.uint8))[0]
    masks = [np.pad(mask[box], 1) for mask in (first, second)]
    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in masks]
    distances = [
        ndimage.distance_transform_edt(~there, sampling=spacing_mm)[here]
        for here, there in (surfaces, surfaces[::-1])
    ]
    pooled = np.concatenate(distances)
    return SurfaceDistance(float(pooled.mean()), float(np.quantile(pooled, 0.95)), float(pooled.max()))
