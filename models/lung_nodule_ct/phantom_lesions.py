"""Nodules, which are the truth of a phantom, and what only looks like one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.lung_nodule_ct.phantom_anatomy import Chest
from models.lung_nodule_ct.phantom_forms import lobed, rippled
from models.lung_nodule_ct.phantom_shapes import (
    Vector,
    box_around,
    draw_ball,
    draw_tube,
    half_grid,
    paint,
    smooth_noise,
    unit,
    upsample_by_two,
)
from models.lung_nodule_ct.phantom_vessels import Tube

Kind = Literal["solid", "part-solid", "ground-glass"]
DIAMETER_MIN_MM, DIAMETER_MAX_MM = 4.0, 30.0


@dataclass(frozen=True)
class Lesion:
    """A nodule at a point in mm of the 1 mm grid; diameter of the ball of the same visible volume."""

    center: Vector
    diameter_mm: float
    kind: Kind


def draw_nodules(
    rng: np.random.Generator, chest: Chest, vessels: list[Tube], count: int, masses: Sequence[Lesion] = ()
) -> list[Lesion]:
    """Up to `count` nodules beside the masses: a quarter at the pleura, a quarter at vessels, the others anywhere."""
    coarse = chest.depth_mm[::2, ::2, ::2]
    inner = np.argwhere(coarse > 6) * 2.0
    edge = np.argwhere((coarse > 0.5) & (coarse < 3)) * 2.0
    thin = [tube for tube in vessels if tube.radius_mm < 2.5]
    found: list[Lesion] = []
    for _ in range(count * 20):
        if len(found) == count:
            break
        median, deviation = chest.style.nodule_size_mm
        diameter = float(np.clip(rng.lognormal(np.log(median), deviation), DIAMETER_MIN_MM, DIAMETER_MAX_MM))
        place = rng.random()
        if place < 0.25:
            center = edge[rng.integers(len(edge))] + rng.uniform(-1, 1, 3)
        elif place < 0.5 and thin:
            tube = thin[rng.integers(len(thin))]
            center = tube.stop + unit(rng.normal(size=3)) * rng.uniform(0, 0.6) * diameter
        else:
            center = inner[rng.integers(len(inner))] + rng.uniform(-1, 1, 3)
        far = all(
            np.linalg.norm(center - o.center) > (diameter + o.diameter_mm) / 2 + 6 for o in (*masses, *found)
        )
        lesion = _draw_nodule(rng, chest, center, diameter) if far else None
        if lesion is not None:
            found.append(lesion)
    return found


def _kind(rng: np.random.Generator, diameter: float) -> Kind:
    chance = rng.random()
    if chance < 0.15 and diameter > 5.5:
        return "ground-glass"
    return "part-solid" if chance < 0.28 and diameter > 7.5 else "solid"


def _draw_nodule(rng: np.random.Generator, chest: Chest, center: Vector, diameter: float) -> Lesion | None:
    """Paint one nodule; None, and nothing painted, where too little of it would lie in the lung."""
    radius = diameter / 2
    reach = radius * 1.7 + 3
    box = box_around(center - reach, center + reach, chest.hu.shape)
    if box is None:
        return None
    kind = _kind(rng, diameter)
    style = chest.style
    distance = (lobed if style.lobes else rippled)(rng, box, center, radius)
    softness = rng.uniform(*(style.solid_edge_mm if kind == "solid" else style.ground_glass_edge_mm))
    weight = np.clip(0.5 - distance / softness, 0, 1).astype(np.float32)
    visible = np.where(chest.depth_mm[box] > 0, weight, 0)
    volume = float(visible.sum())
    seen = float(np.cbrt(6 * volume / np.pi))
    if seen < DIAMETER_MIN_MM * 0.97 or seen < 0.55 * diameter:
        return None
    middle = np.array([float((visible * grid).sum()) / volume for grid in np.ogrid[box]])
    if kind == "solid":
        paint(chest.hu, box, weight, rng.uniform(*style.solid_hu), "set")
        if rng.random() < 0.3 and diameter > 6:
            spicules(rng, chest, center, radius)
        if rng.random() < 0.08 and diameter > 8:
            draw_ball(chest.hu, center, np.full(3, radius * rng.uniform(0.25, 0.7)), rng.uniform(200, 700))
        elif rng.random() < 0.06 and diameter > 12:
            draw_ball(chest.hu, center, np.full(3, radius * rng.uniform(0.3, 0.6)), -900, mode="set")
    else:
        paint(chest.hu, box, weight, rng.uniform(*style.ground_glass_hu), "brighten")
        if kind == "part-solid":
            core = np.clip(0.5 - (distance + radius * rng.uniform(0.35, 0.65)) / 1.2, 0, 1).astype(np.float32)
            paint(chest.hu, box, core, rng.uniform(-60, 60), "brighten")
    return Lesion(middle, min(seen, DIAMETER_MAX_MM), kind)


def spicules(rng: np.random.Generator, chest: Chest, center: Vector, radius: float) -> None:
    """Strands that radiate from a lesion into the lung."""
    for _ in range(rng.integers(4, 14)):
        direction = unit(rng.normal(size=3))
        tip = center + direction * radius * rng.uniform(1.2, 1.9)
        draw_tube(
            chest.hu, center + direction * radius * 0.8, tip, (rng.uniform(0.5, 1.1), 0.25), 0, chest.lung
        )


def draw_lookalikes(rng: np.random.Generator, chest: Chest) -> None:
    """Fissures, thickened pleura, scars, dependent atelectasis and small calcified granulomas."""
    _fissures(rng, chest)
    shape = chest.hu.shape
    z, y, _ = np.ogrid[0 : shape[0], 0 : shape[1], 0 : shape[2]]
    thickness = np.zeros(shape, np.float32)
    if rng.random() < 0.5:
        apical = np.clip((z - shape[0] * rng.uniform(0.8, 0.9)) / 12, 0, 1)
        thickness += apical * np.clip(smooth_noise(rng, shape, 8) * 2.5 + rng.uniform(-2, 2.5), 0, 7)
    if rng.random() < 0.6:
        dependent = np.clip((y - chest.center[1] - chest.thorax_mm[0] * 0.45) / 15, 0, 1)
        thickness += dependent * np.clip(smooth_noise(rng, shape, 12) * 2.5 + rng.uniform(-3, 1.5), 0, 6)
    surface = np.argwhere((chest.depth_mm[::2, ::2, ::2] > 0) & (chest.depth_mm[::2, ::2, ::2] < 2)) * 2.0
    weight = np.clip(thickness - chest.depth_mm + 0.5, 0, 1) * (thickness > 0.3) * chest.lung
    everything = tuple(slice(None) for _ in range(3))
    paint(chest.hu, everything, weight.astype(np.float32), float(rng.uniform(-450, 20)), "brighten")
    for _ in range(rng.poisson(2.0)):
        _plaque(rng, chest, surface[rng.integers(len(surface))])
    inner = np.argwhere(chest.depth_mm[::2, ::2, ::2] > 3) * 2.0
    for _ in range(rng.poisson(3.0)):
        _scar(rng, chest, inner[rng.integers(len(inner))])
    for _ in range(rng.poisson(1.5)):
        center = inner[rng.integers(len(inner))]
        draw_ball(
            chest.hu,
            center,
            rng.uniform(*chest.style.granuloma_mm) * rng.uniform(0.85, 1.15, 3),
            rng.uniform(500, 1200),
            chest.lung,
        )
    for _ in range(rng.poisson(0.5)):
        draw_ball(
            chest.hu, inner[rng.integers(len(inner))], rng.uniform(5, 18, 3), -985, chest.lung, mode="set"
        )


def _fissures(rng: np.random.Generator, chest: Chest) -> None:
    """Oblique fissures of both lungs and the right horizontal one: thin, curved, incomplete sheets."""
    shape = chest.hu.shape
    z, y, x = half_grid(shape)
    coarse = chest.lung[::2, ::2, ::2].shape
    for side, horizontal in ((1, False), (-1, False), (-1, True)):
        wave = smooth_noise(rng, coarse, 20) * rng.uniform(1.5, 5)
        if horizontal:
            sheet = z - shape[0] * rng.uniform(0.45, 0.55) + (y - chest.center[1]) * rng.uniform(-0.2, 0.2)
            part = y < chest.center[1] + 5
        else:
            slope = rng.uniform(0.9, 1.5)
            sheet = (z - shape[0] * rng.uniform(0.4, 0.5) - slope * (y - chest.center[1])) / np.hypot(
                1, slope
            )
            part = np.ones(1, bool)
        half = rng.uniform(0.2, 0.7)
        complete = np.clip(smooth_noise(rng, coarse, 15) + rng.uniform(0.2, 2), 0, 1)
        complete = complete * (part & (side * (x - chest.center[2]) > 0))
        distance = np.abs(upsample_by_two((sheet + wave).astype(np.float32), shape))
        weight = np.clip(half + 0.5 - distance, 0, 1) * chest.lung
        weight *= upsample_by_two(complete.astype(np.float32), shape)
        everything = tuple(slice(None) for _ in range(3))
        paint(chest.hu, everything, np.asarray(weight, np.float32), float(rng.uniform(-550, -50)), "brighten")


def _plaque(rng: np.random.Generator, chest: Chest, center: Vector) -> None:
    """A flat lens on the pleura, wider than three times its height."""
    height = rng.uniform(1.5, 5)
    width = height * rng.uniform(3, 6)
    box = box_around(center - width, center + width, chest.hu.shape)
    if box is None:
        return
    square = sum((g - c) ** 2 for g, c in zip(np.ogrid[box], center, strict=True)) / width**2
    lens = height * np.clip(1 - square, 0, 1)
    weight = np.clip(lens - chest.depth_mm[box] + 0.5, 0, 1) * (lens > 0.2) * chest.lung[box]
    paint(chest.hu, box, weight.astype(np.float32), float(rng.choice([20, 60, 300])), "brighten")


def _scar(rng: np.random.Generator, chest: Chest, center: Vector) -> None:
    """A band or a strand: long in one or two directions, thin in the others."""
    radii = np.array([rng.uniform(10, 30), rng.uniform(0.6, 1.6), rng.uniform(0.6, 1.6)])
    if rng.random() < 0.4:
        radii[1] = radii[0] * rng.uniform(0.4, 1)
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    box = box_around(center - radii[0] - 2, center + radii[0] + 2, chest.hu.shape)
    if box is None:
        return
    offset = [g - c for g, c in zip(np.ogrid[box], center, strict=True)]
    turned = [sum(o * a for o, a in zip(offset, axis, strict=True)) for axis in axes]
    turned[2] = turned[2] + np.sin(turned[0] / rng.uniform(5, 12)) * rng.uniform(0, 1.5)
    level = np.sqrt(sum((t / r) ** 2 for t, r in zip(turned, radii, strict=True)))
    weight = np.clip((1 - level) * radii[2] + 0.5, 0, 1) * chest.lung[box] * min(1.0, 2 * radii[2])
    paint(chest.hu, box, weight.astype(np.float32), float(rng.uniform(-400, 40)), "brighten")
