"""The picture that the graph reads does not depend on window, film or margins."""

from __future__ import annotations

import numpy as np
import pytest

from models.chest_radiograph.preprocess import INPUT_PX, field_of_view, prepare, resized

RNG = np.random.default_rng(3)
SHAPE = (INPUT_PX, INPUT_PX)
PICTURE = (RNG.random(SHAPE) * 3000 + np.add.outer(np.arange(INPUT_PX), np.arange(INPUT_PX)) * 20).astype(
    np.uint16
)


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: pixels.astype(np.float64) ** 1.7,
        lambda pixels: np.log(pixels.astype(np.float64) + 40),
        lambda pixels: 1 / (1 + np.exp(-(pixels.astype(np.float64) - 4000) / 1500)),
    ],
    ids=["film", "logarithm", "sigmoid"],
)
def test_any_rising_curve_of_the_detector_gives_the_same_picture(change: object) -> None:
    plain, _ = prepare(PICTURE)
    curved, _ = prepare(change(PICTURE))  # type: ignore[operator]
    np.testing.assert_allclose(curved, plain, atol=0.01)
    assert 0 <= plain.min() < 0.05
    assert 0.95 < plain.max() <= 1


def test_margins_outside_the_collimator_are_cut_off() -> None:
    framed = np.full((400, 360), 65000, np.uint16)
    framed[60 : 60 + 224, 40 : 40 + 224] = PICTURE
    top, left, bottom, right = field_of_view(framed)
    assert abs(top - 60) <= 2
    assert abs(left - 40) <= 2
    assert abs(bottom - 284) <= 2
    assert abs(right - 264) <= 2


def test_a_blank_picture_is_not_cut_to_nothing() -> None:
    top, left, bottom, right = field_of_view(np.zeros((300, 300), np.uint16))
    assert bottom - top > 100
    assert right - left > 100


@pytest.mark.parametrize("factor", [0.7, 1.0, 2.4, 9.0])
def test_resizing_keeps_places_and_the_mean(factor: float) -> None:
    size = round(INPUT_PX * factor)
    ramp = np.add.outer(np.linspace(0, 1, size), 2 * np.linspace(0, 1, size)).astype(np.float32)
    small = resized(ramp, INPUT_PX)
    assert small.shape == SHAPE
    wanted = np.add.outer(np.linspace(0, 1, INPUT_PX), 2 * np.linspace(0, 1, INPUT_PX))
    np.testing.assert_allclose(small, wanted, atol=0.03)
