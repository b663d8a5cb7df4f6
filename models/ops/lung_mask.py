"""Where the lungs are, coarsely: on a strided copy of the volume, in tens of milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.ops.distance import within_mm

AIR_BELOW_HU = -400
SAMPLE_MM = 3.0
LUNG_VOLUME_MIN_ML = 80.0
# Lung tissue lies between these; gas in the bowel and air around the body lie below.
TISSUE_HU = (-940, -500)
TISSUE_SHARE_MIN = 0.25
# Of a small part more must be tissue: loops of bowel are walls around gas, emphysema fills large parts.
SMALL_BELOW_ML, SMALL_TISSUE_SHARE_MIN = 400.0, 0.6
CLOSING_MM = 12.0
# Of all lung-like parts, those smaller than this share of the largest are dropped.
LARGEST_SHARE_MIN = 0.05


@dataclass(frozen=True)
class LungMask:
    """mask: bool on every `stride`-th voxel of the volume, (slice, row, column).

    Holes and bays up to about 24 mm wide, such as nodules at the chest wall, belong to the mask.
    """

    mask: NDArray[np.bool_]
    stride: tuple[int, int, int]
    volume_ml: float

    def box(self, margin: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """(start, stop) in voxels of the volume along each axis, widened by `margin`."""
        limits = []
        for axis, (step, extra, length) in enumerate(zip(self.stride, margin, shape, strict=True)):
            others = tuple(other for other in range(3) if other != axis)
            used = np.flatnonzero(self.mask.any(axis=others))
            limits.append(
                (max(int(used[0]) * step - extra, 0), min((int(used[-1]) + 1) * step + extra, length))
            )
        return tuple(limits)


def find_lungs(
    voxels: NDArray[np.int16],
    spacing_mm: tuple[float, float, float],
    *,
    closed: bool = True,
    volume_min_ml: float = LUNG_VOLUME_MIN_ML,
) -> LungMask | None:
    """The lungs of a CT in HU, or None when nothing looks like one.

    closed: whether holes and bays are filled; who only wants to know where the lungs are saves most of the time.
    volume_min_ml: of one connected part; of lungs that the scan only grazes little is there.
    """
    stride = tuple(max(1, round(SAMPLE_MM / step)) for step in spacing_mm)
    coarse = voxels[:: stride[0], :: stride[1], :: stride[2]]
    sample_mm = [step * size for step, size in zip(stride, spacing_mm, strict=True)]
    sample_ml = float(np.prod(sample_mm)) / 1000
    labels, count = ndimage.label(coarse < AIR_BELOW_HU)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    tissue = (coarse > TISSUE_HU[0]) & (coarse < TISSUE_HU[1])
    tissue_sizes = np.bincount(labels[tissue], minlength=count + 1)
    share_min = np.where(sizes * sample_ml < SMALL_BELOW_ML, SMALL_TISSUE_SHARE_MIN, TISSUE_SHARE_MIN)
    lung = (sizes * sample_ml >= volume_min_ml) & (tissue_sizes >= share_min * sizes)
    lung[0] = False
    if not lung.any():
        return None
    lung &= sizes >= LARGEST_SHARE_MIN * sizes[lung].max()
    mask = lung[labels]
    volume_ml = float(mask.sum()) * sample_ml
    whole = _close(mask, sample_mm) if closed else mask
    return LungMask(whole, (stride[0], stride[1], stride[2]), volume_ml)


def _close(mask: NDArray[np.bool_], sample_mm: list[float]) -> NDArray[np.bool_]:
    """Morphological closing with a ball."""
    pad = [int(np.ceil(CLOSING_MM / step)) + 1 for step in sample_mm]
    padded = np.pad(mask, [(size, size) for size in pad])
    closed = ~within_mm(~within_mm(padded, CLOSING_MM, sample_mm), CLOSING_MM, sample_mm)
    inner = tuple(slice(size, -size) for size in pad)
    return np.asarray(closed[inner] | mask, np.bool_)
