from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.ops.segment_nodule import segment_nodule

Ball = Callable[..., Any]


@pytest.mark.parametrize("diameter", [5.0, 8.0, 15.0, 28.0])
@pytest.mark.parametrize("hu", [30.0, -550.0])
def test_a_ball_is_segmented_with_its_volume(ball: Ball, diameter: float, hu: float) -> None:
    spacing = (1.0, 0.7, 0.7)
    center = (30.2, 45.4, 44.8)
    voxels = ball((60, 90, 90), center, diameter, spacing, hu=hu)
    region = segment_nodule(voxels, spacing, np.array(center), diameter)
    volume = region.mask.sum() * np.prod(spacing)
    assert volume == pytest.approx(np.pi / 6 * diameter**3, rel=0.12)
    middle = np.argwhere(region.mask).mean(axis=0) + region.origin
    assert np.abs((middle - center) * spacing).max() < 0.5


def test_a_wrong_diameter_still_gives_the_right_edge(ball: Ball) -> None:
    voxels = ball((60, 60, 60), (30, 30, 30), 12.0)
    region = segment_nodule(voxels, (1.0, 1.0, 1.0), np.array([30.4, 29.6, 30.3]), 14.0)
    assert region.mask.sum() == pytest.approx(np.pi / 6 * 12**3, rel=0.1)


def test_a_vessel_that_runs_into_the_nodule_is_cut_off(ball: Ball) -> None:
    voxels = ball((60, 60, 60), (30, 30, 30), 12.0)
    voxels[29:32, 29:32, :] = 30
    region = segment_nodule(voxels, (1.0, 1.0, 1.0), np.array([30.0, 30.0, 30.0]), 12.0)
    assert region.mask.shape[2] <= 14
    assert region.mask.sum() == pytest.approx(np.pi / 6 * 12**3, rel=0.12)


def test_thick_slices_are_measured_in_millimetres(ball: Ball) -> None:
    spacing = (3.0, 0.8, 0.8)
    voxels = ball((30, 60, 60), (15, 30, 30), 18.0, spacing)
    region = segment_nodule(voxels, spacing, np.array([15.0, 30.0, 30.0]), 18.0)
    assert region.mask.sum() * np.prod(spacing) == pytest.approx(np.pi / 6 * 18**3, rel=0.15)


def test_where_nothing_stands_out_the_predicted_ball_is_taken() -> None:
    voxels = np.full((40, 40, 40), -850, np.int16)
    region = segment_nodule(voxels, (1.0, 1.0, 1.0), np.array([20.0, 20.0, 20.0]), 10.0)
    assert region.mask.sum() == pytest.approx(np.pi / 6 * 10**3, rel=0.1)


@pytest.mark.parametrize("center", [(0.0, 0.0, 0.0), (39.4, 39.4, 39.4), (-0.4, 20.0, 39.4)])
def test_a_nodule_at_the_edge_of_the_volume_has_a_region(center: tuple[float, float, float]) -> None:
    voxels = np.random.default_rng(0).integers(-900, 100, (40, 40, 40)).astype(np.int16)
    region = segment_nodule(voxels, (1.0, 1.0, 1.0), np.array(center), 6.0)
    assert region.mask.any()
    assert min(region.origin) >= 0
    assert all(o + n <= 40 for o, n in zip(region.origin, region.mask.shape, strict=True))
