"""Greedy suppression of detections that mark the same place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def suppress_neighbours(
    centers_mm: NDArray[np.float64], diameters_mm: NDArray[np.float64], scores: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Indices that remain, highest score first.

    Of two detections the weaker is dropped when its centre lies within the radius of the larger one.
    """
    kept: list[int] = []
    for candidate in np.argsort(-scores, kind="stable"):
        distance = np.linalg.norm(centers_mm[kept] - centers_mm[candidate], axis=1)
        reach = np.maximum(diameters_mm[kept], diameters_mm[candidate]) / 2
        if not (distance < reach).any():
            kept.append(int(candidate))
    return np.array(kept, np.intp)
