import numpy as np
import pytest

from models.lung_nodule_ct.patches import targets


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
