"""The two families of shapes that lesions take: rippled ellipsoids and joined balls."""

from __future__ import annotations

import numpy as np

from models.lung_nodule_ct.phantom_shapes import Array, Vector, unit

Box = tuple[slice, ...]


def rippled(rng: np.random.Generator, box: Box, center: Vector, radius: float) -> Array:
    """Signed distance in mm to a lobulated ellipsoid in a random attitude, negative inside."""
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    stretch = rng.uniform(0.78, 1.25, 3)
    stretch /= np.cbrt(stretch.prod())
    offset = [g - c for g, c in zip(np.ogrid[box], center, strict=True)]
    turned = [
        sum(o * a for o, a in zip(offset, axis, strict=True)) / s
        for axis, s in zip(axes, stretch, strict=True)
    ]
    length = np.sqrt(sum(t * t for t in turned)) + 1e-6
    ripple = np.zeros(length.shape)
    for _ in range(6):
        direction = unit(rng.normal(size=3)) * rng.uniform(1.5, 4.5)
        phase = sum(t * d for t, d in zip(turned, direction, strict=True)) / max(radius, 2)
        ripple += np.sin(phase + rng.uniform(0, 2 * np.pi))
    return np.asarray(length - radius * (1 + rng.uniform(0.01, 0.075) * ripple), np.float32)


def lobed(
    rng: np.random.Generator,
    box: Box,
    center: Vector,
    radius: float,
    lobes: tuple[int, int] = (3, 6),
    spread: tuple[float, float] = (0.15, 0.55),
) -> Array:
    """About the signed distance in mm to some balls that melt into one another, negative inside.

    Their volume together is about that of the ball of `radius`. spread: of their middles, in radii.
    """
    count = int(rng.integers(lobes[0], lobes[1] + 1))
    melt = max(radius * 0.15, 0.5)
    total = 0.0
    for _ in range(count):
        middle = center + unit(rng.normal(size=3)) * radius * rng.uniform(*spread)
        size = radius * rng.uniform(0.5, 0.85)
        offset = [np.asarray(g - c, np.float32) for g, c in zip(np.ogrid[box], middle, strict=True)]
        distance = np.sqrt(sum(o * o for o in offset)) - np.float32(size)
        total = total + np.exp(np.clip(-distance / melt, -40, 40))
    return np.asarray(-melt * np.log(total + 1e-30), np.float32)
