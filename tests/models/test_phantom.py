import itertools

import numpy as np
import pytest

from models.lung_nodule_ct import dataset
from models.lung_nodule_ct.phantom import Phantom, make_phantom
from models.ops.lung_mask import find_lungs


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(77, spacing_mm=(2.0, 1.0, 1.0), nodule_count=6)


def test_the_same_seed_gives_the_same_chest(phantom: Phantom) -> None:
    again = make_phantom(77, spacing_mm=(2.0, 1.0, 1.0), nodule_count=6)
    assert np.array_equal(again.voxels, phantom.voxels)
    assert again.truth == phantom.truth


def test_it_looks_like_a_chest_in_hounsfield_units(phantom: Phantom) -> None:
    assert phantom.voxels.dtype == np.int16
    assert phantom.voxels.shape == (120, 256, 320)
    lungs = find_lungs(phantom.voxels, phantom.spacing_mm)
    assert lungs is not None
    assert 2000 < lungs.volume_ml < 8000
    assert (phantom.voxels > 250).sum() > 10_000  # bone


def test_nodules_lie_in_the_lungs_and_are_denser_than_lung(phantom: Phantom) -> None:
    lungs = find_lungs(phantom.voxels, phantom.spacing_mm)
    assert lungs is not None
    assert len(phantom.truth) == 6
    for nodule in phantom.truth:
        index = np.round(nodule.center_index).astype(int)
        assert lungs.mask[tuple(np.minimum(index // lungs.stride, np.array(lungs.mask.shape) - 1))]
        assert 3.8 <= nodule.diameter_mm <= 30
        around = phantom.voxels[tuple(slice(max(i - 1, 0), i + 2) for i in index)]
        assert np.median(around) > -820


def test_training_validation_and_test_never_share_a_seed() -> None:
    firsts = sorted(dataset.FIRST_SEED.values())
    assert min(b - a for a, b in itertools.pairwise(firsts)) >= 1000
