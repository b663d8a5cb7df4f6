"""Volumes made for the tests of the models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from study.volume import Volume

MakeVolume = Callable[..., Volume]


@pytest.fixture
def make_volume() -> MakeVolume:
    """Wraps voxels into a Volume; `columns` are the affine's direction columns before scaling."""

    def make(
        voxels: NDArray[np.int16],
        spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
        columns: NDArray[np.float64] | None = None,
        origin_mm: tuple[float, float, float] = (-100.0, -80.0, -300.0),
    ) -> Volume:
        directions = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], np.float64) if columns is None else columns
        affine = np.eye(4)
        affine[:3, :3] = directions * spacing_mm
        affine[:3, 3] = origin_mm
        count = voxels.shape[0]
        uids = tuple(f"1.2.3.{number}" for number in range(count))
        return Volume(voxels, affine, uids, (1,) * count, "1.2.3", "1.2.4")

    return make


@pytest.fixture
def ball() -> Callable[..., NDArray[np.int16]]:
    """Voxels of lung with one ball of soft tissue whose edge is smooth over one millimetre."""

    def make(
        shape: tuple[int, int, int],
        center: tuple[float, float, float],
        diameter_mm: float,
        spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
        hu: float = 30.0,
        lung_hu: float = -850.0,
    ) -> NDArray[np.int16]:
        grid = np.ogrid[tuple(slice(0, n) for n in shape)]
        distance = np.sqrt(sum(((g - c) * s) ** 2 for g, c, s in zip(grid, center, spacing_mm, strict=True)))
        share = np.clip(diameter_mm / 2 - distance + 0.5, 0, 1)
        return np.rint(lung_hu + (hu - lung_hu) * share).astype(np.int16)

    return make
