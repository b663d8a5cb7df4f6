"""Overlap and surface distance against counting by brute force."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from models.evaluation.dice import dice, surface_distance


def ball(center: tuple[float, float, float], radius: float) -> NDArray[np.bool_]:
    grid = np.ogrid[:16, :20, :24]
    return np.asarray(sum((g - c) ** 2 for g, c in zip(grid, center, strict=True)) <= radius**2)


def surface(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Voxels with a neighbour by a face that is outside, voxel by voxel."""
    padded = np.pad(mask, 1)
    around = [(axis, step) for axis in range(3) for step in (-1, 1)]
    return np.array([
        index for index in np.argwhere(mask)
        if any(not padded[tuple(index + 1 + np.eye(3, dtype=int)[axis] * step)] for axis, step in around)
    ])  # fmt: skip


def test_dice_of_half_overlapping_boxes_is_a_half() -> None:
    first, second = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    first[:2], second[1:3] = True, True
    assert dice(first, second) == 0.5


def test_two_empty_masks_have_nothing_to_agree_on() -> None:
    empty = np.zeros((3, 3, 3), bool)
    assert math.isnan(dice(empty, empty))
    assert math.isnan(surface_distance(empty, empty, (1, 1, 1)).mean_mm)


def test_a_missed_structure_is_infinitely_far() -> None:
    empty, there = np.zeros((16, 20, 24), bool), ball((8, 10, 12), 3)
    assert dice(empty, there) == 0
    assert surface_distance(empty, there, (1, 1, 1)).p95_mm == math.inf


def test_surface_distances_are_those_of_all_pairs() -> None:
    spacing = (2.0, 0.7, 0.9)
    first, second = ball((7, 9, 11), 4.5), ball((8, 10, 13), 5.2)
    points = [surface(mask) * np.array(spacing) for mask in (first, second)]
    pairs = cdist(*points)
    pooled = np.concatenate([pairs.min(axis=1), pairs.min(axis=0)])
    found = surface_distance(first, second, spacing)
    assert found.mean_mm == pytest.approx(pooled.mean())
    assert found.p95_mm == pytest.approx(np.quantile(pooled, 0.95))
    assert found.max_mm == pytest.approx(pooled.max())


def test_equal_masks_that_touch_the_edge_are_at_no_distance() -> None:
    mask = np.ones((4, 5, 6), bool)
    assert surface_distance(mask, mask, (1, 1, 1)).max_mm == 0
    assert dice(mask, mask) == 1
