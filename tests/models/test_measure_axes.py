import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.ops.measure_axes import measure_axes


def test_an_ellipse_has_its_two_axes() -> None:
    y, x = np.mgrid[0:80, 0:80]
    mask = ((y - 40) / 15) ** 2 + ((x - 40) / 30) ** 2 <= 1
    axes = measure_axes(mask, (0.5, 0.5))
    assert axes.long_mm == pytest.approx(30, abs=0.7)
    assert axes.short_mm == pytest.approx(15, abs=0.7)


def test_a_turned_ellipse_has_the_same_axes() -> None:
    y, x = np.mgrid[0:120, 0:120] - 60.0
    u, v = 0.8 * x + 0.6 * y, -0.6 * x + 0.8 * y
    axes = measure_axes((u / 40) ** 2 + (v / 20) ** 2 <= 1, (0.5, 0.5))
    assert axes.long_mm == pytest.approx(40, abs=0.8)
    assert axes.short_mm == pytest.approx(20, abs=0.8)


def test_one_voxel_is_one_voxel_wide() -> None:
    axes = measure_axes(np.ones((1, 1), bool), (0.7, 0.7))
    assert axes.long_mm == pytest.approx(0.7)
    assert axes.short_mm <= axes.long_mm


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        measure_axes(np.zeros((3, 3), bool), (1, 1))


@settings(max_examples=80, deadline=None)
@given(
    mask=arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14))).filter(lambda m: bool(m.any())),
    spacing=st.tuples(st.floats(0.4, 2), st.floats(0.4, 2)),
)
def test_axes_are_perpendicular_and_as_long_as_their_end_points_say(
    mask: np.ndarray, spacing: tuple[float, float]
) -> None:
    axes = measure_axes(mask, spacing)
    long = np.subtract(*axes.long_ends) * spacing
    short = np.subtract(*axes.short_ends) * spacing
    assert axes.short_mm <= axes.long_mm + 1e-9
    assert np.linalg.norm(long) == pytest.approx(axes.long_mm)
    assert np.linalg.norm(short) == pytest.approx(axes.short_mm, abs=1e-9)
    assert float(long @ short) == pytest.approx(0, abs=1e-6)
