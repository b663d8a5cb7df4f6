import numpy as np
import pytest

from models.lung_nodule_ct.pasted_masses import paste_mass
from models.lung_nodule_ct.patches import Scene, coarse_scene, targets


def test_the_peak_of_the_heat_map_and_its_offset_lead_back_to_the_centre() -> None:
    center = np.array([[20.3, 31.9, 40.6]])
    heat, regression, weight = targets(center, np.array([9.0]), 32)
    peak = np.argwhere(heat == 1)
    assert len(peak) == 1
    place = tuple(peak[0])
    found = (peak[0] + regression[:3, *place]) * 2 + 0.5
    assert found == pytest.approx(center[0], abs=1e-4)
    assert np.exp(regression[3, *place]) == pytest.approx(9.0, rel=1e-5)
    assert weight[place] == 1


def test_a_patch_without_nodules_is_cold() -> None:
    heat, _, weight = targets(np.zeros((0, 3)), np.zeros(0), 16)
    assert heat.max() == weight.max() == 0


def ball_scene(center: tuple[float, float, float], diameter: float) -> Scene:
    grid = np.ogrid[0:96, 0:96, 0:96]
    distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, center, strict=True)))
    voxels = np.where(distance <= diameter / 2, 40, -850).astype(np.int16)
    places = np.zeros((1, 3), np.int64)
    return Scene(voxels, np.array([center]), np.array([diameter]), places, places)


@pytest.mark.parametrize("slice_mm", [1, 5])
def test_a_mass_keeps_its_place_and_size_on_the_coarser_grid(slice_mm: int) -> None:
    center, factor = (45.0, 38.0, 57.0), 4
    scene = coarse_scene(ball_scene(center, 40.0), factor, slice_mm)
    weight = np.clip(scene.voxels + 850, 0, None).astype(float)
    middle = [float((weight * axis).sum() / weight.sum()) for axis in np.indices(scene.voxels.shape)]
    assert scene.centers[0] == pytest.approx(middle, abs=0.15)
    assert scene.diameters[0] == 10.0
    assert scene.voxels.shape == (24, 24, 24)


def test_a_nodule_is_background_where_masses_are_sought() -> None:
    assert len(coarse_scene(ball_scene((45.0, 38.0, 57.0), 12.0), 4).centers) == 0


def test_a_pasted_mass_is_where_it_says() -> None:
    rng = np.random.default_rng(3)
    image = np.full((40, 40, 40), 0.1, np.float32)
    before = image.copy()
    pasted = next(found for found in (paste_mass(rng, image, 4.0) for _ in range(50)) if found)
    changed = image - before > 0.35
    middle = np.array([axis.mean() for axis in np.nonzero(changed)])
    assert middle == pytest.approx(pasted[0], abs=1.0)
    assert np.cbrt(6 * changed.sum() / np.pi) == pytest.approx(pasted[1], rel=0.15)


def test_nothing_is_pasted_where_there_is_no_lung() -> None:
    image = np.full((20, 20, 20), 0.65, np.float32)
    assert paste_mass(np.random.default_rng(0), image, 4.0) is None
    assert (image == np.float32(0.65)).all()
