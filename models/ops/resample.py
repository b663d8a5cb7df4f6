"""Linear resampling of a box of a volume to another spacing, one slice at a time, on a few threads."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

# More wait for one another's memory bandwidth.
THREADS_MAX = 4
Weights = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]


def linear_weights(start: float, step: float, count: int, length: int) -> Weights:
    """For positions start, start + step, …: the lower and upper sample and the share of the upper.

    Positions outside 0 … length - 1 take the nearest sample.
    """
    position = np.clip(start + step * np.arange(count, dtype=np.float64), 0, length - 1)
    low = np.floor(position).astype(np.intp)
    high = np.minimum(low + 1, length - 1)
    return low, high, (position - low).astype(np.float32)


def resample_box(
    voxels: NDArray[np.int16],
    start_index: tuple[float, float, float],
    step: tuple[float, float, float],
    shape: tuple[int, int, int],
) -> NDArray[np.int16]:
    """Sample `voxels` at start_index + step * (i, j, k) for every (i, j, k) of `shape`.

    Indices and steps are in voxels of the source, (slice, row, column); a step below zero turns the axis around.
    Needs little memory beside the result: each output slice is made from two source slices.
    """
    slices, rows, columns = (
        linear_weights(start_index[axis], step[axis], shape[axis], voxels.shape[axis]) for axis in range(3)
    )
    first_row, last_row = int(rows[0].min()), int(rows[1].max()) + 1
    first_column, last_column = int(columns[0].min()), int(columns[1].max()) + 1
    part = voxels[:, first_row:last_row, first_column:last_column]
    row_low, row_high, row_share = rows[0] - first_row, rows[1] - first_row, rows[2][:, None]
    column_low, column_high, column_share = columns[0] - first_column, columns[1] - first_column, columns[2]
    result = np.empty(shape, np.int16)

    def fill(numbers: range) -> None:
        for number in numbers:
            low, high, share = slices[0][number], slices[1][number], slices[2][number]
            plane = part[low].astype(np.float32)
            if share > 0:
                plane += (part[high].astype(np.float32) - plane) * share
            below = plane.take(row_low, 0)
            plane = below + (plane.take(row_high, 0) - below) * row_share
            left = plane.take(column_low, 1)
            plane = left + (plane.take(column_high, 1) - left) * column_share
            result[number] = np.rint(plane)

    threads = min(THREADS_MAX, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        # Neighbours share a source slice, so each thread takes slices that lie together.
        edges = np.linspace(0, shape[0], threads + 1).astype(int)
        list(pool.map(fill, itertools.starmap(range, itertools.pairwise(edges.tolist()))))
    return result
