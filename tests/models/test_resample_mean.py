from __future__ import annotations

import numpy as np
import pytest

from models.ops.resample import resample_box
from models.ops.resample_mean import mean_weights, resample_mean


def test_each_output_voxel_averages_the_samples_that_it_covers() -> None:
    voxels = np.random.default_rng(0).integers(-1000, 400, (12, 16, 20)).astype(np.int16)
    made = resample_mean(voxels, (1.0, 1.5, 0.5), (3.0, 4.0, 2.0), (4, 4, 10))
    blocks = voxels.reshape(4, 3, 4, 4, 10, 2).mean(axis=(1, 3, 5))
    assert np.abs(made - blocks).max() <= 0.51


def test_a_finer_grid_is_interpolated_linearly() -> None:
    voxels = np.random.default_rng(1).integers(-1000, 400, (4, 9, 9)).astype(np.int16)
    start, step, shape = (0.25, 1.5, 0.0), (0.4, 0.3, 0.5), (7, 12, 15)
    difference = resample_mean(voxels, start, step, shape) - resample_box(voxels, start, step, shape)
    assert np.abs(difference).max() <= 1  # the two round sums of another order


@pytest.mark.parametrize("start", [-30.0, 30.0])
def test_outside_the_volume_the_edge_is_repeated(start: float) -> None:
    weights = mean_weights(start, 2.0, 3, 10)
    assert np.allclose(weights.sum(axis=1), 1)
    assert weights[:, 0 if start < 0 else 9].min() > 0.6
