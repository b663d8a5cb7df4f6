"""What a CT scanner makes of a chest: resolution, noise, slices.

Edge spread and noise texture vary from a smooth soft-tissue kernel to a sharp lung kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from models.lung_nodule_ct.phantom_shapes import Array, Vector, smooth_noise
from models.lung_nodule_ct.phantom_style import TRAINING, Style

NOISE_PLANES = 32


@dataclass(frozen=True)
class Scanner:
    """One acquisition and reconstruction.

    sharpness: 0 is the smoothest kernel, 1 the sharpest. noise_hu: standard deviation in the lung
    at 1 mm slices. slice_thickness_mm: full width of the slice profile.
    """

    sharpness: float
    noise_hu: float
    slice_thickness_mm: float
    spacing_mm: tuple[float, float, float]
    style: Style = TRAINING


@dataclass(frozen=True)
class Breath:
    """Slices of the 1 mm grid from `first` on, `count` of them, lie `shift_mm` further along the rows."""

    first: int
    count: int
    shift_mm: int

    def moved(self, center: Vector) -> Vector:
        """Where a place in the chest, (slice, row, column) in mm, lies in the scan."""
        is_within = self.first <= round(float(center[0])) < self.first + self.count
        moved: Vector = center + np.array([0.0, self.shift_mm * is_within, 0.0])
        return moved


STILL = Breath(0, 0, 0)


def draw_scanner(
    rng: np.random.Generator,
    spacing_mm: tuple[float, float, float] | None,
    slice_thickness_mm: float | None,
    style: Style = TRAINING,
) -> Scanner:
    """A scanner with whatever is not given chosen at random: slices of 0.6 to 3 mm."""
    thickness = slice_thickness_mm
    if thickness is None:
        thickness = (
            spacing_mm[0]
            if spacing_mm
            else float(rng.choice([0.6, 0.75, 1.0, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0]))
        )
    if spacing_mm is None:
        step = thickness * float(rng.choice([0.7, 0.8, 1.0]))
        spacing_mm = (max(step, 0.5), 1.0, 1.0)
    sharpness = float(rng.uniform(0, 1))
    dose_noise = rng.uniform(*style.dose_noise_hu) * (1 + 1.8 * sharpness)
    return Scanner(
        sharpness, float(dose_noise / np.sqrt(max(thickness, 0.6))), float(thickness), spacing_mm, style
    )


def scan(rng: np.random.Generator, chest_hu: Array, scanner: Scanner) -> tuple[NDArray[np.int16], Breath]:
    """The chest (1 mm grid) as int16 slices at `scanner.spacing_mm`, voxel (0, 0, 0) in the same place; and the breath
    that was taken meanwhile.
    """
    breath = STILL
    dz, dy, dx = scanner.spacing_mm
    counts = [int((length - 1) / step) + 1 for length, step in zip(chest_hu.shape, (dz, dy, dx), strict=True)]
    moved = _heart_motion(rng, chest_hu) if rng.random() < 0.35 else chest_hu
    if scanner.style.fourier_noise:
        breath = _draw_breath(rng)
        hu = _edge_enhanced(rng, _displaced(moved, breath), scanner)
    else:
        blur = 0.75 - 0.4 * scanner.sharpness
        hu = ndimage.gaussian_filter1d(moved, blur, axis=1, truncate=3)
        hu = ndimage.gaussian_filter1d(hu, blur, axis=2, truncate=3)
        hu = ndimage.gaussian_filter1d(hu, 0.36 * max(scanner.slice_thickness_mm, 0.6), axis=0, truncate=3)
    hu = _linear(_linear(_linear(hu, 0, dz, counts[0]), 1, dy, counts[1]), 2, dx, counts[2])
    if scanner.sharpness > 0.6 and not scanner.style.fourier_noise:
        soft = ndimage.gaussian_filter(hu, (0, 1.4 / dy, 1.4 / dx), truncate=2)
        hu += (hu - soft) * np.float32(rng.uniform(0, 0.7))
    hu += (_fourier_noise if scanner.style.fourier_noise else _noise)(rng, hu.shape, scanner)
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16), breath


def _heart_motion(rng: np.random.Generator, chest_hu: Array) -> Array:
    """Double contours around the heart: two positions of it seen in one rotation."""
    shift = np.rint(rng.normal(0, 1.3, 3)).astype(int)
    moved = np.roll(chest_hu, tuple(int(step) for step in shift), (0, 1, 2))
    center = np.array(chest_hu.shape) * (0.33, 0.42, 0.56)
    grid = np.ogrid[tuple(slice(0, length) for length in chest_hu.shape)]
    far = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, center, (60, 75, 90), strict=True))
    share = np.clip(1.2 - far, 0, 0.5).astype(np.float32) * np.float32(rng.uniform(0.4, 1))
    return np.asarray(chest_hu + (moved - chest_hu) * share, np.float32)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], scanner: Scanner) -> Array:
    noise = rng.standard_normal(shape, dtype=np.float32)
    grain = 0.75 - 0.55 * scanner.sharpness
    sigma = (0.25, grain / scanner.spacing_mm[1], grain / scanner.spacing_mm[2])
    noise = ndimage.gaussian_filter(noise, sigma, truncate=2)
    noise /= np.float32(noise[:: max(1, shape[0] // 20)].std())
    level = 1 + 0.2 * smooth_noise(rng, (shape[0], 1, 1), 16)
    if rng.random() < 0.4:
        # Photon starvation through the shoulders: horizontal streaks in the top slices.
        top = np.clip((np.arange(shape[0]) / shape[0] - rng.uniform(0.75, 0.9)) * 8, 0, 1).astype(np.float32)
        first = int(np.argmax(top > 0)) if top.any() else shape[0]
        streaks = rng.standard_normal((shape[0] - first, shape[1], 1 + shape[2] // 24), dtype=np.float32)
        noise[first:] += (
            top[first:, None, None] * np.repeat(streaks, 24, axis=2)[:, :, : shape[2]] * rng.uniform(0.3, 1.2)
        )
    return np.asarray(noise * np.clip(level, 0.6, 1.6) * np.float32(scanner.noise_hu), np.float32)


def _edge_enhanced(rng: np.random.Generator, hu: Array, scanner: Scanner) -> Array:
    """The held-out kernel: a narrow Gaussian less a wide one, and slices with a rectangular profile."""
    gain, narrow = rng.uniform(0, 0.5) * scanner.sharpness, 0.85 - 0.35 * scanner.sharpness
    size = max(1, round(scanner.slice_thickness_mm))
    hu = ndimage.uniform_filter1d(hu, size, axis=0, mode="nearest")
    sharp = ndimage.gaussian_filter(hu, (0, narrow, narrow), truncate=3)
    wide = ndimage.gaussian_filter(hu, (0, 2.2, 2.2), truncate=2)
    return np.asarray(sharp + np.float32(gain) * (sharp - wide), np.float32)


def _draw_breath(rng: np.random.Generator) -> Breath:
    """In some scans a few centimetres of slices are displaced by a breath, as a step artefact."""
    if rng.random() > 0.3:
        return STILL
    return Breath(int(rng.integers(20, 90)), int(rng.integers(8, 30)), int(rng.integers(1, 4)))


def _displaced(hu: Array, breath: Breath) -> Array:
    moved, slices = hu.copy(), slice(breath.first, breath.first + breath.count)
    moved[slices] = np.roll(hu[slices], breath.shift_mm, axis=1)
    return moved


def _fourier_noise(rng: np.random.Generator, shape: tuple[int, ...], scanner: Scanner) -> Array:
    """Noise as filtered back-projection leaves it: little at low frequencies, a peak, then the kernel's fall."""
    rows = np.fft.fftfreq(shape[1], scanner.spacing_mm[1])[:, None]
    columns = np.fft.rfftfreq(shape[2], scanner.spacing_mm[2])[None]
    frequency = np.hypot(rows, columns)
    spectrum = np.sqrt(frequency + 0.01) * np.exp(-((frequency / (0.25 + 0.35 * scanner.sharpness)) ** 2))
    # Transforms are slow: each slice takes one of a few planes, displaced and turned over at random.
    white = rng.standard_normal((min(NOISE_PLANES, shape[0]), *shape[1:]), dtype=np.float32)
    planes = fft.irfft2(fft.rfft2(white) * spectrum.astype(np.float32), shape[1:])
    noise = np.empty(shape, np.float32)
    for plane in noise:
        shift = tuple(int(step) for step in rng.integers(0, shape[1:]))
        plane[:] = np.roll(planes[rng.integers(len(planes))], shift, (0, 1)) * rng.choice((-1, 1))
    noise = ndimage.gaussian_filter1d(noise, 0.35, axis=0)
    # More in the middle of the body than at its edge, as attenuation makes it.
    grid = [np.linspace(-1, 1, length, dtype=np.float32) for length in shape[1:]]
    level = 0.7 + 0.5 * np.exp(-(grid[0][:, None] ** 2 + grid[1][None] ** 2))
    return np.asarray(noise / noise[::20].std() * level * np.float32(scanner.noise_hu), np.float32)


def _linear(field: Array, axis: int, step: float, count: int) -> Array:
    """Samples at 0, step, 2 step … of a 1 mm axis."""
    if step == 1.0:
        return field
    position = np.arange(count) * step
    low = np.minimum(position.astype(int), field.shape[axis] - 2)
    shape = [1, 1, 1]
    shape[axis] = count
    part = (position - low).astype(np.float32).reshape(shape)
    return np.asarray(field.take(low, axis) * (1 - part) + field.take(low + 1, axis) * part, np.float32)
