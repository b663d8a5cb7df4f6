import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ops.resample import resample_box


def test_the_same_grid_gives_the_same_voxels() -> None:
    voxels = np.random.default_rng(0).integers(-1000, 1000, (5, 6, 7)).astype(np.int16)
    assert np.array_equal(resample_box(voxels, (0, 0, 0), (1, 1, 1), (5, 6, 7)), voxels)


def test_a_linear_field_is_met_exactly_between_the_samples() -> None:
    z, y, x = np.mgrid[0:10, 0:12, 0:14]
    voxels = (40 * z + 20 * y - 8 * x).astype(np.int16)
    got = resample_box(voxels, (0.5, 1.0, 2.0), (0.5, 0.25, 0.75), (12, 20, 10))
    i, j, k = np.mgrid[0:12, 0:20, 0:10]
    wanted = 40 * (0.5 + 0.5 * i) + 20 * (1 + 0.25 * j) - 8 * (2 + 0.75 * k)
    assert np.array_equal(got, np.rint(wanted).astype(np.int16))


def test_outside_the_volume_the_nearest_voxel_is_repeated() -> None:
    voxels = np.arange(8, dtype=np.int16).reshape(2, 2, 2)
    got = resample_box(voxels, (-5.0, 0.0, 0.0), (1, 1, 1), (12, 2, 2))
    assert np.array_equal(got[:6], np.broadcast_to(voxels[0], (6, 2, 2)))
    assert np.array_equal(got[6:], np.broadcast_to(voxels[1], (6, 2, 2)))


@settings(max_examples=40, deadline=None)
@given(
    start=st.tuples(*[st.floats(-3, 8)] * 3),
    step=st.tuples(*[st.floats(0.2, 3)] * 3),
    seed=st.integers(0, 1000),
)
def test_no_value_leaves_the_range_of_the_source(
    start: tuple[float, float, float], step: tuple[float, float, float], seed: int
) -> None:
    voxels = np.random.default_rng(seed).integers(-1024, 3000, (6, 5, 7)).astype(np.int16)
    got = resample_box(voxels, start, step, (4, 5, 6))
    assert got.min() >= voxels.min()
    assert got.max() <= voxels.max()
