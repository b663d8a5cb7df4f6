"""One synthetic nodule in a box of lung, with the truth of everything that characterisation measures.

The whole chests of `phantom` know where their nodules are; here also the voxels that belong to one are known, on a grid
finer than any scanner's. They are made, not measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.lung_nodule_ct.phantom_shapes import Array, Vector, draw_tube, smooth_noise, unit
from models.ops.measure_axes import measure_axes

Place = Literal["free", "pleural", "vessel"]
PLACES: tuple[Place, ...] = ("free", "pleural", "vessel")
LUNG_HU, WALL_HU, VESSEL_HU = -850.0, 40.0, 40.0


@dataclass(frozen=True)
class NoduleTruth:
    """kind as in `study.nodule`; axes on the axial slice of greatest area; solid_part_mm: mean, of a part-solid one."""

    kind: str
    diameter_mm: float
    volume_mm3: float
    long_axis_mm: float
    short_axis_mm: float
    solid_part_mm: float | None


@dataclass(frozen=True)
class NodulePhantom:
    """voxels: int16 HU (slice, row, column); center_index: of the nodule, with fractions, in that order."""

    voxels: NDArray[np.int16]
    spacing_mm: tuple[float, float, float]
    center_index: tuple[float, float, float]
    truth: NoduleTruth


def make_nodule(
    seed: int,
    kind: str,
    diameter_mm: float,
    *,
    spacing_mm: tuple[float, float, float] = (1.0, 0.7, 0.7),
    slice_thickness_mm: float | None = None,
    place: Place = "free",
    noise_hu: float = 20.0,
    scan_seed: int | None = None,
) -> NodulePhantom:
    """The nodule of a seed; another `scan_seed` is another scan of it: other noise, other place of the voxels."""
    rng = np.random.default_rng(seed)
    step = 0.5 if diameter_mm <= 20 else 1.0
    side = int((1.5 * diameter_mm + 40) / step)
    hu = (LUNG_HU + 12 * smooth_noise(rng, (side,) * 3, 10) + 8 * smooth_noise(rng, (side,) * 3, 4)).astype(
        np.float32
    )
    center = np.full(3, side / 2) + rng.uniform(-0.5, 0.5, 3)
    radius = diameter_mm / 2 / step
    lung = np.ones(hu.shape, np.float32)
    if place == "pleural":
        _wall(rng, hu, lung, center, radius, step)
    distance = _distance(rng, hu.shape, center, radius) * step
    weight, core = _paint(rng, hu, distance, diameter_mm / 2, kind)
    if place == "pleural":
        hu += (WALL_HU - hu) * (1 - lung)
        weight, core = weight * lung, core * lung
    if place == "vessel":
        _vessels(rng, hu, center, radius, step)
    truth = _truth(weight, core, kind, step)
    scan_rng = np.random.default_rng(seed if scan_seed is None else (seed, scan_seed))
    voxels, offset = _scan(scan_rng, hu, step, spacing_mm, slice_thickness_mm or spacing_mm[0], noise_hu)
    middle = np.array(ndimage.center_of_mass(weight)) * step
    z, y, x = (float(value) for value in (middle - offset) / np.array(spacing_mm))
    return NodulePhantom(voxels, spacing_mm, (z, y, x), truth)


def _wall(
    rng: np.random.Generator, hu: Array, lung: Array, center: Vector, radius: float, step: float
) -> None:
    """Everything beyond the inside of a rib cage of 110 to 160 mm, which passes near the nodule's centre, is wall."""
    direction = unit(np.array([rng.normal(0, 0.2), *rng.normal(size=2)]))
    cage = rng.uniform(110, 160) / step
    middle = center + direction * radius * rng.uniform(0.1, 0.7) - direction * cage
    axes = np.ogrid[tuple(slice(0, length) for length in hu.shape)]
    far = np.sqrt(sum((axis - m) ** 2 for axis, m in zip(axes, middle, strict=True)))
    lung[...] = np.clip((cage - far) * step + 0.5, 0, 1)


def _distance(rng: np.random.Generator, shape: tuple[int, ...], center: Vector, radius: float) -> Array:
    """About the signed distance, in grid steps, to a lobulated ellipsoid; negative inside."""
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    stretch = rng.uniform(0.8, 1.2, 3)
    stretch /= np.cbrt(stretch.prod())
    offset = [g - c for g, c in zip(np.ogrid[tuple(slice(0, n) for n in shape)], center, strict=True)]
    turned = [
        sum(o * a for o, a in zip(offset, axis, strict=True)) / s
        for axis, s in zip(axes, stretch, strict=True)
    ]
    length = np.sqrt(sum(t * t for t in turned)) + 1e-6
    ripple = np.zeros(shape)
    for _ in range(4):
        direction = unit(rng.normal(size=3)) * rng.uniform(1.5, 4.0)
        ripple += np.sin(
            sum(t * d for t, d in zip(turned, direction, strict=True)) / radius + rng.uniform(0, 6.28)
        )
    return np.asarray(length - radius * (1 + rng.uniform(0.01, 0.05) * ripple), np.float32)


def _paint(
    rng: np.random.Generator, hu: Array, distance: Array, radius_mm: float, kind: str
) -> tuple[Array, Array]:
    """Paints the nodule; returns the shares of each voxel that belong to it and to its solid part."""
    weight = np.clip(0.5 - distance, 0, 1)
    none = np.zeros_like(weight)
    if kind == "solid":
        hu += (rng.uniform(-20, 80) - hu) * weight
        return weight, weight
    if kind == "calcified":
        dense = (
            weight
            if rng.random() < 0.5
            else np.clip(0.5 - (distance + radius_mm * rng.uniform(0.2, 0.35)), 0, 1)
        )
        hu += (rng.uniform(0, 60) - hu) * weight
        hu += (rng.uniform(450, 900) - hu) * dense
        return weight, weight
    glass = rng.uniform(-650, -480)
    hu += (glass - hu) * weight
    if kind == "ground_glass":
        return weight, none
    core = np.clip(0.5 - (distance + radius_mm * rng.uniform(0.35, 0.6)), 0, 1)
    hu += (rng.uniform(-20, 60) - hu) * core
    return weight, core


def _vessels(rng: np.random.Generator, hu: Array, center: Vector, radius: float, step: float) -> None:
    """Two vessels of 1 to 2.5 mm that run up to the nodule's surface and one that passes beside it."""
    for number in range(3):
        direction = unit(rng.normal(size=3))
        width = rng.uniform(0.5, 1.25) / step
        if number < 2:
            ends = center + direction * radius * 0.9, center + direction * 3 * hu.shape[0]
        else:
            beside = unit(np.cross(direction, rng.normal(size=3))) * (radius + width + 1.5 / step)
            ends = center + beside - direction * hu.shape[0], center + beside + direction * hu.shape[0]
        draw_tube(hu, *ends, (width, width), VESSEL_HU)


def _truth(weight: Array, core: Array, kind: str, step: float) -> NoduleTruth:
    volume = float(weight.sum()) * step**3
    mask = weight > 0.5
    plane = int(np.argmax(mask.sum(axis=(1, 2))))
    axes = measure_axes(mask[plane], (step, step))
    solid = None
    if kind == "part_solid":
        inner = core > 0.5
        solid_plane = int(np.argmax(inner.sum(axis=(1, 2))))
        solid_axes = measure_axes(inner[solid_plane], (step, step))
        solid = (solid_axes.long_mm + solid_axes.short_mm) / 2
    return NoduleTruth(kind, float(np.cbrt(6 * volume / np.pi)), volume, axes.long_mm, axes.short_mm, solid)


def _scan(
    rng: np.random.Generator,
    hu: Array,
    step: float,
    spacing_mm: tuple[float, float, float],
    thickness_mm: float,
    noise_hu: float,
) -> tuple[NDArray[np.int16], Vector]:
    """Blur, average over the slice profile, sample at a random offset (in mm), add correlated noise."""
    blur = rng.uniform(0.35, 0.65) / step
    seen = ndimage.gaussian_filter(hu, (0.2 / step, blur, blur), truncate=3)
    seen = ndimage.uniform_filter1d(seen, max(1, round(thickness_mm / step)), axis=0)
    spacing = np.array(spacing_mm)
    offset = rng.uniform(0, 1, 3) * spacing
    counts = np.floor((np.array(hu.shape) - 1 - offset / step) * step / spacing).astype(int) + 1
    grid = np.meshgrid(
        *[(o + np.arange(n) * s) / step for o, n, s in zip(offset, counts, spacing, strict=True)],
        indexing="ij",
    )
    sampled = ndimage.map_coordinates(seen, grid, order=1, mode="nearest")
    grain = ndimage.gaussian_filter(rng.standard_normal(sampled.shape, np.float32), (0, 0.6, 0.6))
    sampled += grain / grain.std() * noise_hu / np.sqrt(max(thickness_mm, 0.6))
    return np.rint(np.clip(sampled, -1024, 3071)).astype(np.int16), offset
