"""What lies on the lung's side of the chest wall, where a nodule hides the wall's inner face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, spatial

LUNG_BELOW_HU = -500
# Air around the body, or in a bowel, is emptier than any lung around a nodule.
AIR_HU = -960
# Beyond the hull by this much still counts: the edge of a voxel, and the curve of the wall behind a nodule.
TOLERANCE_MM = 0.5
_POINTS_MAX = 4000
# A face that climbs less along the lines of voxels cuts none of them.
_FLAT = 1e-9


def inside_lung_hull(
    crop: NDArray[np.float32], spacing_mm: tuple[float, float, float], asked: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Those of the `asked` voxels that lie in the convex hull of the crop's lung.

    A rib cage is convex seen from within, so the lung around the base of a nodule spans the pleura behind it.
    Everything is inside where the crop shows too little lung to span anything.
    """
    points = _surface(crop) * spacing_mm
    if len(points) < 50:
        return asked
    try:
        hull = spatial.ConvexHull(points)
    except spatial.QhullError:  # a flat layer of lung
        return asked
    return asked & _between_faces(hull.equations, asked, spacing_mm)


def _between_faces(
    faces: NDArray[np.float64], asked: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """The voxels inside every face (n, 4): a line of voxels along the last axis lies inside from one end to another."""
    lines = np.argwhere(asked.any(axis=2))
    height = (lines * spacing_mm[:2]) @ faces[:, :2].T + faces[:, 3] - TOLERANCE_MM
    slope = faces[:, 2]
    rises, falls = slope > _FLAT, slope < -_FLAT
    first = np.max(height[:, falls] / -slope[falls], axis=1, initial=-np.inf)
    last = np.min(-height[:, rises] / slope[rises], axis=1, initial=np.inf)
    last[(height[:, ~rises & ~falls] > 0).any(axis=1)] = -np.inf
    along = np.arange(asked.shape[2]) * spacing_mm[2]
    inside = np.zeros_like(asked)
    inside[tuple(lines.T)] = (along >= first[:, None]) & (along <= last[:, None])
    return inside


def _surface(crop: NDArray[np.float32]) -> NDArray[np.float64]:
    """Indices of the first and last lung voxel of every line along each axis, at most `_POINTS_MAX` or so."""
    labels, count = ndimage.label(crop < LUNG_BELOW_HU)
    if count == 0:
        return np.zeros((0, 3))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    empty = np.bincount(labels.ravel(), weights=(crop < AIR_HU).ravel(), minlength=count + 1)
    is_lung = (sizes >= 0.02 * crop.size) & (empty < 0.5 * sizes)
    is_lung[0] = False
    lung = is_lung[labels]
    inner = ndimage.binary_erosion(lung, border_value=1)
    edge = np.argwhere(lung & ~inner)
    corners = np.argwhere(lung)
    spread = corners[:: max(1, len(corners) // _POINTS_MAX)]
    return np.concatenate([edge[:: max(1, len(edge) // _POINTS_MAX)], spread]).astype(np.float64)
