from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.ops.characterise import Detection, characterise

Make = Callable[..., Any]
SPACING = (1.25, 0.7, 0.7)
CENTER = (24.0, 50.0, 60.0)


def test_a_ball_is_measured_in_millimetres(make_volume: Make, ball: Make) -> None:
    volume = make_volume(ball((50, 100, 120), CENTER, 14.0, SPACING), SPACING)
    finding = characterise(volume, Detection(CENTER, 13.0, 0.8), 1)
    assert finding.long_axis_mm == pytest.approx(14, abs=0.9)
    assert finding.short_axis_mm == pytest.approx(14, abs=0.9)
    assert finding.mean_diameter_mm == (finding.long_axis_mm + finding.short_axis_mm) / 2
    assert finding.volume_mm3 == pytest.approx(np.pi / 6 * 14**3, rel=0.12)
    assert finding.mean_hu == pytest.approx(0, abs=60)
    assert finding.center_lps_mm == pytest.approx((-100 + 60 * 0.7, -80 + 50 * 0.7, -300 + 24 * 1.25))
    assert abs(finding.slice_index - 24) <= 1
    assert finding.slice_sop_instance_uid == f"1.2.3.{finding.slice_index}"
    low, high = np.array(finding.bbox_lps_mm[:3]), np.array(finding.bbox_lps_mm[3:])
    assert ((low < finding.center_lps_mm) & (finding.center_lps_mm < high)).all()
    assert high - low == pytest.approx([14, 14, 14], abs=1.8)


@pytest.mark.parametrize(("diameter_mm", "label"), [(24.0, "Pulmonary nodule"), (36.0, "Pulmonary mass")])
def test_what_measures_more_than_three_centimetres_is_a_mass(
    make_volume: Make, ball: Make, diameter_mm: float, label: str
) -> None:
    volume = make_volume(ball((50, 100, 120), CENTER, diameter_mm, SPACING), SPACING)
    assert characterise(volume, Detection(CENTER, diameter_mm, 0.8), 1).label == label


def test_the_axes_lie_on_the_measured_slice(make_volume: Make, ball: Make) -> None:
    volume = make_volume(ball((50, 100, 120), CENTER, 14.0, SPACING), SPACING)
    finding = characterise(volume, Detection(CENTER, 14.0, 0.8), 1)
    ends = np.array([*finding.long_axis_lps_mm, *finding.short_axis_lps_mm])
    index = volume.to_index(ends)
    assert index[:, 0] == pytest.approx([finding.slice_index] * 4)
    assert np.linalg.norm(ends[0] - ends[1]) == pytest.approx(finding.long_axis_mm)
    assert np.linalg.norm(ends[2] - ends[3]) == pytest.approx(finding.short_axis_mm)


def test_the_same_patient_in_a_mirrored_grid_gives_the_same_finding(make_volume: Make, ball: Make) -> None:
    voxels = ball((50, 100, 120), CENTER, 14.0, SPACING)
    straight = make_volume(voxels, SPACING)
    columns = np.array([[0, 0, -1], [0, -1, 0], [1, 0, 0]], float)
    far = straight.to_lps_mm(np.array([0.0, 99.0, 119.0]))
    mirrored = make_volume(np.ascontiguousarray(voxels[:, ::-1, ::-1]), SPACING, columns, tuple(far))
    one = characterise(straight, Detection(CENTER, 14.0, 0.8), 1)
    other = characterise(mirrored, Detection((24.0, 49.0, 59.0), 14.0, 0.8), 1)
    assert other.center_lps_mm == pytest.approx(one.center_lps_mm)
    assert other.bbox_lps_mm == pytest.approx(one.bbox_lps_mm)
    assert other.volume_mm3 == pytest.approx(one.volume_mm3)
    assert other.mean_hu == pytest.approx(one.mean_hu)


def test_the_tracking_uid_is_the_same_whenever_it_is_made(make_volume: Make, ball: Make) -> None:
    volume = make_volume(ball((50, 100, 120), CENTER, 14.0, SPACING), SPACING)
    uids = {characterise(volume, Detection(CENTER, 14.0, 0.8), n).tracking_uid for n in (1, 2)}
    assert len(uids) == 1
    assert uids.pop().startswith("2.25.")
    moved = characterise(volume, Detection((24.0, 52.0, 60.0), 14.0, 0.8), 1)
    assert moved.tracking_uid not in uids
