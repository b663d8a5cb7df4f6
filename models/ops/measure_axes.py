"""Long and short axis of a region on one slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import spatial

Point = tuple[float, float]


@dataclass(frozen=True)
class Axes:
    """End points are (row, column) indices with fractions; lengths in mm; short is never above long."""

    long_mm: float
    short_mm: float
    long_ends: tuple[Point, Point]
    short_ends: tuple[Point, Point]


def measure_axes(mask: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> Axes:
    """The greatest diameter of a bool (row, column) mask, and the greatest one perpendicular to it.

    Diameters run between the edges of voxels, not their centres: one voxel is one voxel wide.
    """
    pixels = np.argwhere(mask).astype(np.float64)
    if not len(pixels):
        raise ValueError("an empty mask has no axes")
    half = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, -0.5], [0.0, 0.5]])
    edges = (pixels[:, None] + half[None]).reshape(-1, 2)
    points = edges * spacing_mm
    hull = points[spatial.ConvexHull(points).vertices]
    lengths = np.linalg.norm(hull[:, None] - hull[None], axis=2)
    first, second = (int(i) for i in np.unravel_index(int(lengths.argmax()), lengths.shape))
    begin, end = hull[first], hull[second]
    long_mm = float(lengths[first, second])
    direction = (end - begin) / long_mm
    across = np.array([-direction[1], direction[0]])
    position, offset = points @ direction, points @ across
    width = min(spacing_mm)
    line = np.rint((position - position.min()) / width).astype(int)
    count = int(line.max()) + 1
    lowest, highest = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(lowest, line, offset)
    np.maximum.at(highest, line, offset)
    widest = int(np.argmax(highest - lowest))
    low, high = float(lowest[widest]), float(highest[widest])
    if high - low > long_mm:
        high = low + long_mm
    base = direction * (position.min() + widest * width)
    ends = (base + across * low, base + across * high)
    return Axes(
        long_mm, high - low,
        (_index(begin, spacing_mm), _index(end, spacing_mm)),
        (_index(ends[0], spacing_mm), _index(ends[1], spacing_mm)),
    )  # fmt: skip


def _index(point: NDArray[np.float64], spacing_mm: tuple[float, float]) -> Point:
    return float(point[0] / spacing_mm[0]), float(point[1] / spacing_mm[1])
