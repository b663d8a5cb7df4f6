import numpy as np
import pytest

from models.lung_nodule_ct.froc import Marked, Real, match
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


def test_froc_of_a_case_counted_by_hand() -> None:
    truths = [Real((0, 0, 0), 10, "solid"), Real((50, 0, 0), 6, "solid")]
    marks = [
        Marked((1, 1, 0), 9, 0.9),  # hit
        Marked((0, 3, 0), 9, 0.8),  # second hit on the same nodule: counts as nothing
        Marked((50, 4, 0), 6, 0.7),  # 4 mm from a nodule of 3 mm radius: false positive
        Marked((50, 1, 0), 6, 0.6),  # hit, found after one false positive
    ]
    result = match([(marks, truths)])
    assert result.false_positive_scores.tolist() == [0.7]
    assert result.sensitivity(result.threshold_at(0.5)) == 0.5
    assert result.sensitivity(result.threshold_at(1.0)) == 1.0
    assert result.false_positives_per_scan(0.65) == 1.0
