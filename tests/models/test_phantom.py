import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from models.lung_nodule_ct import dataset, phantom_tumours
from models.lung_nodule_ct.phantom import Phantom, make_phantom
from models.lung_nodule_ct.phantom_anatomy import make_chest
from models.lung_nodule_ct.phantom_lesions import Lesion
from models.lung_nodule_ct.phantom_scanner import draw_scanner, scan
from models.lung_nodule_ct.phantom_style import HELD_OUT, TRAINING, Style
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
    assert set(dataset.FIRST_SEED) >= {
        "train",
        "validation",
        "mass_validation",
        "varied_validation",
        "heldout",
    }
    assert min(b - a for a, b in itertools.pairwise(firsts)) >= 1000


def test_the_held_out_generator_shares_no_range_with_the_one_for_training() -> None:
    same = [
        field.name
        for field in dataclasses.fields(Style)
        if getattr(TRAINING, field.name) == getattr(HELD_OUT, field.name)
    ]
    assert same == []


def test_a_held_out_phantom_is_a_chest_and_is_read_back_with_its_scanner(tmp_path: Path) -> None:
    phantom = make_phantom(
        78, spacing_mm=(2.5, 1.0, 1.0), slice_thickness_mm=2.5, nodule_count=4, mass_count=1,
        large_lookalikes=True, style=HELD_OUT,
    )  # fmt: skip
    assert find_lungs(phantom.voxels, phantom.spacing_mm) is not None
    assert max(nodule.diameter_mm for nodule in phantom.truth) >= 25
    dataset.write(tmp_path / "heldout_78.npz", phantom)
    again = dataset.read(tmp_path / "heldout_78.npz")
    assert (again.slice_thickness_mm, again.sharpness, again.style) == (2.5, phantom.sharpness, "held out")
    assert again.truth == phantom.truth


def test_a_mass_replaces_lung_where_the_truth_says() -> None:
    made = make_phantom(79, spacing_mm=(2.0, 1.0, 1.0), nodule_count=0, mass_count=1)
    without = make_phantom(79, spacing_mm=(2.0, 1.0, 1.0), nodule_count=0, mass_count=0)
    (mass,) = made.truth
    assert mass.diameter_mm >= 25
    changed = (made.voxels.astype(int) - without.voxels) > 400
    middle = np.array([axis.mean() for axis in np.nonzero(changed)])
    off_mm = np.linalg.norm((middle - mass.center_index) * made.spacing_mm)
    assert off_mm < mass.diameter_mm / 4
    seen_mm = np.cbrt(6 * changed.sum() * np.prod(made.spacing_mm) / np.pi)
    assert seen_mm == pytest.approx(mass.diameter_mm, rel=0.25)


def test_the_truth_of_a_central_tumour_is_the_tumour_and_not_the_lung_that_collapsed_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape = (200, 224, 300)

    def drawn(share: float) -> tuple[np.ndarray, Lesion | None]:
        monkeypatch.setattr(phantom_tumours, "COLLAPSED_SHARE", share)
        chest = make_chest(np.random.default_rng(3), shape)
        before = chest.hu.copy()
        lesion = phantom_tumours.draw_central_tumour(np.random.default_rng(5), chest)
        return (chest.hu - before > 400) & (chest.lung > 0.5), lesion

    (alone, tumour), (with_lung, same) = drawn(0.0), drawn(1.0)
    assert tumour is not None
    assert same is not None
    assert same.center == pytest.approx(tumour.center)
    assert same.diameter_mm == tumour.diameter_mm
    assert np.argwhere(alone).mean(axis=0) == pytest.approx(tumour.center, abs=2)
    assert np.cbrt(6 * alone.sum() / np.pi) == pytest.approx(tumour.diameter_mm, rel=0.1)
    # What collapsed is much, and lies to one side.
    assert with_lung.sum() > 1.2 * alone.sum()
    assert np.linalg.norm(np.argwhere(with_lung).mean(axis=0) - tumour.center) > 5
    near, far = sorted(
        abs(hilum[2] - tumour.center[2]) for hilum in make_chest(np.random.default_rng(3), shape).hila
    )
    assert near < 45 < far


def test_a_breath_moves_what_lies_in_its_slices_and_the_truth_with_it() -> None:
    """A bright voxel in every tenth slice: where the scan shows it, the truth says it is."""
    chest = np.full((120, 64, 64), -800, np.float32)
    chest[::10, 30, 30] = 3000
    scanner = draw_scanner(np.random.default_rng(0), (1.0, 1.0, 1.0), 1.0, HELD_OUT)
    scanner = dataclasses.replace(scanner, noise_hu=0.0)
    shifts = set()
    for seed in range(12):
        voxels, breath = scan(np.random.default_rng(seed), chest, scanner)
        for z in range(0, 110, 10):
            true = breath.moved(np.array([float(z), 30.0, 30.0]))
            assert np.unravel_index(voxels[z].argmax(), voxels[z].shape) == (true[1], true[2])
            shifts.add(float(true[1] - 30))
    assert {0.0} < shifts <= {0.0, 1.0, 2.0, 3.0}
