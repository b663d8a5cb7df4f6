"""The voxels of one nodule in the original grid, from its centre and predicted diameter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# The segmented region may reach this far beyond the predicted radius.
REACH_FACTOR, REACH_EXTRA_MM = 1.2, 1.0
# Half-way between nodule and lung, as visual assessment does (full width at half maximum).
LUNG_FALLBACK_HU = -850.0
LUNG_BELOW_HU = -600
# A vessel thinner than this share of the nodule's radius is cut off by the opening.
OPENING_SHARE, OPENING_MAX_MM = 0.4, 3.0


@dataclass(frozen=True)
class Region:
    """mask: bool box (slice, row, column); origin: index of its first voxel in the volume.

    threshold_hu: voxels above it belong to the nodule; None where no edge was found and the region
    is the ball of the predicted diameter.
    """

    mask: NDArray[np.bool_]
    origin: tuple[int, int, int]
    threshold_hu: float | None


def segment_nodule(
    voxels: NDArray[np.int16],
    spacing_mm: tuple[float, float, float],
    center_index: NDArray[np.float64],
    diameter_mm: float,
) -> Region:
    """Segment the nodule whose centre is `center_index` (slice, row, column).

    The threshold lies half-way between the nodule's core and the lung around it; of what is above it
    within the reach, the part connected with the core remains, opened so that vessels and the chest
    wall fall off. Where nothing stands out, the ball of the predicted diameter is returned.
    """
    spacing = np.array(spacing_mm)
    radius = diameter_mm / 2
    reach = radius * REACH_FACTOR + REACH_EXTRA_MM
    shell = reach + 5
    low = np.maximum(np.floor(center_index - shell / spacing), 0).astype(int)
    high = np.minimum(np.ceil(center_index + shell / spacing) + 1, voxels.shape).astype(int)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    crop = voxels[box].astype(np.float32)
    offsets = [(g - c) * s for g, c, s in zip(np.ogrid[box], center_index, spacing, strict=True)]
    distance = np.sqrt(sum(offset**2 for offset in offsets))
    nearest = np.unravel_index(int(np.argmin(distance)), distance.shape)
    ball = distance <= max(radius, float(distance[nearest]))
    threshold = _threshold(crop, distance, radius, reach)
    mask = (crop > threshold) & (distance <= reach)
    part = _connected(mask, distance, radius)
    if part is None:
        return _trimmed(ball, low, None)
    opened = _opened(part, spacing_mm, distance, radius)
    if opened.sum() * float(spacing.prod()) < 0.1 * np.pi / 6 * diameter_mm**3:
        return _trimmed(ball, low, None)
    return _trimmed(opened, low, threshold)


def _threshold(
    crop: NDArray[np.float32], distance: NDArray[np.float64], radius: float, reach: float
) -> float:
    inner = crop[distance <= max(0.5 * radius, float(distance.min()) + 1e-6)]
    around = crop[(distance > reach) & (crop < LUNG_BELOW_HU)]
    lung = float(np.median(around)) if around.size > 10 else LUNG_FALLBACK_HU
    return (float(np.median(inner)) + lung) / 2


def _connected(
    mask: NDArray[np.bool_], distance: NDArray[np.float64], radius: float
) -> NDArray[np.bool_] | None:
    """The component nearest to the centre, if it comes within half the radius."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return None
    inside = np.where(mask, distance, np.inf)
    nearest = int(np.argmin(inside))
    if inside.flat[nearest] > max(0.5 * radius, float(distance.min()) + 1e-6):
        return None
    return np.asarray(labels == labels.flat[nearest], np.bool_)


def _opened(
    mask: NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    distance: NDArray[np.float64],
    radius: float,
) -> NDArray[np.bool_]:
    """Morphological opening with a ball that keeps the component at the centre."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    near = np.where(distance <= radius, depth, 0)
    size = min(OPENING_SHARE * float(near.max()), OPENING_MAX_MM)
    core = _connected(depth > size, distance, 2 * radius)
    if core is None:
        return mask
    # Voxels count from their centres: one whose centre lies `size` from the core is still inside.
    return np.asarray(mask & (ndimage.distance_transform_edt(~core, sampling=spacing_mm) <= size), np.bool_)


def _trimmed(mask: NDArray[np.bool_], low: NDArray[np.int64], threshold: float | None) -> Region:
    used = [np.flatnonzero(mask.any(axis=tuple(o for o in range(3) if o != axis))) for axis in range(3)]
    box = tuple(slice(int(u[0]), int(u[-1]) + 1) for u in used)
    z, y, x = (int(start) + part.start for start, part in zip(low, box, strict=True))
    return Region(np.ascontiguousarray(mask[box]), (z, y, x), threshold)
