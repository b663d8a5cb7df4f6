"""Soft-edged shapes drawn into a 1 mm grid. Points and lengths are (slice, row, column) in mm."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
Vector = NDArray[np.float64]
Mode = Literal["brighten", "set"]


def unit(vector: Vector) -> Vector:
    """The vector scaled to length 1."""
    return vector / (float(np.linalg.norm(vector)) + 1e-9)


def upsample_by_two(field: Array, shape: tuple[int, ...]) -> Array:
    """Linear interpolation of samples taken at the even indices of a grid of `shape`."""
    for axis, length in enumerate(shape):
        before = (slice(None),) * axis
        samples = field.shape[axis]
        finer = np.empty((*field.shape[:axis], length, *field.shape[axis + 1 :]), np.float32)
        finer[(*before, slice(0, None, 2))] = field
        middle = finer[(*before, slice(1, None, 2))]
        count = min(middle.shape[axis], samples - 1)
        between = middle[(*before, slice(0, count))]
        np.add(field[(*before, slice(0, count))], field[(*before, slice(1, count + 1))], out=between)
        between *= 0.5
        middle[(*before, slice(count, None))] = field[(*before, slice(-1, None))]
        field = finer
    return field


def half_grid(shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Open coordinate arrays (z, y, x) in mm of every second voxel of a 1 mm grid."""
    z, y, x = np.ogrid[0 : shape[0] : 2, 0 : shape[1] : 2, 0 : shape[2] : 2]
    return z.astype(np.float32), y.astype(np.float32), x.astype(np.float32)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], scale_mm: float) -> Array:
    """Noise of unit standard deviation whose features are about `scale_mm` wide, on a 1 mm grid."""
    levels = max(1, round(float(np.log2(max(scale_mm, 2.0)))))
    sizes = [shape]
    for _ in range(levels):
        sizes.append(tuple(-(-length // 2) for length in sizes[-1]))
    field = rng.standard_normal(sizes[-1], dtype=np.float32)
    for size in reversed(sizes[:-1]):
        field = upsample_by_two(field, size)
        if field.size < 1_000_000:  # rounds the creases of linear interpolation where it is cheap
            field = ndimage.uniform_filter(field, 3)
    sample = field[:: 1 + field.shape[0] // 60]
    field *= np.float32(1 / (sample.std() + 1e-6))
    return field


def box_around(low: Vector, high: Vector, shape: tuple[int, ...]) -> tuple[slice, ...] | None:
    """The part of a grid of `shape` between two corners, None when it is empty."""
    start = np.maximum(np.floor(low).astype(int), 0)
    stop = np.minimum(np.ceil(high).astype(int) + 1, shape)
    if (stop <= start).any():
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))


def paint(volume: Array, box: tuple[slice, ...], weight: Array, hu: float | Array, mode: Mode) -> None:
    """Blend `hu` into the box of the volume; `brighten` never lowers a voxel."""
    old = volume[box]
    new = old + (hu - old) * weight
    volume[box] = new if mode == "set" else np.maximum(old, new)


def draw_tube(
    volume: Array,
    start: Vector,
    stop: Vector,
    radius_mm: tuple[float, float],
    hu: float,
    mask: Array | None = None,
    mode: Mode = "brighten",
) -> None:
    """A straight tube; a radius below half a voxel shows as a fainter one (partial volume)."""
    reach = max(radius_mm) + 1.5
    box = box_around(np.minimum(start, stop) - reach, np.maximum(start, stop) + reach, volume.shape)
    if box is None:
        return
    grid = np.ogrid[box]
    along = stop - start
    length_squared = float(along @ along) + 1e-9
    offset = [np.asarray(axis - begin, np.float32) for axis, begin in zip(grid, start, strict=True)]
    position = sum(o * np.float32(a / length_squared) for o, a in zip(offset, along, strict=True))
    position = np.clip(position, 0, 1)
    distance = np.sqrt(sum((o - position * np.float32(a)) ** 2 for o, a in zip(offset, along, strict=True)))
    radius = radius_mm[0] + (radius_mm[1] - radius_mm[0]) * position
    weight = np.clip(radius - distance + 0.5, 0, 1) * np.minimum(1, 2 * radius)
    if mask is not None:
        weight = weight * mask[box]
    paint(volume, box, weight.astype(np.float32), hu, mode)


def draw_ball(
    volume: Array,
    center: Vector,
    radii_mm: Vector,
    hu: float,
    mask: Array | None = None,
    mode: Mode = "brighten",
    softness_mm: float = 1.0,
) -> None:
    """An axis-aligned ellipsoid with a soft edge."""
    reach = radii_mm + softness_mm + 1
    box = box_around(center - reach, center + reach, volume.shape)
    if box is None:
        return
    grid = np.ogrid[box]
    level = np.sqrt(sum(((g - c) / r) ** 2 for g, c, r in zip(grid, center, radii_mm, strict=True)))
    weight = np.clip((1 - level) * float(radii_mm.min()) / softness_mm + 0.5, 0, 1)
    if mask is not None:
        weight = weight * mask[box]
    paint(volume, box, weight.astype(np.float32), hu, mode)
