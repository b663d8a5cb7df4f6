"""Averaging a box of a volume down to larger voxels: what a fine feature weighs in a voxel is kept, noise is not."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Triple = tuple[float, float, float]
THREADS_MAX = 4


def mean_weights(start: float, step: float, count: int, length: int) -> NDArray[np.float32]:
    """(count, length) matrix: each row averages the samples that an output voxel covers.

    Output voxel i is `step` samples wide around start + step * i. Where step is below 1 the row
    interpolates linearly; outside 0 … length - 1 the nearest sample is taken.
    """
    center = np.clip(start + step * np.arange(count), 0, length - 1)[:, None]
    wide = max(step, 1.0)
    weights = np.clip((wide + 1) / 2 - np.abs(center - np.arange(length)[None]), 0, 1)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def resample_mean(
    voxels: NDArray[np.int16], start_index: Triple, step: Triple, shape: tuple[int, int, int]
) -> NDArray[np.int16]:
    """Averages of `voxels` in boxes of `step` samples around start_index + step * (i, j, k).

    Each output slice reads only the source slices that it covers; several threads share the slices.
    """
    along = [
        mean_weights(start_index[axis], step[axis], shape[axis], voxels.shape[axis]) for axis in range(3)
    ]
    used = [np.flatnonzero(weights.any(axis=0)) for weights in along]
    rows, columns = (slice(int(part[0]), int(part[-1]) + 1) for part in used[1:])
    # Few weights of a row are not 0. A dense product would also start threads of its own below each of ours.
    over_rows, over_columns = sparse.csr_array(along[1][:, rows]), sparse.csr_array(along[2][:, columns])
    result = np.empty(shape, np.int16)

    def fill(number: int) -> None:
        weights = along[0][number]
        plane = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        for source in np.flatnonzero(weights):
            plane += voxels[source, rows, columns] * weights[source]
        result[number] = np.rint((over_columns @ (over_rows @ plane).T).T)

    with ThreadPoolExecutor(min(THREADS_MAX, len(os.sched_getaffinity(0)))) as pool:
        list(pool.map(fill, range(shape[0])))
    return result
