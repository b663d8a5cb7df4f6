"""How far a nodule's surface is from the edge of the lungs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.ops.distance import between_mm
from models.ops.lung_mask import LungMask


def pleura_distance_mm(
    mask: NDArray[np.bool_],
    origin: tuple[int, int, int],
    lungs: LungMask,
    spacing_mm: tuple[float, float, float],
) -> float:
    """Millimetres from the nodule's nearest voxel to the nearest place outside the lungs; 0 where it touches.

    The lungs' mask has samples of about 3 mm, and so has this distance; the mediastinum counts like the chest wall, a
    fissure does not count.
    """
    sample_mm = [step * size for step, size in zip(lungs.stride, spacing_mm, strict=True)]
    places = np.rint((np.argwhere(mask) + origin) / lungs.stride).astype(int)
    cells = np.zeros(lungs.mask.shape, np.bool_)
    cells[tuple(np.minimum(places, np.array(cells.shape) - 1).T)] = True
    # The sample beyond the outermost one lies outside the lungs.
    nearest = between_mm(np.pad(cells, 1), np.pad(~lungs.mask, 1, constant_values=True), sample_mm)
    # The centre of the outermost sample of the lungs lies one sample from the first outside them: it touches.
    return max(0.0, nearest - max(sample_mm))
