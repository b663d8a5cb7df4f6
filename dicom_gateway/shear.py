"""Set the slices of a tilted gantry upright: shift each one within its plane (linear interpolation)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_gateway.geometry import Stack
from dicom_gateway.pixels import PADDING_HU


@dataclass(frozen=True)
class UprightGrid:
    """The grid that holds all slices of a sheared stack, none of them cut.

    size: (rows, columns). shifts: (slice, 2), pixels by which each slice moves down and right into it.
    affine_mm: of the grid, as `Volume.affine_mm`.
    """

    size: tuple[int, int]
    shifts: NDArray[np.float64]
    affine_mm: NDArray[np.float64]


def upright_grid(stack: Stack, size: tuple[int, int]) -> UprightGrid:
    assert stack.shear_pixels is not None, "an upright stack needs no other grid"
    low = np.floor(stack.shear_pixels.min(axis=0))
    high = np.ceil(stack.shear_pixels.max(axis=0))
    affine = stack.affine_mm.copy()
    affine[:3, 3] += affine[:3, 1] * low[0] + affine[:3, 2] * low[1]
    rows, columns = size[0] + int(high[0] - low[0]), size[1] + int(high[1] - low[1])
    return UprightGrid((rows, columns), stack.shear_pixels - low, affine)


def shift_slice(image: NDArray[np.int16], grid: UprightGrid, index: int) -> NDArray[np.int16]:
    """Slice `index` on the grid; what no pixel covers is air."""
    rows_down, columns_right = grid.shifts[index]
    moved = _shift(image.astype(np.float32), float(rows_down), grid.size[0], axis=0)
    moved = _shift(moved, float(columns_right), grid.size[1], axis=1)
    return np.rint(moved).astype(np.int16)


def _shift(image: NDArray[np.float32], shift: float, length: int, axis: int) -> NDArray[np.float32]:
    """`image` moved by `shift` >= 0 pixels along `axis` into `length` pixels."""
    whole = math.floor(shift)
    lower_weight, upper_weight = np.float32(1 - shift + whole), np.float32(shift - whole)
    padded = np.full((*image.shape[:axis], length + 1, *image.shape[axis + 1 :]), PADDING_HU, np.float32)
    target = [slice(None)] * image.ndim
    target[axis] = slice(whole + 1, whole + 1 + image.shape[axis])
    padded[tuple(target)] = image
    upper, lower = [slice(None)] * image.ndim, [slice(None)] * image.ndim
    lower[axis], upper[axis] = slice(1, None), slice(None, -1)
    return np.asarray(padded[tuple(lower)] * lower_weight + padded[tuple(upper)] * upper_weight, np.float32)
