"""The shape of both lungs and the fissures that part them into lobes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.lung_ct_segmentation.phantom_style import Style
from models.lung_nodule_ct.phantom_shapes import Array, Vector, smooth_noise, upsample_by_two

# A middle lobe and a lower lobe take between these shares of their lung; other draws are thrown away.
MIDDLE_SHARE, LOWER_SHARE = (0.06, 0.36), (0.2, 0.75)
_TRIES = 20


@dataclass(frozen=True)
class Frame:
    """Where things are, in mm of the warped coordinates z (up), y (to the back), x (to the left).

    base, apex: lowest and highest point of the lung of each side (-1 right, 1 left). above: 0 in the lower
    part of the own side's lung, 1 at its apex.
    """

    z: Array
    y: Array
    x: Array
    cy: float
    cx: float
    front_mm: float
    side_mm: float
    base: dict[int, float]
    apex: dict[int, float]
    above: Array

    def height(self, side: int) -> Array:
        """0 at the lung's lowest point, 1 at its apex."""
        return (self.z - self.base[side]) / (self.apex[side] - self.base[side])


@dataclass(frozen=True)
class Lungs:
    """labels: the lobes (uint8). depth_mm: about the distance into the lung from its surface, negative outside.

    share: the lungs' share of each voxel. sheets: distance in mm to each fissure, inf where its lung is
    not; the sheets are (oblique right, oblique left, horizontal). frame: the coordinates on every second
    voxel. hila: right and left, in voxels. grid_mm: the size of a voxel.
    """

    labels: NDArray[np.uint8]
    depth_mm: Array
    share: Array
    sheets: tuple[Array, Array, Array]
    frame: Frame
    hila: dict[int, Vector]
    grid_mm: float


def make_lungs(rng: np.random.Generator, style: Style, shape: tuple[int, int, int], grid_mm: float) -> Lungs:
    """Lungs whose lobes have possible sizes."""
    half = tuple(-(-length // 2) for length in shape)
    frame = _frame(rng, style, (half[0], half[1], half[2]), grid_mm * 2)
    coarse = _depth(rng, frame, grid_mm * 2)
    left = frame.x > frame.cx
    for _ in range(_TRIES):
        fields = _fissures(rng, style, frame, grid_mm * 2)
        if _possible(_lobes(coarse, left, *fields)):
            break
    depth = upsample_by_two(coarse, shape)
    fine = [upsample_by_two(field, shape) for field in fields]
    labels = _lobes(depth, upsample_by_two((frame.x - frame.cx).astype(np.float32), shape) > 0, *fine)
    sheets = [np.abs(upsample_by_two(_distance(field, grid_mm * 2), shape)) for field in fields]
    far = np.float32(np.inf)
    right = labels_side(labels, -1)
    return Lungs(
        labels,
        depth,
        np.clip(depth / grid_mm + 0.5, 0, 1),
        (
            np.where(right, sheets[0], far),
            np.where(labels_side(labels, 1), sheets[1], far),
            np.where(right & (fine[0] > 0), sheets[2], far),
        ),
        frame,
        {side: _hilum(frame, side) for side in (-1, 1)},
        grid_mm,
    )


def labels_side(labels: NDArray[np.uint8], side: int) -> NDArray[np.bool_]:
    """The lung of one side."""
    return labels >= 4 if side > 0 else (labels > 0) & (labels < 4)


def _frame(rng: np.random.Generator, style: Style, shape: tuple[int, int, int], step: float) -> Frame:
    """Coordinates turned a little, bent a little, and the sizes of this chest."""
    grid = np.meshgrid(*(np.arange(n, dtype=np.float32) * step for n in shape), indexing="ij")
    middle = [n * step / 2 for n in shape]
    away = [axis - center for axis, center in zip(grid, middle, strict=True)]
    turn = np.eye(3) + rng.normal(0, 0.05, (3, 3))
    orthogonal, upper = np.linalg.qr(turn)
    orthogonal = orthogonal * np.sign(np.diag(upper))
    warp = rng.uniform(*style.warp_mm)
    bent = [
        sum(float(orthogonal[i, j]) * away[j] for j in range(3))
        + middle[i]
        + warp * smooth_noise(rng, shape, rng.uniform(40, 90) / step)
        for i in range(3)
    ]
    z, y, x = (np.asarray(axis, np.float32) for axis in bent)
    height = rng.uniform(*style.lung_height_mm)
    low = (shape[0] * step - height) / 2
    base = {side: low + rng.uniform(-10, 12) for side in (-1, 1)}
    apex = {side: low + height + rng.uniform(-8, 8) for side in (-1, 1)}
    if rng.random() < style.small_lung:
        side = int(rng.choice([-1, 1]))
        base[side] += height * rng.uniform(0, 0.3)
        apex[side] -= height * rng.uniform(0, 0.18)
    cy, cx = middle[1] + rng.uniform(-8, 8), middle[2] + rng.uniform(-8, 8)
    bottom, top = np.where(x > cx, base[1], base[-1]), np.where(x > cx, apex[1], apex[-1])
    above = np.clip(((z - bottom) / (top - bottom) - 0.38) / 0.62, 0, 1).astype(np.float32)
    front, side_mm = rng.uniform(*style.thorax_front_mm), rng.uniform(*style.thorax_side_mm)
    return Frame(z, y, x, cy, cx, front, side_mm, base, apex, above)


def _depth(rng: np.random.Generator, frame: Frame, step: float) -> Array:
    """About the signed distance to the surface of the nearer lung in mm, positive inside."""
    lean = rng.uniform(0, 28)
    dy, dx = frame.y - frame.cy - lean * frame.above, frame.x - frame.cx
    flat = rng.uniform(0.9, 0.99)
    bend = rng.uniform(2.0, 2.9)
    taper = np.sqrt(np.clip(1 - flat * frame.above**bend, 0.02, 1))
    power = rng.uniform(2.0, 2.7)
    cage = (
        np.abs(dy / (frame.front_mm * taper)) ** power + np.abs(dx / (frame.side_mm * taper)) ** power
    ) ** (1 / power)
    depth = (1 - cage) * (frame.front_mm + frame.side_mm) / 2 * taper
    height = {side: frame.height(side) for side in (-1, 1)}
    mean_height = np.where(dx > 0, height[1], height[-1])
    hilum = np.exp(-(((mean_height - rng.uniform(0.45, 0.58)) / 0.14) ** 2)) * rng.uniform(4, 14)
    narrow = rng.uniform(4, 12)
    width = narrow + (rng.uniform(14, 26) + hilum) * np.exp(-((dy / (0.6 * frame.front_mm)) ** 2))
    width = width + rng.uniform(4, 16) * np.clip((mean_height - 0.6) * 3, 0, 1)
    depth = np.minimum(depth, np.abs(dx) - width)
    depth = np.minimum(depth, np.where(dx > 0, frame.apex[1], frame.apex[-1]) - frame.z)
    depth = np.minimum(depth, _heart(rng, frame, dy, dx))
    spine = np.hypot(dy - frame.front_mm * rng.uniform(0.9, 1.02), dx * 0.9) - rng.uniform(22, 32)
    depth = np.minimum(depth, spine)
    for side in (-1, 1):
        floor = _above_diaphragm(rng, frame, side, dy, dx)
        depth = np.where(side * dx > 0, np.minimum(depth, floor), depth)
        if rng.random() < 0.12:  # fluid behind and below the lung
            level = rng.uniform(0.3, 0.9) * frame.front_mm
            depth = np.where(
                side * dx > 0, np.minimum(depth, level + 0.25 * (frame.z - frame.base[side]) - dy), depth
            )
    bumps = rng.uniform(0.4, 1.8) * smooth_noise(rng, depth.shape, rng.uniform(12, 30) / step)
    return np.asarray(depth + bumps, np.float32)


def _heart(rng: np.random.Generator, frame: Frame, dy: Array, dx: Array) -> Array:
    low = min(frame.base.values())
    tall = max(frame.apex.values()) - low
    center = (
        low + tall * rng.uniform(0.28, 0.42),
        -rng.uniform(0.15, 0.4) * frame.front_mm,
        rng.uniform(6, 30),
    )
    radii = (rng.uniform(42, 66), rng.uniform(0.4, 0.62) * frame.front_mm, rng.uniform(46, 76))
    level = np.sqrt(sum(((g - c) / r) ** 2 for g, c, r in zip((frame.z, dy, dx), center, radii, strict=True)))
    return np.asarray((level - 1) * min(radii), np.float32)


def _above_diaphragm(rng: np.random.Generator, frame: Frame, side: int, dy: Array, dx: Array) -> Array:
    """Height above a dome that falls off to the walls, deepest at the back."""
    across = (dx - side * rng.uniform(0.42, 0.56) * frame.side_mm) / (rng.uniform(0.55, 0.72) * frame.side_mm)
    along = (dy + rng.uniform(0, 25)) / (rng.uniform(0.85, 1.05) * frame.front_mm)
    dome = rng.uniform(22, 62) * np.clip(1 - along**2 - across**2, -0.3, 1)
    tilt = rng.uniform(5, 55) * np.clip(0.5 - 0.5 * dy / frame.front_mm, 0, 1.2)
    return np.asarray((frame.z - frame.base[side] - dome - tilt) * 0.85, np.float32)


def _fissures(rng: np.random.Generator, style: Style, frame: Frame, step: float) -> list[Array]:
    """Fields in mm of height, positive above: oblique right, oblique left, horizontal."""
    u = (frame.y - frame.cy) / frame.front_mm
    fields = []
    shape = frame.z.shape
    for side in (-1, 1):
        back, middle = rng.uniform(*style.oblique_back), rng.uniform(*style.oblique_middle)
        front = rng.uniform(*style.oblique_front)
        w = side * (frame.x - frame.cx) / frame.side_mm - 0.5
        surface = middle + (back - front) / 2 * u + ((back + front) / 2 - middle) * u * u
        surface = surface + rng.uniform(-0.22, 0.22) * w + rng.uniform(-0.25, 0.25) * w * u
        fields.append(_height_field(rng, frame, side, surface, step))
    w = -(frame.x - frame.cx) / frame.side_mm - 0.5
    surface = rng.uniform(*style.horizontal) + rng.uniform(-0.12, 0.2) * u + rng.uniform(-0.2, 0.2) * w
    surface = surface - rng.uniform(-0.05, 0.25) * (w * w + (u + 0.3) ** 2 - 0.2)
    fields.append(_height_field(rng, frame, -1, surface, step))
    assert all(field.shape == shape for field in fields)
    return fields


def _height_field(rng: np.random.Generator, frame: Frame, side: int, surface: Array, step: float) -> Array:
    tall = frame.apex[side] - frame.base[side]
    wave = rng.uniform(0.5, 5) * smooth_noise(rng, surface.shape, rng.uniform(25, 60) / step)
    return np.asarray((frame.height(side) - surface) * tall + wave, np.float32)


def _lobes(
    depth: Array, left: NDArray[np.bool_], right_oblique: Array, left_oblique: Array, horizontal: Array
) -> NDArray[np.uint8]:
    right_label = np.where(right_oblique < 0, 3, np.where(horizontal < 0, 2, 1))
    label = np.where(left, np.where(left_oblique < 0, 5, 4), right_label)
    return np.where(depth > 0, label, 0).astype(np.uint8)


def _possible(labels: NDArray[np.uint8]) -> bool:
    count = np.bincount(labels.ravel(), minlength=6)
    right, left = max(int(count[1:4].sum()), 1), max(int(count[4:].sum()), 1)
    middle, lower = count[2] / right, (count[3] / right, count[5] / left)
    fits = all(LOWER_SHARE[0] < share < LOWER_SHARE[1] for share in lower)
    return fits and bool(MIDDLE_SHARE[0] < middle < MIDDLE_SHARE[1]) and count[1] > 0.12 * right


def _distance(field: Array, step: float) -> Array:
    """Signed distance to the zero level of a smooth field, in mm."""
    slope = np.sqrt(sum(part**2 for part in np.gradient(field, step)))
    return np.asarray(field / np.maximum(slope, 0.3), np.float32)


def _hilum(frame: Frame, side: int) -> Vector:
    """The voxel of the full grid where vessels and airways of a lung begin."""
    z = frame.base[side] + 0.52 * (frame.apex[side] - frame.base[side])
    miss = (frame.z - z) ** 2 + (frame.y - frame.cy - 6) ** 2 + (frame.x - frame.cx - side * 34) ** 2
    return np.array(np.unravel_index(int(np.argmin(miss)), miss.shape), np.float64) * 2
