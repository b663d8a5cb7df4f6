"""Soft tissue and lungs of a synthetic standing patient, as attenuation on a coarse grid.

Points are (z, y, x) in mm: z upwards, y from anterior to posterior, x from the patient's right to the left.
Attenuation is relative to water (1.0); air is 0. Sizes are rounded from anatomy textbooks and vary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.lung_nodule_ct.phantom_shapes import smooth_noise, upsample_by_two

Array = NDArray[np.float32]
Vector = NDArray[np.float64]

STEP_MM = 3.0
FIELD_MM = (432.0, 282.0, 492.0)
FAT, SOFT, AIR = 0.91, 1.05, 0.001


@dataclass(frozen=True)
class Style:
    """The (low, high) ranges from which a generator draws. Held-out phantoms come from another style than training.

    size: scale of the rib cage. lung_height_mm: from the costophrenic recess to the apex, which is how deep the
    patient breathed in. fat_mm: under the skin. lung: attenuation of lung tissue. vessel_points: of each vessel
    tree. scatter, photons, blur_mm: scattered share, photons for each pixel in the open field, detector blur.
    curves: how a detector or film turns exposure into values. finding_scale: sizes of findings relative to the
    usual. tilt: shear by which the patient stands askew.
    """

    name: str
    size: tuple[float, float] = (0.85, 1.12)
    lung_height_mm: tuple[float, float] = (205, 285)
    fat_mm: tuple[float, float] = (5, 38)
    lung: tuple[float, float] = (0.13, 0.27)
    vessel_points: tuple[int, int] = (150, 380)
    scatter: tuple[float, float] = (0.08, 0.55)
    photons: tuple[float, float] = (1500, 40000)
    blur_mm: tuple[float, float] = (0.3, 1.1)
    curves: tuple[str, ...] = ("log", "film", "linear", "enhanced")
    finding_scale: tuple[float, float] = (0.8, 1.25)
    tilt: tuple[float, float] = (-0.09, 0.09)


TRAINING = Style("training")
HELD_OUT = Style(
    "held-out", size=(0.8, 1.06), lung_height_mm=(195, 270), fat_mm=(3, 45), lung=(0.15, 0.31),
    vessel_points=(200, 450), scatter=(0.15, 0.65), photons=(900, 20000), blur_mm=(0.5, 1.4),
    curves=("film", "steep", "enhanced", "root"), finding_scale=(0.7, 1.15), tilt=(-0.12, 0.12),
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """Centre and half axes of the rib cage; z of the costophrenic recess and of the apex."""

    cy: float
    cx: float
    ay: float
    ax: float
    base_z: float
    apex_z: float
    fat_mm: float

    @property
    def height(self) -> float:
        return self.apex_z - self.base_z

    def z_at(self, share: float) -> float:
        """The height at `share` of the lungs, 0 at the recess and 1 at the apex."""
        return self.base_z + share * self.height

    def taper(self, z: Array | float) -> Array:
        """Scale of the rib cage's cross-section at a height."""
        above = np.clip((np.asarray(z, np.float32) - self.z_at(0.42)) / (0.58 * self.height), 0, 1)
        return np.asarray(np.sqrt(np.clip(1 - 0.95 * above**2.4, 0.02, 1)), np.float32)


@dataclass
class Body:
    """A patient before any finding. Volumes are (z, y, x) at STEP_MM.

    tissue: attenuation without lungs. lung_depth: about mm to the lung's surface, positive inside, without the
    heart. wall_depth: mm from the inside of the rib cage. heart_level: 1 on the surface of a heart of usual size
    scaled by `heart_scale`, less inside. lung: attenuation of lung tissue.
    """

    frame: Frame
    style: Style
    tissue: Array
    lung_depth: Array
    wall_depth: Array
    half_width: Array
    lung: Array
    floor: Array
    hila: tuple[Vector, Vector]
    heart_center: Vector
    is_female: bool

    @property
    def grid(self) -> tuple[Array, Array, Array]:
        """Open coordinate arrays (z, y, x) in mm."""
        return grid_mm()

    def heart_distance(self, scale: float) -> Array:
        """About mm outside the surface of a heart that is `scale` times as wide as usual."""
        z, y, x = self.grid
        cz, cy, cx = self.heart_center
        size = self.frame.ax / 130
        angle = 0.55
        dz, dx = z - cz, x - cx - 6 * (scale - 1) * size
        along, across = dx * np.cos(angle) - dz * np.sin(angle), dx * np.sin(angle) + dz * np.cos(angle)
        long, short, deep = 66 * size * scale, 45 * size * scale**0.7, 46 * size * scale**0.6
        left = np.sqrt((along / long) ** 2 + (across / short) ** 2 + ((y - cy) / deep) ** 2)
        rx, rz = cx - 30 * size * scale**1.1, cz + 6
        right = np.sqrt(
            ((x - rx) / (33 * size * scale)) ** 2 + ((z - rz) / (44 * size)) ** 2 + ((y - cy) / deep) ** 2
        )
        return np.asarray(np.minimum((left - 1) * short, (right - 1) * 33 * size), np.float32)


def grid_mm() -> tuple[Array, Array, Array]:
    """Open coordinate arrays (z, y, x) in mm of the coarse grid."""
    axes = np.ogrid[tuple(slice(0, round(length / STEP_MM)) for length in FIELD_MM)]
    z, y, x = (np.asarray(axis * STEP_MM, np.float32) for axis in axes)
    return z, y, x


def noise(rng: np.random.Generator, scale_mm: float) -> Array:
    """Smooth noise of unit deviation on the coarse grid; made on every second voxel where it is smooth."""
    shape = tuple(round(length / STEP_MM) for length in FIELD_MM)
    if scale_mm < 4 * STEP_MM:
        return smooth_noise(rng, shape, scale_mm / STEP_MM)
    half = tuple(-(-length // 2) for length in shape)
    return upsample_by_two(smooth_noise(rng, half, scale_mm / STEP_MM / 2), shape)


def make_body(rng: np.random.Generator, style: Style) -> Body:
    """A patient of its own for every state of `rng`."""
    scale = rng.uniform(*style.size)
    height = rng.uniform(*style.lung_height_mm) * (0.6 + 0.4 * scale)
    base = 88 + rng.uniform(-6, 6)
    frame = Frame(
        cy=130 + rng.uniform(-4, 4), cx=FIELD_MM[2] / 2 + rng.uniform(-4, 4),
        ay=88 * scale * rng.uniform(0.9, 1.08), ax=132 * scale * rng.uniform(0.94, 1.06),
        base_z=base, apex_z=base + height, fat_mm=rng.uniform(*style.fat_mm),
    )  # fmt: skip
    is_female = bool(rng.random() < 0.5)
    lung_depth, wall_depth, half_width, floor = _lungs(rng, frame)
    tissue = _tissue(rng, frame, is_female)
    heart = np.array(
        [frame.z_at(0.27) + rng.uniform(-4, 4), frame.cy - 0.3 * frame.ay, frame.cx + rng.uniform(16, 24)]
    )
    hila = tuple(
        np.array([frame.z_at(0.53) + rng.uniform(-6, 6), frame.cy + 6, frame.cx + side * 36 * frame.ax / 130])
        for side in (1, -1)
    )
    air = rng.uniform(*style.lung) + noise(rng, 26) * rng.uniform(0.005, 0.02)
    air += noise(rng, 9) * rng.uniform(0.005, 0.02)
    return Body(
        frame, style, tissue, lung_depth, wall_depth, half_width, np.clip(air, 0.05, 0.6).astype(np.float32), floor,
        (hila[0], hila[1]), heart, is_female,
    )  # fmt: skip


def _lungs(rng: np.random.Generator, frame: Frame) -> tuple[Array, Array, Array, Array]:
    """`lung_depth`, `wall_depth`, `half_width` and `floor` of a `Body`."""
    z, y, x = grid_mm()
    taper = frame.taper(z)
    dy, dx = y - frame.cy, x - frame.cx
    power = rng.uniform(2.1, 2.6)
    cage = (np.abs(dy / (frame.ay * taper)) ** power + np.abs(dx / (frame.ax * taper)) ** power) ** (
        1 / power
    )
    wall = (1 - cage) * (frame.ay + frame.ax) * 0.5 * taper
    height = (z - frame.base_z) / frame.height
    hilum = np.exp(-(((height - 0.55) / 0.13) ** 2)) * rng.uniform(4, 10)
    top = np.clip((height - 0.62) * 3, 0, 1) * rng.uniform(4, 14)
    width = 10 + (rng.uniform(13, 20) + hilum) * np.exp(-((dy / (0.55 * frame.ay)) ** 2)) + top
    depth = np.minimum(wall, np.abs(dx) - width)
    knob = np.hypot(z - frame.z_at(0.7), dx - rng.uniform(18, 26)) - rng.uniform(12, 19)
    trunk = np.hypot(z - frame.z_at(0.58), dx - rng.uniform(18, 26)) - rng.uniform(12, 18)
    depth = np.minimum(depth, np.minimum(knob, trunk) + 0.0015 * (dy + 10) ** 2)
    spine = np.hypot(y - (frame.cy + frame.ay * 0.93), dx * 0.9) - rng.uniform(24, 30)
    depth = np.minimum(depth, spine)
    floor = np.zeros(depth.shape, np.float32)
    for side in (1, -1):
        base = frame.base_z + rng.uniform(-4, 8) + (10 if side < 0 else 0)
        dome = rng.uniform(34, 56)
        round_top = (
            1 - ((dy + 10) / (0.98 * frame.ay)) ** 2 - ((dx - side * 0.48 * frame.ax) / (0.6 * frame.ax)) ** 2
        )
        own = z - base - dome * np.clip(round_top, -0.5, 1)
        floor = np.where(side * dx > 0, own, floor).astype(np.float32)
    depth = np.minimum(depth, floor) + rng.uniform(0.2, 0.9) * noise(rng, rng.uniform(12, 30))
    across = np.clip(1 - np.abs(dy / (frame.ay * taper)) ** power, 0, 1) ** (1 / power)
    half_width = (frame.ax * taper * across).astype(np.float32)
    return depth.astype(np.float32), wall.astype(np.float32), half_width, floor


def _tissue(rng: np.random.Generator, frame: Frame, is_female: bool) -> Array:
    """Skin to muscle: trunk, shoulders, neck, upper arms and breasts; gas in stomach and colon."""
    z, y, x = grid_mm()
    dy, dx = y - frame.cy, x - frame.cx
    share = (z - frame.base_z) / frame.height
    shoulder = frame.ax + rng.uniform(38, 58)
    heights = [-0.6, 0.0, 0.55, 0.72, 0.86, 0.97, 1.1, 1.25]
    neck = rng.uniform(52, 64)
    widths = [
        frame.ax + 10,
        frame.ax + 16,
        frame.ax + 26,
        frame.ax + 36,
        shoulder,
        0.62 * shoulder,
        neck,
        neck,
    ]
    depths = [frame.ay + 12, frame.ay + 18, frame.ay + 20, frame.ay + 16, 0.85 * frame.ay, 72, 60, 58]
    half_x, half_y = np.interp(share, heights, widths), np.interp(share, heights, depths)
    level = (np.abs(dy / half_y) ** 2.3 + np.abs(dx / half_x) ** 2.3) ** (1 / 2.3)
    into = (1 - level) * np.minimum(half_x, half_y)
    thick = frame.fat_mm * np.interp(share, [0, 0.7, 1.0], [1, 0.7, 0.3])
    tissue = FAT * np.clip((into + thick) / STEP_MM + 0.5, 0, 1)
    tissue = tissue + (SOFT - FAT) * np.clip((into + 3 * noise(rng, 30)) / STEP_MM + 0.5, 0, 1)
    reach = rng.uniform(20, 90)
    for side in (1, -1):
        joint = np.array([frame.z_at(0.86), frame.cy + 10, frame.cx + side * (shoulder - 6)])
        elbow = np.array([frame.z_at(0.25), frame.cy + 25, frame.cx + side * (shoulder + reach)])
        arm = _capsule(z, y, x, joint, elbow) - rng.uniform(38, 48)
        tissue = np.maximum(tissue, SOFT * np.clip(0.5 - arm / STEP_MM, 0, 1))
    if is_female:
        wide, high, out = rng.uniform(45, 70), rng.uniform(40, 65), rng.uniform(20, 55)
        for side in (1, -1):
            ball = np.sqrt(
                ((z - frame.z_at(rng.uniform(0.1, 0.25))) / high) ** 2
                + ((dy + frame.ay + 12) / (out + 20)) ** 2
                + ((dx - side * (0.55 * frame.ax)) / wide) ** 2
            )
            tissue = np.maximum(tissue, 0.97 * np.clip((1 - ball) * 30 / STEP_MM + 0.5, 0, 1))
    return _gas(rng, frame, tissue.astype(np.float32))


def _gas(rng: np.random.Generator, frame: Frame, tissue: Array) -> Array:
    z, y, x = grid_mm()
    if rng.random() < 0.75:
        center = (frame.base_z + rng.uniform(-5, 14), frame.cy - 20, frame.cx + rng.uniform(40, 85))
        radii = rng.uniform((14, 15, 18), (28, 35, 40))
        ball = np.sqrt(sum(((g - c) / r) ** 2 for g, c, r in zip((z, y, x), center, radii, strict=True)))
        level = np.clip((1 - ball) * 15 / STEP_MM + 0.5, 0, 1)
        if rng.random() < 0.6:  # the gas stands on fluid
            level = level * np.clip((z - center[0] + rng.uniform(0, 12)) / STEP_MM + 0.5, 0, 1)
        tissue = tissue * (1 - level)
    for _ in range(rng.integers(0, 7)):
        center = (rng.uniform(0, frame.base_z - 5), frame.cy - rng.uniform(0, 50), rng.uniform(-1, 1) * 90)
        center = (center[0], center[1], frame.cx + center[2])
        radii = rng.uniform(10, 26, 3)
        ball = np.sqrt(sum(((g - c) / r) ** 2 for g, c, r in zip((z, y, x), center, radii, strict=True)))
        tissue = tissue * (1 - np.clip((1 - ball) * 10 / STEP_MM + 0.5, 0, 1))
    return np.asarray(tissue, np.float32)


def _capsule(z: Array, y: Array, x: Array, start: Vector, stop: Vector) -> Array:
    """Distance in mm from the line between two points."""
    along = stop - start
    offset = [np.asarray(g - s, np.float32) for g, s in zip((z, y, x), start, strict=True)]
    t = sum(o * np.float32(a) for o, a in zip(offset, along, strict=True)) / np.float32(along @ along)
    t = np.clip(t, 0, 1)
    return np.asarray(
        np.sqrt(sum((o - t * np.float32(a)) ** 2 for o, a in zip(offset, along, strict=True))), np.float32
    )


def sample(volume: Array, points: Vector) -> Array:
    """The nearest voxel's value at each of (n, 3) points in mm, 0 outside the grid."""
    index = np.rint(points / STEP_MM).astype(int)
    inside = np.all((index >= 0) & (index < np.array(volume.shape)), axis=1)
    index = np.where(inside[:, None], index, 0)
    return np.where(inside, volume[index[:, 0], index[:, 1], index[:, 2]], 0).astype(np.float32)


def blurred(volume: Array, sigma_mm: float) -> Array:
    """The volume under a Gaussian."""
    return np.asarray(ndimage.gaussian_filter(volume, sigma_mm / STEP_MM, truncate=2), np.float32)
