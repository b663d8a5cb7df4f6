"""What a segmented nodule consists of: solid tissue, ground glass, calcium; and the solid part of a part-solid one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.ops.measure_axes import measure_axes
from study.nodule import NoduleKind

Spacing = tuple[float, float, float]

# Soft tissue with an edge blurred against ground glass stands above this; calcium above that, where contrast medium
# does not come.
SOLID_ABOVE_HU, CALCIUM_ABOVE_HU = -300.0, 200.0
# Calcified: this share of the nodule is (diffuse or central calcium; a fleck is not enough).
CALCIUM_SHARE_MIN = 0.08
# Of the voxels off the blurred edge: above the first share the nodule is solid, below the second ground glass.
SOLID_SHARE_MIN, SOLID_SHARE_NONE = 0.72, 0.04
# A denser spot that is smaller than this is as likely a vessel (Fleischner 2017 measures solid parts from 3 mm).
SOLID_PART_MIN_MM = 2.5
OPENING_SHARE, OPENING_MAX_MM = 0.4, 2.0
# Slices thicker than this share of the nodule mix it with lung: solid tissue then looks like ground glass.
SLICE_SHARE_MAX = 0.5
EDGE_MM = 1.0
NOISE_BLUR_MM = 0.5
WORK_VOXELS_MAX = 250_000


@dataclass(frozen=True)
class Composition:
    """kind: None where the slices are too thick to tell. solid_*_mm: of the solid part where the nodule is part-solid,
    on the axial slice where it is largest.
    """

    kind: NoduleKind | None
    solid_long_mm: float | None = None
    solid_short_mm: float | None = None


def classify_nodule(
    hu: NDArray[np.int16],
    mask: NDArray[np.bool_],
    spacing_mm: Spacing,
    slice_thickness_mm: float | None,
) -> Composition:
    """hu: the nodule's box (slice, row, column); mask: its voxels there. A large one is judged by every n-th voxel."""
    stride = int(np.ceil(np.cbrt(mask.size / WORK_VOXELS_MAX)))
    steps = [min(stride, max(1, length // 16)) for length in mask.shape]
    nth = tuple(slice(None, None, step) for step in steps)
    z, y, x = (step * size for step, size in zip(steps, spacing_mm, strict=True))
    return _classify(hu[nth], mask[nth], (z, y, x), max(slice_thickness_mm or 0.0, spacing_mm[0]))


def _classify(
    hu: NDArray[np.int16], mask: NDArray[np.bool_], spacing_mm: Spacing, slice_mm: float
) -> Composition:
    smooth = ndimage.gaussian_filter(
        hu.astype(np.float32), [NOISE_BLUR_MM / step for step in spacing_mm], truncate=2
    )
    if float((smooth[mask] > CALCIUM_ABOVE_HU).mean()) >= CALCIUM_SHARE_MIN:
        return Composition(NoduleKind.CALCIFIED)
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    inner = depth > min(EDGE_MM + max(spacing_mm) / 2, 0.5 * float(depth.max()))
    dense = (smooth > SOLID_ABOVE_HU) & mask
    share = float(dense[inner].mean())
    if share >= SOLID_SHARE_MIN:
        return Composition(NoduleKind.SOLID)
    size = float(np.cbrt(6 * mask.sum() * float(np.prod(spacing_mm)) / np.pi))
    if slice_mm > SLICE_SHARE_MAX * size:
        return Composition(None)
    solid = _solid_part(dense, spacing_mm) if share > SOLID_SHARE_NONE else None
    if solid is None:
        return Composition(NoduleKind.GROUND_GLASS)
    return Composition(NoduleKind.PART_SOLID, *solid)


def _solid_part(dense: NDArray[np.bool_], spacing_mm: Spacing) -> tuple[float, float] | None:
    """Long and short axis of the largest dense part; None where it is no more than a vessel."""
    # Opened: the blurred edge of a chest wall and small vessels are thin.
    depth = ndimage.distance_transform_edt(np.pad(dense, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    size = min(OPENING_SHARE * float(depth.max()), OPENING_MAX_MM)
    labels, count = ndimage.label(depth > size)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    core = labels == int(sizes.argmax())
    part = dense & (ndimage.distance_transform_edt(~core, sampling=spacing_mm) <= size)
    plane = int(np.argmax(part.sum(axis=(1, 2))))
    axes = measure_axes(part[plane], spacing_mm[1:])
    if (axes.long_mm + axes.short_mm) / 2 < SOLID_PART_MIN_MM:
        return None
    return axes.long_mm, axes.short_mm
