from __future__ import annotations

import numpy as np

from models.lung_ct_segmentation.dataset import FIRST_SEED
from models.lung_ct_segmentation.lobes import NAMES
from models.lung_ct_segmentation.phantom import make_phantom
from models.lung_ct_segmentation.phantom_style import HELD_OUT, TRAIN
from models.lung_ct_segmentation.scenes import shares


def test_a_phantom_has_five_lobes_of_possible_sizes_in_their_places() -> None:
    for seed in (3, 4, 5):
        phantom = make_phantom(seed, style=TRAIN, grid_mm=4.0)
        litres = np.bincount(phantom.labels.ravel(), minlength=6)[1:] * 4.0**3 / 1e6
        assert 1.5 < litres.sum() < 11
        assert litres.min() > 0.05
        middle = {label: np.argwhere(phantom.labels == label).mean(axis=0) for label in NAMES}
        for lower, upper in ((3, 1), (5, 4)):
            assert middle[lower][0] < middle[upper][0], "lower lobes lie below"
            assert middle[lower][1] > middle[upper][1], "and behind"
        assert middle[2][1] < middle[3][1]
        assert max(middle[label][2] for label in (1, 2, 3)) < min(middle[label][2] for label in (4, 5))


def test_lobes_look_like_lung_and_the_rest_does_not() -> None:
    phantom = make_phantom(11, style=HELD_OUT, grid_mm=4.0)
    inside = phantom.voxels[phantom.labels > 0]
    assert np.median(inside) < -700
    assert np.mean(phantom.voxels[phantom.labels == 0] > -300) > 0.4


def test_the_same_seed_makes_the_same_phantom_and_splits_share_none() -> None:
    first, second = (make_phantom(7, style=TRAIN, grid_mm=5.0) for _ in range(2))
    assert np.array_equal(first.voxels, second.voxels)
    assert np.array_equal(first.labels, second.labels)
    starts = sorted(FIRST_SEED.values())
    assert np.diff(starts).min() >= 10_000


def test_shares_count_the_voxels_of_each_label() -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[:, :, 1:] = 5
    found = shares(labels)
    assert found.shape == (6, 2, 2, 2)
    assert np.allclose(found[0, :, :, 0], 0.5)
    assert np.allclose(found[5, :, :, 1], 1.0)
    assert np.allclose(found.sum(axis=0), 1.0)
