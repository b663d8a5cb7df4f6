"""Masses as tumours are: lobed, at the hilum, the mediastinum or the chest wall, with what they do to the lung."""

from __future__ import annotations

import numpy as np

from models.lung_nodule_ct.phantom_anatomy import Chest
from models.lung_nodule_ct.phantom_forms import lobed, rippled
from models.lung_nodule_ct.phantom_lesions import Lesion, spicules
from models.lung_nodule_ct.phantom_shapes import (
    Array,
    Vector,
    box_around,
    draw_ball,
    draw_tube,
    paint,
    smooth_noise,
    unit,
)

DIAMETER_MIN_MM, DIAMETER_MAX_MM = 25.0, 80.0
# Of a mass, so much lies in what was lung; the rest has grown into its surroundings and is not seen.
VISIBLE_SHARE_MIN = 0.3


def draw_masses(rng: np.random.Generator, chest: Chest, count: int) -> list[Lesion]:
    """Up to `count` masses of 25 to 80 mm. The diameter is that of the ball of the part that replaces lung."""
    coarse = chest.depth_mm[::2, ::2, ::2]
    inner, edge = np.argwhere(coarse > 10) * 2.0, np.argwhere((coarse > 0) & (coarse < 6)) * 2.0
    middle = np.abs(edge[:, 2] - chest.center[2]) < 0.45 * chest.thorax_mm[1]
    found: list[Lesion] = []
    for _ in range(count * 20):
        if len(found) == count:
            break
        diameter = float(rng.uniform(DIAMETER_MIN_MM, DIAMETER_MAX_MM))
        place = rng.random()
        if place < 0.5:
            side = int(rng.integers(2))
            outwards = np.sign(chest.hila[side][2] - chest.center[2])
            center = chest.hila[side] + rng.normal(0, 1, 3) * (20, 12, 6)
            center[2] += outwards * diameter * rng.uniform(0.1, 0.5)
        else:
            choice = edge[middle] if place < 0.7 else edge[~middle] if place < 0.88 else inner
            center = choice[rng.integers(len(choice))] + rng.uniform(-1, 1, 3)
        if all(np.linalg.norm(center - o.center) > (diameter + o.diameter_mm) / 2 + 10 for o in found):
            lesion = _draw_mass(rng, chest, center, diameter)
            found += [] if lesion is None else [lesion]
    return found


def _draw_mass(rng: np.random.Generator, chest: Chest, center: Vector, diameter: float) -> Lesion | None:
    """Paint one mass; None, and nothing painted, where too little of it would lie in the lung."""
    radius = diameter / 2
    box = box_around(center - 1.9 * radius - 4, center + 1.9 * radius + 4, chest.hu.shape)
    if box is None:
        return None
    if chest.style.lobes:  # the held-out style: the other family of shapes than in training
        distance = rippled(rng, box, center, radius) + smooth_noise(rng, _shape(box), 10) * rng.uniform(0, 3)
    else:
        distance = lobed(rng, box, center, radius, lobes=(2, 9), spread=(0.2, 1.0))
        distance += smooth_noise(rng, distance.shape, rng.uniform(6, 20)) * np.float32(rng.uniform(0.3, 4))
    weight = np.clip(0.5 - distance / rng.uniform(0.8, 2.5), 0, 1).astype(np.float32)
    lesion = in_lung(chest, box, weight)
    if lesion is None:
        return None
    _lung_around(rng, chest, box, center, distance, radius)
    before = chest.hu[box].copy()
    tissue = rng.uniform(15, 75) + smooth_noise(rng, weight.shape, 8) * rng.uniform(2, 12)
    # A mass does not replace bone, and air in its bronchi may stay.
    weight *= before < 150
    if rng.random() < 0.4:
        weight *= ~((before < -920) & (distance > -radius * rng.uniform(0.2, 1)))
    paint(chest.hu, box, weight, np.asarray(tissue, np.float32), "set")
    _inside(rng, chest, center, radius)
    if rng.random() < 0.5:
        spicules(rng, chest, center, radius)
    return lesion


def in_lung(chest: Chest, box: tuple[slice, ...], weight: Array) -> Lesion | None:
    """The truth of what has this weight: the part that replaces lung; None where that is too little."""
    inside = np.where(chest.depth_mm[box] > 0, weight, 0)
    volume = float(inside.sum())
    seen = float(np.cbrt(6 * volume / np.pi))
    if seen < DIAMETER_MIN_MM or volume < VISIBLE_SHARE_MIN * float(weight.sum()):
        return None
    middle = np.array([float((inside * grid).sum()) / volume for grid in np.ogrid[box]])
    return Lesion(middle, seen, "solid")


def _lung_around(
    rng: np.random.Generator,
    chest: Chest,
    box: tuple[slice, ...],
    center: Vector,
    distance: Array,
    radius: float,
) -> None:
    """A halo of haze, and a wedge of collapsed lung behind the mass."""
    if rng.random() < 0.3:
        width = rng.uniform(4, 15)
        halo = np.clip(1 - distance / width, 0, 1) * np.clip(
            smooth_noise(rng, distance.shape, 8) * 0.5 + 0.6, 0, 1
        )
        paint(
            chest.hu, box, np.asarray(halo * chest.lung[box], np.float32), rng.uniform(-700, -350), "brighten"
        )
    if rng.random() < 0.25:
        away = unit(center - chest.center * (0.9, 1, 1))
        tip = center + away * radius * rng.uniform(1.2, 2.5)
        start, stop = radius * rng.uniform(0.2, 0.6), radius * rng.uniform(0.1, 0.6)
        draw_tube(chest.hu, center, tip, (start, stop), rng.uniform(-250, 40), chest.lung)


def _inside(rng: np.random.Generator, chest: Chest, center: Vector, radius: float) -> None:
    """Necrosis, a cavity or calcium in the middle of some masses."""
    place = center + rng.normal(0, 0.15, 3) * radius
    radii = radius * rng.uniform(0.25, 0.6) * rng.uniform(0.7, 1.3, 3)
    chance = rng.random()
    if chance < 0.3:
        draw_ball(chest.hu, place, radii, rng.uniform(0, 25), mode="set", softness_mm=4.0)
    elif chance < 0.38:
        draw_ball(chest.hu, place, radii, -900, mode="set", softness_mm=2.0)
    elif chance < 0.46:
        draw_ball(chest.hu, place, radii * 0.3, rng.uniform(150, 500))


def draw_large_lookalikes(rng: np.random.Generator, chest: Chest) -> None:
    """What only looks like a mass: enlarged nodes and vessels at the hila, effusions, a high or bumpy diaphragm."""
    before = chest.hu.copy()
    for hilum in chest.hila:
        for _ in range(rng.integers(0, 7)):
            draw_ball(
                chest.hu, hilum + rng.normal(0, 1, 3) * (18, 12, 6), rng.uniform(3, 9, 3), rng.uniform(0, 60)
            )
        for _ in range(rng.integers(2, 7)):
            away = unit(
                rng.normal(size=3) * (1.0, 0.6, 0.8) + (0, 0, 0.6 * np.sign(hilum[2] - chest.center[2]))
            )
            stop = hilum + away * rng.uniform(15, 45)
            start, end = rng.uniform(3.5, 9), rng.uniform(0.5, 1.5)
            draw_tube(chest.hu, hilum, stop, (start, end), chest.blood_hu)
    chest.depth_mm[chest.hu - before > 300] = -1  # no nodule can be seen in there, nor in the fluid below
    z, y, x = np.ogrid[tuple(slice(0, length) for length in chest.hu.shape)]
    for side in (1, -1):
        if rng.random() < 0.15:
            level = chest.center[1] + chest.thorax_mm[0] * rng.uniform(0.35, 0.75)
            weight = np.clip((y - level + (z - 40) * rng.uniform(-0.3, 0.1)) / 2 + 0.5, 0, 1)
            weight = weight * (side * (x - chest.center[2]) > 0) * np.clip((140 - z) / 40, 0, 1) * chest.lung
            paint(
                chest.hu, (slice(None),) * 3, np.asarray(weight, np.float32), rng.uniform(0, 25), "brighten"
            )
            chest.depth_mm[weight > 0.5] = -1


def _shape(box: tuple[slice, ...]) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in box)
