"""Body, lungs, mediastinum and bones of a synthetic chest, on a 1 mm grid.

Axes are (slice, row, column): slice 0 is the most inferior, row 0 anterior, column 0 the patient's
right, all in mm. Sizes are rounded from anatomy textbooks and vary from phantom to phantom.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from models.lung_nodule_ct.phantom_shapes import (
    Array,
    Vector,
    draw_ball,
    draw_tube,
    half_grid,
    smooth_noise,
    upsample_by_two,
)
from models.lung_nodule_ct.phantom_style import TRAINING, Style


@dataclass(frozen=True)
class Chest:
    """The painted chest and what later steps need to know about it.

    hu: float32 (slice, row, column). depth_mm: about the distance into the lung from its surface,
    negative outside. lung: the lungs' share of each voxel in [0, 1].
    hila: the (left, right) points from which vessels and airways grow. blood_hu: in the lungs' vessels.
    """

    hu: Array
    depth_mm: Array
    lung: Array
    hila: tuple[Vector, Vector]
    blood_hu: float
    center: Vector
    thorax_mm: tuple[float, float]
    style: Style


@dataclass(frozen=True)
class _Frame:
    """Centre and half axes of the rib cage, in mm."""

    shape: tuple[int, int, int]
    cy: float
    cx: float
    ay: float
    ax: float
    apex_z: float

    def taper(self, z: Array | float) -> Array:
        """Scale of the rib cage's cross-section at a height."""
        above = np.clip((np.asarray(z, np.float32) - 0.45 * self.apex_z) / (0.55 * self.apex_z), 0, 1)
        return np.asarray(np.sqrt(np.clip(1 - 0.93 * above**2.4, 0, 1)), np.float32)


def make_chest(rng: np.random.Generator, shape: tuple[int, int, int], style: Style = TRAINING) -> Chest:
    """Everything that does not depend on vessels and lesions."""
    scale = rng.uniform(0.85, 1.05)
    frame = _Frame(
        shape, cy=shape[1] * 0.5 + rng.uniform(-4, 4), cx=shape[2] * 0.5 + rng.uniform(-4, 4),
        ay=90 * scale * rng.uniform(0.92, 1.08), ax=130 * scale * rng.uniform(0.95, 1.05),
        apex_z=shape[0] * rng.uniform(0.9, 0.99),
    )  # fmt: skip
    depth = _lung_depth(rng, frame, style)
    lung = np.clip(depth + 0.5, 0, 1)
    hu = _soft_tissue(rng, frame)
    hu += (_lung_air(rng, frame, depth, style) - hu) * lung
    blood = float(rng.uniform(30, 60) if rng.random() < 0.5 else rng.uniform(80, 350))
    _mediastinum(rng, frame, hu, blood)
    _bones(rng, frame, hu)
    _gas_and_table(rng, frame, hu)
    center = np.array([shape[0] / 2, frame.cy, frame.cx])
    hila = tuple(
        np.array(
            [
                0.5 * frame.apex_z + rng.uniform(-4, 4),
                frame.cy + 6 + rng.uniform(-4, 4),
                frame.cx + side * 40 * scale,
            ]
        )
        for side in (1, -1)
    )
    return Chest(hu, depth, lung, (hila[0], hila[1]), blood, center, (frame.ay, frame.ax), style)


def _lung_depth(rng: np.random.Generator, frame: _Frame, style: Style) -> Array:
    """About the signed distance to the lung surface in mm, positive inside."""
    z, y, x = half_grid(frame.shape)
    taper = frame.taper(z)
    dy, dx = y - frame.cy, x - frame.cx
    power = 2.3
    cage = (np.abs(dy / (frame.ay * taper)) ** power + np.abs(dx / (frame.ax * taper)) ** power) ** (
        1 / power
    )
    inside_cage = (1 - cage) * (frame.ay * 0.5 + frame.ax * 0.5) * taper
    height = z / frame.apex_z
    hilum = np.exp(-(((height - 0.52) / 0.14) ** 2)) * 10
    width = (
        9 + (20 + hilum) * np.exp(-((dy / (0.55 * frame.ay)) ** 2)) + 10 * np.clip((height - 0.6) * 3, 0, 1)
    )
    beside = np.abs(dx) - width
    heart = _ellipsoid_distance(
        z, y, x, (0.34 * frame.apex_z, frame.cy - 0.28 * frame.ay, frame.cx + rng.uniform(12, 24)),
        (rng.uniform(45, 58), 0.5 * frame.ay, rng.uniform(52, 66)),
    )  # fmt: skip
    spine = np.hypot((y - (frame.cy + frame.ay * 0.93)), dx * 0.9) - rng.uniform(24, 30)
    depth = np.minimum(np.minimum(inside_cage, beside), np.minimum(heart, spine))
    for side in (1, -1):
        base = rng.uniform(8, 20) + (6 if side < 0 else 0)
        dome = rng.uniform(30, 50)
        round_top = (
            1 - ((dy + 10) / (0.95 * frame.ay)) ** 2 - ((dx - side * 0.5 * frame.ax) / (0.62 * frame.ax)) ** 2
        )
        floor = z - base - dome * np.clip(round_top, -0.3, 1)
        depth = np.where(side * dx > 0, np.minimum(depth, floor), depth)
    bump_scale, bump = rng.uniform(12, 30), rng.uniform(*style.bump_mm)
    depth = depth + bump * smooth_noise(rng, depth.shape, bump_scale / 2)
    return upsample_by_two(depth.astype(np.float32), frame.shape)


def _ellipsoid_distance(
    z: Array, y: Array, x: Array, center: tuple[float, float, float], radii: tuple[float, float, float]
) -> Array:
    level = np.sqrt(sum(((g - c) / r) ** 2 for g, c, r in zip((z, y, x), center, radii, strict=True)))
    return np.asarray((level - 1) * min(radii), np.float32)


def _soft_tissue(rng: np.random.Generator, frame: _Frame) -> Array:
    """Air, fat and muscle without the lungs."""
    z, y, x = half_grid(frame.shape)
    fat = rng.uniform(6, 25)
    muscle_y, muscle_x = frame.ay + 20, frame.ax + 20
    dy, dx = y - frame.cy, x - frame.cx
    shape = np.broadcast_to(z * 0 + dy * 0 + dx * 0, (len(z), y.shape[1], x.shape[2])).shape
    level = np.sqrt((dy / muscle_y) ** 2 + (dx / muscle_x) ** 2) + 0 * z
    into_muscle = (1 - level) * muscle_y
    noise = smooth_noise(rng, shape, 12) * 4
    hu = np.full(shape, -1000, np.float32)
    hu += (-95 + 1000) * np.clip(into_muscle + fat + 0.5, 0, 1)
    hu += (rng.uniform(40, 60) + 95) * np.clip(into_muscle + noise + 0.5, 0, 1)
    mediastinal_fat = smooth_noise(rng, shape, 6) > rng.uniform(0.7, 1.6)
    hu[mediastinal_fat & (np.abs(dx) < 45) & (np.abs(dy) < 60)] = -90
    return upsample_by_two(hu, frame.shape)


def _lung_air(rng: np.random.Generator, frame: _Frame, depth: Array, style: Style) -> Array:
    """HU of lung tissue: patchy, denser where gravity pulls, with emphysema and haze in some."""
    shape = frame.shape
    base = rng.uniform(*style.lung_hu)
    coarse_mm, fine_mm = style.texture_mm
    air = (
        base
        + smooth_noise(rng, shape, coarse_mm) * rng.uniform(8, 25)
        + smooth_noise(rng, shape, fine_mm) * rng.uniform(5, 18)
    )
    rows = (np.arange(shape[1], dtype=np.float32) - frame.cy)[None, :, None] / frame.ay
    air += rows * rng.uniform(10, 45) + np.clip(rows - 0.5, 0, 1) * rng.uniform(0, 160)
    if rng.random() < 0.3:
        holes = np.clip(smooth_noise(rng, shape, rng.uniform(5, 12)) - rng.uniform(0.8, 1.6), 0, 0.6) / 0.6
        air += (-975 - air) * holes
    if rng.random() < 0.25:
        haze = np.clip(smooth_noise(rng, shape, 40) - rng.uniform(0.6, 1.5), 0, 1)
        air += haze * rng.uniform(60, 220)
    if rng.random() < 0.2:
        net = np.exp(-((smooth_noise(rng, shape, 5) / 0.18) ** 2)) * np.exp(-np.clip(depth, 0, 60) / 8)
        air += net * rng.uniform(80, 350)
    return air


def _mediastinum(rng: np.random.Generator, frame: _Frame, hu: Array, blood: float) -> None:
    """Aorta, great vessels, trachea with main bronchi, oesophagus and nodes at the hila."""
    top, cy, cx = frame.apex_z, frame.cy, frame.cx
    aorta = rng.uniform(10, 15)
    down = [
        np.array([0.0, cy + 0.62 * frame.ay, cx + 20]),
        np.array([0.68 * top, cy + 0.5 * frame.ay, cx + 22]),
    ]
    arch = [down[1], np.array([0.76 * top, cy + 6, cx + 14]), np.array([0.7 * top, cy - 26, cx - 8])]
    for a, b in zip((down[0], *arch[:-1]), (down[1], *arch[1:]), strict=True):
        draw_tube(hu, a, b, (aorta, aorta), blood, mode="set")
    draw_tube(hu, arch[-1], np.array([0.42 * top, cy - 16, cx]), (aorta + 3, aorta + 4), blood, mode="set")
    draw_tube(
        hu,
        np.array([0.45 * top, cy - 12, cx - 26]),
        np.array([0.95 * top, cy - 18, cx - 20]),
        (9, 8),
        blood,
        mode="set",
    )
    for side in (1, -1):
        hilum = np.array([0.53 * top, cy + 4, cx + side * 36])
        draw_tube(hu, np.array([0.56 * top, cy - 10, cx + 4]), hilum, (11, 8), blood)
        for _ in range(rng.integers(1, 6)):
            node = hilum + rng.normal(0, 1, 3) * (16, 10, 5)
            draw_ball(hu, node, rng.uniform(3, 8, 3), 40)
    carina = np.array([0.6 * top, cy + 6, cx])
    tubes = [(np.array([top + 20, cy + 2, cx]), carina, 9.0)]
    tubes += [(carina, np.array([0.53 * top, cy + 8, cx + side * 38]), 6.5) for side in (1, -1)]
    for a, b, radius in tubes:
        draw_tube(hu, a, b, (radius + 1.6, radius + 1.2), 50)
    for a, b, radius in tubes:
        draw_tube(hu, a, b, (radius, radius - 0.7), -985, mode="set")
    if rng.random() < 0.5:
        draw_tube(
            hu,
            np.array([0.3 * top, cy + 34, cx + 8]),
            np.array([0.6 * top, cy + 30, cx + 6]),
            (2, 4),
            -900,
            mode="set",
        )


def _bones(rng: np.random.Generator, frame: _Frame, hu: Array) -> None:
    """Spine with osteophytes, ribs with bulging ends, sternum and clavicles."""
    cortex, marrow = rng.uniform(300, 650), rng.uniform(90, 220)
    axis_y = frame.cy + 0.98 * frame.ay
    step, z = rng.uniform(20, 26), 0.0
    while z < frame.shape[0]:
        low, high = np.array([z, axis_y, frame.cx]), np.array([z + step * 0.8, axis_y, frame.cx])
        draw_tube(hu, low, high, (17, 17), cortex, mode="set")
        draw_tube(hu, low, high, (15, 15), marrow, mode="set")
        if rng.random() < 0.35:
            angle = rng.uniform(-1.2, 1.2)
            tip = np.array([z + step * 0.9, axis_y - 20 * np.cos(angle), frame.cx + 24 * np.sin(angle)])
            draw_ball(hu, tip, rng.uniform(3, 7, 3), cortex)
        z += step
    for index in range(11):
        _rib_pair(rng, frame, hu, index, cortex, marrow)
    draw_tube(
        hu, np.array([0.35 * frame.apex_z, frame.cy - 1.07 * frame.ay, frame.cx]),
        np.array([0.8 * frame.apex_z, frame.cy - 0.9 * frame.ay, frame.cx]), (9, 10), marrow, mode="set",
    )  # fmt: skip
    for side in (1, -1):
        inner = np.array([0.86 * frame.apex_z, frame.cy - 0.55 * frame.ay, frame.cx + side * 15])
        outer = np.array([0.97 * frame.apex_z, frame.cy - 0.2 * frame.ay, frame.cx + side * 0.9 * frame.ax])
        draw_tube(hu, inner, outer, (7, 6), cortex, mode="set")
        draw_tube(hu, inner, outer, (4, 3.5), marrow, mode="set")


def _rib_pair(
    rng: np.random.Generator, frame: _Frame, hu: Array, index: int, cortex: float, marrow: float
) -> None:
    back = frame.apex_z * (0.1 + 0.083 * index)
    drop = rng.uniform(30, 55) * (0.5 if index == 10 else 1)
    out = rng.uniform(1.03, 1.08)
    thick = rng.uniform(3.8, 5.4)
    angles = np.linspace(0.1 * np.pi, (0.62 if index < 2 else 0.85) * np.pi, 26)
    for side in (1, -1):
        points = []
        for t in angles:
            z = back - drop * (1 - np.cos(t)) / 2
            size = float(frame.taper(max(z, 0.0))) + 0.02
            points.append(
                np.array(
                    [
                        z,
                        frame.cy + np.cos(t) * frame.ay * size * out,
                        frame.cx + side * np.sin(t) * frame.ax * size * out,
                    ]
                )
            )
        for width, value in ((thick, cortex), (thick - rng.uniform(1.3, 2.2), marrow)):
            for a, b in itertools.pairwise(points):
                draw_tube(hu, a, b, (width, width), value, mode="set")
        if index >= 8 or rng.random() < 0.3:
            draw_ball(hu, points[-1], rng.uniform(4.5, 9, 3), rng.uniform(80, 400))


def _gas_and_table(rng: np.random.Generator, frame: _Frame, hu: Array) -> None:
    """Gas in the stomach and colon, which a lung mask must not take for lung, and the table."""
    for _ in range(rng.integers(0, 4)):
        center = np.array(
            [rng.uniform(0, 16), frame.cy + rng.uniform(-40, 20), frame.cx + rng.uniform(10, 80)]
        )
        radii = rng.uniform(8, 22, 3)
        center[0] = min(center[0], 14 - radii[0] * 0.3)
        draw_ball(hu, center, radii, rng.uniform(-990, -900), mode="set")
    row = int(frame.cy + frame.ay + 20 + rng.uniform(20, 30))
    if row + 4 < frame.shape[1]:
        hu[:, row : row + 3, 20:-20] = np.maximum(hu[:, row : row + 3, 20:-20], rng.uniform(-300, 200))
