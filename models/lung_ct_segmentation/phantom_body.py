"""What lies around the lungs and what fills them: walls, mediastinum, abdomen, bones, lung tissue."""

from __future__ import annotations

import itertools

import numpy as np

from models.lung_ct_segmentation.phantom_lungs import Frame, Lungs
from models.lung_ct_segmentation.phantom_style import Style
from models.lung_nodule_ct.phantom_shapes import (
    Array,
    Vector,
    draw_ball,
    draw_tube,
    smooth_noise,
    upsample_by_two,
)


def draw_body(rng: np.random.Generator, style: Style, lungs: Lungs, blood_hu: float) -> Array:
    """HU of the chest without vessels in the lungs."""
    hu = _walls(rng, lungs)
    hu += (_lung_tissue(rng, style, lungs) - hu) * lungs.share
    _mediastinum(rng, lungs, hu, blood_hu)
    _bones(rng, lungs, hu)
    _gas(rng, lungs, hu)
    return hu


def voxel_of(frame: Frame, grid_mm: float, point: tuple[float, float, float]) -> Vector:
    """The voxel of the full grid whose warped coordinates come nearest to a point in mm, roughly."""
    guess = np.array(point) / (2 * grid_mm)
    low = np.clip(guess.astype(int) - 14, 0, np.array(frame.z.shape) - 2)
    box = tuple(slice(int(start), int(start) + 29) for start in low)
    near = [(g[box] - t) ** 2 for g, t in zip((frame.z, frame.y, frame.x), point, strict=True)]
    miss = near[0] + near[1] + near[2]
    found = np.array(np.unravel_index(int(np.argmin(miss)), miss.shape))
    return np.asarray((low + found) * 2.0, np.float64)


def _walls(rng: np.random.Generator, lungs: Lungs) -> Array:
    """Air, fat and muscle; fat in the mediastinum; the organs under the diaphragm."""
    frame, shape = lungs.frame, lungs.labels.shape
    dy, dx = frame.y - frame.cy, frame.x - frame.cx
    muscle_y, muscle_x = frame.front_mm + rng.uniform(12, 30), frame.side_mm + rng.uniform(12, 34)
    level = np.sqrt((dy / muscle_y) ** 2 + (dx / muscle_x) ** 2)
    into_muscle = (1 - level) * muscle_y
    step = lungs.grid_mm * 2
    noise = smooth_noise(rng, level.shape, 25 / step) * 4
    hu = np.full(level.shape, -1000, np.float32)
    hu += (-95 + 1000) * np.clip(into_muscle / step + rng.uniform(4, 40) / step + 0.5, 0, 1)
    hu += (rng.uniform(30, 65) + 95) * np.clip((into_muscle + noise) / step + 0.5, 0, 1)
    fat = smooth_noise(rng, level.shape, 14 / step) > rng.uniform(0.2, 1.6)
    hu[fat & (np.abs(dx) < 50) & (np.abs(dy) < 70)] = -90
    inside = into_muscle > 8
    below = frame.z < min(frame.base.values()) + rng.uniform(0, 60)
    hu[inside & below] += (smooth_noise(rng, level.shape, 30 / step) * 20 + rng.uniform(-30, 60))[
        inside & below
    ]
    return upsample_by_two(hu.astype(np.float32), shape)


def _lung_tissue(rng: np.random.Generator, style: Style, lungs: Lungs) -> Array:
    """Patchy, denser where gravity pulls, with emphysema, haze and fibrosis in some."""
    shape, g = lungs.labels.shape, lungs.grid_mm
    air = np.full(shape, rng.uniform(*style.lung_hu), np.float32)
    if rng.random() < 0.3:  # lobes may differ in how well they are aired
        air += np.array([0, *rng.normal(0, 22, 5)], np.float32)[lungs.labels]
    air += smooth_noise(rng, shape, 20 / g) * rng.uniform(5, 22) + smooth_noise(
        rng, shape, 6 / g
    ) * rng.uniform(4, 18)
    rows = upsample_by_two((lungs.frame.y - lungs.frame.cy) / lungs.frame.front_mm, shape)
    if rng.random() < 0.1:  # prone
        rows = -rows
    air += rows * rng.uniform(5, 50) + np.clip(rows - 0.5, 0, 1) * rng.uniform(0, 260)
    if rng.random() < 0.3:
        holes = (
            np.clip(smooth_noise(rng, shape, rng.uniform(6, 24) / g) - rng.uniform(0.6, 1.6), 0, 0.6) / 0.6
        )
        air += (-975 - air) * holes
    if rng.random() < 0.3:
        haze = np.clip(smooth_noise(rng, shape, rng.uniform(25, 80) / g) - rng.uniform(0.2, 1.3), 0, 1)
        air += haze * rng.uniform(60, 350)
    if rng.random() < 0.2:
        near = np.exp(-np.clip(lungs.depth_mm, 0, 80) / rng.uniform(6, 18))
        air += np.exp(-((smooth_noise(rng, shape, 6 / g) / 0.3) ** 2)) * near * rng.uniform(80, 400)
    return air


def _mediastinum(rng: np.random.Generator, lungs: Lungs, hu: Array, blood: float) -> None:
    """Heart, aorta and great vessels, trachea with main bronchi."""
    frame, g = lungs.frame, lungs.grid_mm
    low, top = min(frame.base.values()), max(frame.apex.values())
    tall, cy, cx = top - low, frame.cy, frame.cx

    def at(height: float, dy: float, dx: float) -> Vector:
        return voxel_of(frame, g, (low + height * tall, cy + dy, cx + dx))

    outside = 1 - lungs.share
    back = 0.6 * frame.front_mm
    heart = at(rng.uniform(0.28, 0.4), -0.28 * frame.front_mm, 15)
    draw_ball(
        hu, heart, np.array([50.0, 0.45 * frame.front_mm, 52.0]) / g, max(blood - 20, 40), outside, "set"
    )
    aorta = rng.uniform(10, 17) / g
    path = [at(0.0, back, 18), at(0.66, back - 8, 22), at(0.76, 4, 14), at(0.68, -26, -8), at(0.42, -16, 0)]
    path = [path[0] * (0, 1, 1), *path]
    for a, b in itertools.pairwise(path):
        draw_tube(hu, a, b, (aorta, aorta), blood, outside, "set")
    draw_tube(hu, at(0.42, -12, -28), at(0.95, -16, -20), (9 / g, 8 / g), blood, outside, "set")
    carina, above = at(rng.uniform(0.56, 0.64), 6, 0), at(1.0, rng.uniform(-4, 8), 0)
    above = above + (above - carina) * 0.3
    tubes = [(above, carina, rng.uniform(7, 10.5))]
    for side in (-1, 1):
        hilum = lungs.hila[side]
        draw_tube(hu, at(0.56, -10, 4), hilum, (11 / g, 8 / g), blood, outside)
        for _ in range(rng.integers(1, 6)):
            draw_ball(
                hu, hilum + rng.normal(0, 1, 3) * np.array([16, 10, 5]) / g, rng.uniform(3, 9, 3) / g, 40
            )
        tubes.append((carina, hilum, rng.uniform(4.5, 7.5)))
    for a, b, radius in tubes:
        draw_tube(hu, a, b, ((radius + 1.6) / g, (radius + 1.2) / g), 50)
    for a, b, radius in tubes:
        draw_tube(hu, a, b, (radius / g, (radius - 0.7) / g), -985, mode="set")


def _bones(rng: np.random.Generator, lungs: Lungs, hu: Array) -> None:
    """Spine, ribs, sternum."""
    frame, g = lungs.frame, lungs.grid_mm
    outside = 1 - lungs.share
    low, top = min(frame.base.values()) - 30, max(frame.apex.values()) + 10
    cortex, marrow = rng.uniform(250, 650), rng.uniform(60, 220)
    spine_y = frame.cy + rng.uniform(0.92, 1.02) * frame.front_mm
    heights = np.arange(low, top, rng.uniform(20, 28))
    joints = [voxel_of(frame, g, (float(z), spine_y, frame.cx)) for z in heights]
    for a, b in itertools.pairwise(joints):
        end = a + (b - a) * 0.8
        draw_tube(hu, a, end, (17 / g, 17 / g), cortex, outside, "set")
        draw_tube(hu, a, end, (15 / g, 15 / g), marrow, outside, "set")
    drop = rng.uniform(30, 70)
    for height in np.linspace(low + 40, top - 5, 10):
        taper = float(
            np.sqrt(
                np.clip(
                    1 - 0.92 * max(0.0, (height - low - 0.4 * (top - low)) / (0.6 * (top - low))) ** 2.4,
                    0.05,
                    1,
                )
            )
        )
        for side in (-1, 1):
            points = []
            for t in np.linspace(0.1, 0.82, 12) * np.pi:
                z = float(height - drop * (1 - np.cos(t)) / 2)
                y = frame.cy + np.cos(t) * (frame.front_mm + 7) * taper
                x = frame.cx + side * np.sin(t) * (frame.side_mm + 7) * taper
                points.append(np.array([z, y, x]) / g)
            for a, b in itertools.pairwise(points):
                draw_tube(
                    hu, a, b, (rng.uniform(4.5, 5.5) / g,) * 2, cortex * 0.6 + marrow * 0.4, outside, "set"
                )
    a = voxel_of(frame, g, (low + 0.4 * (top - low), frame.cy - 1.08 * frame.front_mm, frame.cx))
    b = voxel_of(frame, g, (low + 0.85 * (top - low), frame.cy - 0.92 * frame.front_mm, frame.cx))
    draw_tube(hu, a, b, (9 / g, 10 / g), marrow, outside, "set")


def _gas(rng: np.random.Generator, lungs: Lungs, hu: Array) -> None:
    """Gas in stomach, colon and oesophagus, which is not lung."""
    frame, g = lungs.frame, lungs.grid_mm
    outside = np.clip(-lungs.depth_mm / 3, 0, 1).astype(np.float32)
    low = min(frame.base.values())
    for _ in range(rng.integers(0, 5)):
        point = (
            low + rng.uniform(-20, 40),
            frame.cy + rng.uniform(-60, 20),
            frame.cx + rng.uniform(-80, 100),
        )
        draw_ball(
            hu, voxel_of(frame, g, point), rng.uniform(6, 34, 3) / g, rng.uniform(-990, -880), outside, "set"
        )
    if rng.random() < 0.3:
        start = voxel_of(frame, g, (low + 20, frame.cy + 36, frame.cx + 8))
        draw_tube(hu, start, start + np.array([100, 0, 0]) / g, (2 / g, 5 / g), -900, outside, "set")
