"""From a phantom to a picture: X-rays through the body, scatter, noise, a detector or a film."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from models.chest_radiograph.phantom_body import FIELD_MM, STEP_MM, Array, Style, Vector, sample

PIXEL_MM = 1.25
WATER_PER_MM = 0.0195
_SLAB = 4


@dataclass(frozen=True)
class Projection:
    """A point source and a flat detector behind the field.

    axes: which of (z, y, x) is (up, along the rays away from the detector, across). The detector touches the face
    where the depth is 0 for a PA picture and where it is greatest for an AP one. shear: how far (up, across) a
    point moves for each mm of depth, which is a small turn of the patient.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    distance_mm: float = 1800.0
    is_reversed: bool = False
    shear: tuple[float, float] = (0.0, 0.0)
    focus_up: float = 200.0

    @property
    def shape(self) -> tuple[int, int]:
        """(row, column) of the detector."""
        return round(FIELD_MM[self.axes[0]] / PIXEL_MM), round(FIELD_MM[self.axes[2]] / PIXEL_MM)

    def _place(self, up: Vector, depth: Vector, across: Vector) -> tuple[Vector, Vector, Vector]:
        """Detector coordinates in mm (up, across) of points, and their magnification."""
        length, middle = FIELD_MM[self.axes[1]], FIELD_MM[self.axes[2]] / 2
        away = (length - depth if self.is_reversed else depth) + 10.0
        scale = self.distance_mm / (self.distance_mm - away)
        turned = depth - length / 2
        place_up = self.focus_up + (up + self.shear[0] * turned - self.focus_up) * scale
        place_across = middle + (across + self.shear[1] * turned - middle) * scale
        return place_up, place_across, scale

    def points(self, points: Vector) -> tuple[Vector, Vector]:
        """(n, 2) pixel coordinates (row, column) of (n, 3) points in mm, and (n,) magnification."""
        up, across, scale = self._place(*(points[:, axis] for axis in self.axes))
        return np.stack([self.shape[0] - 1 - up / PIXEL_MM, across / PIXEL_MM], axis=1), scale

    def volume(self, volume: Array) -> Array:
        """Line integrals of a coarse volume in mm of its unit, (row, column)."""
        turned = np.transpose(volume, self.axes)
        total = np.zeros(self.shape, np.float32)
        rows = np.arange(self.shape[0])[::-1] * PIXEL_MM
        columns = np.arange(self.shape[1]) * PIXEL_MM
        for first in range(0, turned.shape[1], _SLAB):
            slab = turned[:, first : first + _SLAB].sum(axis=1)
            depth = np.array([(first + (_SLAB - 1) / 2) * STEP_MM])
            zero, one = np.zeros(1), np.ones(1)
            up0, across0, _ = self._place(zero, depth, zero)
            up1, across1, _ = self._place(one, depth, one)
            tall = _interpolated(slab, (rows - up0) / (up1 - up0) / STEP_MM)
            total += _interpolated(tall.T, (columns - across0) / (across1 - across0) / STEP_MM).T
        return total * np.float32(STEP_MM)

    def splat(self, points: Vector, amount: Vector, blur_px: float = 0.6) -> Array:
        """Line integrals of a cloud: each point carries `amount` cubic mm times attenuation."""
        place, scale = self.points(points)
        low = np.floor(place).astype(int)
        part = place - low
        inside = ((low >= 0) & (low < np.array(self.shape) - 1)).all(axis=1)
        low, part = low[inside], part[inside]
        value = (amount * scale**2)[inside] / PIXEL_MM**2
        total = np.zeros(self.shape[0] * self.shape[1])
        for row in (0, 1):
            for column in (0, 1):
                share = np.abs(1 - row - part[:, 0]) * np.abs(1 - column - part[:, 1])
                index = (low[:, 0] + row) * self.shape[1] + low[:, 1] + column
                total += np.bincount(index, value * share, minlength=len(total))
        picture = total.reshape(self.shape)
        return np.asarray(ndimage.gaussian_filter(picture, blur_px, truncate=3), np.float32)

    def tubes(self, pieces: list[tuple[Vector, Vector, float, float, float, float]]) -> Array:
        """Line integrals of tubes (start, stop, outer and inner radius, shell, core); the greatest of several."""
        picture = np.zeros(self.shape, np.float32)
        if not pieces:
            return picture
        starts, scale = self.points(np.array([piece[0] for piece in pieces]))
        stops, _ = self.points(np.array([piece[1] for piece in pieces]))
        for a, b, size, (_, _, outer, inner, shell, core) in zip(starts, stops, scale, pieces, strict=True):
            _draw_tube(picture, a, b, outer * size, inner * size, shell, core)
        return picture


def _interpolated(lines: Array, position: Vector) -> Array:
    """Lines at fractional positions along the first axis; outside the edge is repeated."""
    at = np.clip(position, 0, len(lines) - 1.001)
    low = at.astype(int)
    part = (at - low).astype(np.float32)[:, None]
    return np.asarray(lines[low] * (1 - part) + lines[low + 1] * part, np.float32)


def _draw_tube(
    picture: Array, a: Vector, b: Vector, outer_mm: float, inner_mm: float, shell: float, core: float
) -> None:
    reach = outer_mm / PIXEL_MM + 1
    low = np.maximum(np.floor(np.minimum(a, b) - reach), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(a, b) + reach) + 1, picture.shape).astype(int)
    if (high <= low).any():
        return
    row, column = np.ogrid[low[0] : high[0], low[1] : high[1]]
    along = b - a
    t = np.clip(((row - a[0]) * along[0] + (column - a[1]) * along[1]) / (float(along @ along) + 1e-6), 0, 1)
    square = ((row - a[0] - t * along[0]) ** 2 + (column - a[1] - t * along[1]) ** 2) * PIXEL_MM**2
    whole = 2 * np.sqrt(np.maximum(outer_mm**2 - square, 0))
    hollow = 2 * np.sqrt(np.maximum(inner_mm**2 - square, 0))
    part = picture[low[0] : high[0], low[1] : high[1]]
    np.maximum(part, (whole - hollow) * shell + hollow * core, out=part)


def vessel_cloud(
    rng: np.random.Generator, start: Vector, stop: Vector, radius: Vector, per_mm: float = 1.6
) -> tuple[Vector, Vector]:
    """Random points in many tubes, and the volume in cubic mm that each stands for.

    start, stop: (n, 3); radius: (n,). Thick tubes get more points.
    """
    length = np.linalg.norm(stop - start, axis=1)
    count = np.maximum(2, (length * per_mm * (1 + radius**2))).astype(int)
    owner = np.repeat(np.arange(len(count)), count)
    t = rng.random(len(owner))[:, None]
    points = start[owner] * (1 - t) + stop[owner] * t
    along = (stop - start)[owner] / (length[owner][:, None] + 1e-6)
    offset = rng.normal(size=points.shape)
    offset -= (offset * along).sum(axis=1, keepdims=True) * along
    offset /= np.linalg.norm(offset, axis=1, keepdims=True) + 1e-9
    points += offset * (radius[owner] * np.sqrt(rng.random(len(owner))))[:, None]
    return points, (np.pi * radius**2 * length / count)[owner]


def added(volume: Array, points: Vector, amount: Vector, attenuation: float) -> Vector:
    """What points of `attenuation` add to the volume they lie in: nothing where it is as dense."""
    return np.asarray(amount * np.maximum(attenuation - sample(volume, points), 0))


def expose(rng: np.random.Generator, style: Style, line_mm: Array, *, hard: float = 1.0) -> Array:
    """The picture of line integrals (mm of water): float32 about 0 to 1, bright where dense.

    hard: how hard the beam is; at 1 about 90 kV.
    """
    primary = np.exp(-line_mm * np.float32(WATER_PER_MM / hard))
    share = rng.uniform(*style.scatter)
    scatter = ndimage.gaussian_filter(primary, rng.uniform(12, 30), truncate=2) * share
    photons = rng.uniform(*style.photons)
    signal = rng.poisson(np.maximum((primary + scatter) * photons, 0)).astype(np.float32) / photons
    signal = ndimage.gaussian_filter(signal, rng.uniform(*style.blur_mm) / PIXEL_MM, truncate=3)
    return _developed(rng, str(rng.choice(style.curves)), np.maximum(signal, 1e-4).astype(np.float32))


def _developed(rng: np.random.Generator, curve: str, signal: Array) -> Array:
    logarithm = np.log(signal)
    middle = float(np.median(logarithm))
    match curve:
        case "linear":
            full = np.quantile(signal, rng.uniform(0.85, 0.98))
            return np.asarray(1 - np.clip(signal / full, 0, 1), np.float32)
        case "root":
            return np.asarray(1 - np.sqrt(np.clip(signal / np.quantile(signal, 0.95), 0, 1)), np.float32)
        case "film" | "steep":
            slope = rng.uniform(0.9, 1.8) if curve == "film" else rng.uniform(1.6, 2.4)
            return np.asarray(
                1 / (1 + np.exp(slope * (logarithm - middle + rng.uniform(-0.5, 0.7)))), np.float32
            )
        case "enhanced":
            wide = ndimage.gaussian_filter(logarithm, rng.uniform(8, 25), truncate=2)
            logarithm = wide * rng.uniform(0.4, 0.8) + (logarithm - wide) * rng.uniform(1.0, 1.8)
    low, high = np.quantile(logarithm, (0.002, 0.998))
    return np.asarray(np.clip((high - logarithm) / (high - low + 1e-6), 0, 1), np.float32)
