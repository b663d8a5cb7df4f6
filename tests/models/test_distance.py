import numpy as np
import pytest
from scipy import ndimage

from models.ops.distance import between_mm, nearest_mm, within_mm

SAMPLING = (3.0, 2.1, 1.7)


@pytest.fixture(params=range(3))
def mask(request: pytest.FixtureRequest) -> np.ndarray:
    generator = np.random.default_rng(request.param)
    spots = generator.random((23, 31, 27)) > (0.9, 0.999, 0.9999)[request.param]
    spots[5, 6, 7] = True
    return spots


@pytest.mark.parametrize("limit_mm", [0.5, 6.0, 12.0, 200.0])
def test_what_lies_within_a_distance_is_what_the_transform_of_the_whole_says(
    mask: np.ndarray, limit_mm: float
) -> None:
    exact = ndimage.distance_transform_edt(~mask, sampling=SAMPLING)
    assert np.array_equal(within_mm(mask, limit_mm, SAMPLING), exact <= limit_mm)


def test_a_voxel_exactly_at_the_limit_counts() -> None:
    mask = np.zeros((9, 9, 9), np.bool_)
    mask[4, 4, 4] = True
    near = within_mm(mask, 12.0, (3.0, 3.0, 3.0))
    assert near[0, 4, 4]
    assert not near[0, 4, 3]


def test_the_nearest_voxel_is_as_far_as_the_transform_says(mask: np.ndarray) -> None:
    exact = ndimage.distance_transform_edt(~mask, sampling=SAMPLING)
    places = np.argwhere(np.ones_like(mask))[::7]
    assert nearest_mm(mask, places, SAMPLING) == pytest.approx(exact[tuple(places.T)])


def test_where_nothing_is_true_everything_is_far() -> None:
    nothing = np.zeros((3, 4, 5), np.bool_)
    assert not within_mm(nothing, 100.0, SAMPLING).any()
    assert nearest_mm(nothing, np.zeros((1, 3), np.intp), SAMPLING) == [np.inf]


def test_the_gap_between_two_masks_is_the_smallest_distance_of_the_transform(mask: np.ndarray) -> None:
    exact = ndimage.distance_transform_edt(~mask, sampling=SAMPLING)
    for corner in ((0, 0, 0), (12, 20, 3), (18, 5, 22)):
        block = np.zeros_like(mask)
        block[tuple(slice(start, start + 4) for start in corner)] = True
        assert between_mm(block, mask, SAMPLING) == pytest.approx(exact[block].min())


def test_the_gap_to_nothing_is_infinite() -> None:
    whole = np.ones((3, 4, 5), np.bool_)
    assert between_mm(whole, ~whole, SAMPLING) == np.inf
