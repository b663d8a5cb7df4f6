import numpy as np
from numpy.typing import NDArray

from models.ops.lung_mask import find_lungs


def body(lung_hu: int = -850) -> NDArray[np.int16]:
    """A body with two lungs of 0.5 l each in air, 2 mm voxels."""
    voxels = np.full((80, 100, 140), -1000, np.int16)
    voxels[:, 10:90, 10:130] = 40
    voxels[10:70, 30:72, 25:50] = lung_hu
    voxels[10:70, 30:72, 85:110] = lung_hu
    return voxels


def test_both_lungs_are_found_and_the_air_around_the_body_is_not() -> None:
    lungs = find_lungs(body(), (2.0, 2.0, 2.0))
    assert lungs is not None
    assert abs(lungs.volume_ml - 2 * 60 * 42 * 25 * 8 / 1000) < 60
    (z0, z1), (y0, y1), (x0, x1) = lungs.box((0, 0, 0), (80, 100, 140))
    assert (z0 <= 11, z1 >= 68, z0 > 5, z1 < 75) == (True, True, True, True)
    assert 25 < x0 + 3 < 32
    assert 105 < x1 < 118
    assert 26 < y0 < 34
    assert 68 < y1 < 78


def test_a_nodule_at_the_wall_of_the_chest_belongs_to_the_mask() -> None:
    voxels = body()
    voxels[35:43, 45:53, 25:31] = 40  # 16 mm wide, 12 mm deep, on the chest wall
    lungs = find_lungs(voxels, (2.0, 2.0, 2.0))
    assert lungs is not None
    assert lungs.mask[39 // lungs.stride[0], 49 // lungs.stride[1], 28 // lungs.stride[2]]


def test_gas_in_the_bowel_is_no_lung() -> None:
    voxels = np.full((60, 100, 100), 40, np.int16)
    voxels[10:50, 20:60, 20:60] = -990
    assert find_lungs(voxels, (2.0, 2.0, 2.0)) is None


def test_water_and_air_hold_no_lungs() -> None:
    assert find_lungs(np.zeros((40, 64, 64), np.int16), (2.0, 2.0, 2.0)) is None
    assert find_lungs(np.full((40, 64, 64), -1000, np.int16), (2.0, 2.0, 2.0)) is None
