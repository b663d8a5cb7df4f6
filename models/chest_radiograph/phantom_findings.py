"""Findings put into a synthetic chest. Each paints into the lungs and says where it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from models.chest_radiograph.phantom_body import AIR, SOFT, STEP_MM, Array, Body, Vector, noise
from models.chest_radiograph.phantom_film import vessel_cloud
from models.chest_radiograph.postprocess import FINDINGS


@dataclass
class Lungs:
    """The lungs of one picture, to be painted.

    inside: share of lung in each voxel. air: attenuation there. regions: what each finding covers, as share of a
    voxel. clouds: (points, cubic mm of each, attenuation) of what is finer than the grid. cloud_regions: the same
    for findings. collapsed: where no vessel runs.
    """

    body: Body
    depth: Array
    inside: Array
    air: Array
    scale: float
    collapsed: Array | None = None
    regions: dict[str, Array] = field(default_factory=dict)
    clouds: list[tuple[Vector, Vector, float]] = field(default_factory=list)
    cloud_regions: dict[str, list[tuple[Vector, Vector]]] = field(default_factory=dict)


Painter = Callable[[np.random.Generator, Lungs], None]


def make_lungs(rng: np.random.Generator, body: Body, findings: frozenset[str]) -> Lungs:
    """Lungs beside a heart of usual or of too large size, with `findings` in them."""
    big = "cardiomegaly" in findings
    scale = float(rng.uniform(1.32, 1.75) if big else rng.uniform(0.82, 1.1))
    heart = body.heart_distance(scale)
    depth = np.minimum(body.lung_depth, heart)
    inside = np.clip(depth / STEP_MM + 0.5, 0, 1).astype(np.float32)
    lungs = Lungs(body, depth, inside, body.lung.copy(), float(rng.uniform(*body.style.finding_scale)))
    if big:
        above = np.clip(body.floor / STEP_MM + 0.5, 0, 1)
        lungs.regions["cardiomegaly"] = np.clip(0.5 - heart / STEP_MM, 0, 1) * above
        lungs.air += rng.uniform(0, 0.05)
    for name in FINDINGS:
        if name in findings and name in _PAINTERS:
            _PAINTERS[name](rng, lungs)
    return lungs


def _somewhere(rng: np.random.Generator, lungs: Lungs, deep_mm: float) -> Vector:
    """A point of the lungs at least `deep_mm` from their surface, where the lungs are not collapsed."""
    free = lungs.depth[::2, ::2, ::2] > deep_mm
    places = np.argwhere(free)
    if len(places) == 0:
        places = np.argwhere(lungs.depth[::2, ::2, ::2] > 0)
    return np.asarray(places[rng.integers(len(places))] * 2 * STEP_MM + rng.uniform(-2, 2, 3))


def _nodules(rng: np.random.Generator, lungs: Lungs) -> None:
    """One to six balls of 9 to 70 mm, lobulated and more or less sharp; some are cavities."""
    count = int(rng.choice([1, 1, 1, 2, 3, 4, 6]))
    region = lungs.cloud_regions.setdefault("nodule_or_mass", [])
    large = rng.random() < 0.4
    for _ in range(count):
        diameter = float(rng.uniform(28, 70) if large else rng.lognormal(np.log(15), 0.35)) * lungs.scale
        diameter = float(np.clip(diameter, 9, 75))
        points, amount = _ball(rng, _somewhere(rng, lungs, min(0.25 * diameter, 10)), diameter / 2)
        lungs.clouds.append((points, amount, float(rng.uniform(0.85, 1.1))))
        region.append((points, amount))


def _ball(rng: np.random.Generator, center: Vector, radius: float) -> tuple[Vector, Vector]:
    count = int(np.clip(radius**3 * 4, 4000, 90_000))
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    waves = sum(
        rng.uniform(0.02, 0.1) * np.cos(k * (direction @ rng.normal(size=3)) + rng.uniform(0, 6))
        for k in (2, 3, 5)
    )
    stretch = rng.uniform(0.85, 1.18, 3)
    inner = rng.uniform(0.4, 0.7) if radius > 12 and rng.random() < 0.12 else 0.0
    share = np.cbrt(rng.uniform(inner**3, 1, count)) + rng.normal(0, rng.uniform(0.01, 0.06), count)
    points = center + direction * stretch * (radius * share * (1 + waves))[:, None]
    volume = 4 / 3 * np.pi * radius**3 * float(stretch.prod()) * (1 - inner**3)
    return points, np.full(count, volume / count)


def _consolidation(rng: np.random.Generator, lungs: Lungs) -> None:
    """One to three patches of 35 to 110 mm filled in part or whole; some end at a fissure."""
    z, y, x = lungs.body.grid
    filled = np.zeros(lungs.air.shape, np.float32)
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        center = _somewhere(rng, lungs, 8)
        radii = rng.uniform(20, 52, 3) * lungs.scale
        level = np.sqrt(sum(((g - c) / r) ** 2 for g, c, r in zip((z, y, x), center, radii, strict=True)))
        level = level + rng.uniform(0.08, 0.22) * noise(rng, rng.uniform(15, 35))
        patch = np.clip((1 - level) * rng.uniform(2, 8), 0, 1)
        if rng.random() < 0.35:  # the lobe ends here
            edge = center[0] + rng.uniform(-12, 12) + (y - center[1]) * rng.uniform(-0.5, 0.5)
            patch = patch * np.clip((z - edge) * rng.choice([-1, 1]) / STEP_MM + 0.5, 0, 1)
        filled = np.maximum(filled, patch)
    density = rng.uniform(0.5, 0.95) + rng.uniform(0.02, 0.14) * noise(rng, 12)
    lungs.air += (np.clip(density, 0.3, 1.02) - lungs.air) * filled
    lungs.regions["consolidation"] = filled * lungs.inside


def _effusion(rng: np.random.Generator, lungs: Lungs) -> None:
    """Fluid that fills the recess and climbs the chest wall, on one side or both."""
    frame = lungs.body.frame
    z, _, x = lungs.body.grid
    fluid = np.zeros(lungs.air.shape, np.float32)
    sides = [(1,), (-1,), (1, -1)][int(rng.choice([0, 1, 2], p=[0.38, 0.38, 0.24]))]
    for side in sides:
        tall = float(rng.uniform(32, 120)) * lungs.scale
        climb = (
            tall * rng.uniform(0.4, 0.9) * np.exp(-np.maximum(lungs.body.wall_depth, 0) / rng.uniform(8, 20))
        )
        level = frame.base_z + tall + climb
        fluid = np.maximum(
            fluid, np.clip((level - z) / (STEP_MM * 2) + 0.5, 0, 1) * (side * (x - frame.cx) > 0)
        )
    lungs.air += (1.02 - lungs.air) * fluid
    lungs.regions["pleural_effusion"] = fluid * lungs.inside


def _pneumothorax(rng: np.random.Generator, lungs: Lungs) -> None:
    """Air beside a lung that has shrunk, widest at the top."""
    frame = lungs.body.frame
    z, _, x = lungs.body.grid
    side = int(rng.choice([1, -1]))
    share = (z - frame.base_z) / frame.height
    wide = float(rng.uniform(11, 48)) * lungs.scale
    gap = wide * np.clip(0.35 + 0.75 * share, 0.15, 1.1) + rng.uniform(0.5, 2) * noise(rng, 40)
    top = np.clip((share - rng.uniform(0.75, 0.95)) * 60, 0, 30) * wide / 25
    outward = side * (x - frame.cx)
    edge = lungs.body.half_width - outward - gap - top
    own = outward > 0
    free = np.clip(0.5 - edge / STEP_MM, 0, 1) * own
    shrunk = rng.uniform(1.05, 1.6)
    line = np.exp(-((edge / 2.2) ** 2)) * rng.uniform(0.2, 0.5) * own
    lungs.air = np.where(own, lungs.air * shrunk, lungs.air) + line
    lungs.air = (lungs.air + (AIR - lungs.air) * free).astype(np.float32)
    lungs.collapsed = free.astype(np.float32)
    lungs.regions["pneumothorax"] = free * lungs.inside


def _interstitial(rng: np.random.Generator, lungs: Lungs) -> None:
    """Thousands of fine septa, below and outside or everywhere, and some haze."""
    z, _, _ = lungs.body.grid
    frame = lungs.body.frame
    share = np.clip((z - frame.base_z) / frame.height, 0, 1)
    weight = np.ones_like(lungs.depth)
    if rng.random() < 0.65:
        weight = np.exp(-np.maximum(lungs.body.wall_depth, 0) / rng.uniform(25, 60))
        weight = weight * np.exp(-share / rng.uniform(0.3, 0.8)) + 0.05
    weight = np.where(lungs.depth > 2, weight, 0).astype(np.float32)
    places = np.argwhere(weight > 0)
    chance = weight[weight > 0].astype(np.float64)
    count = int(rng.uniform(2500, 8000) * lungs.scale)
    start = places[rng.choice(len(places), count, p=chance / chance.sum())] * STEP_MM + rng.uniform(
        -1.5, 1.5, (count, 3)
    )
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    stop = start + direction * rng.uniform(5, 18, count)[:, None]
    points, amount = vessel_cloud(rng, start, stop, rng.uniform(0.45, 1.1, count))
    lungs.clouds.append((points, amount, SOFT))
    lungs.air += weight * rng.uniform(0.0, 0.12)
    lungs.regions["interstitial_pattern"] = weight / weight.max() * lungs.inside


_PAINTERS: dict[str, Painter] = {
    "nodule_or_mass": _nodules,
    "consolidation": _consolidation,
    "pleural_effusion": _effusion,
    "pneumothorax": _pneumothorax,
    "interstitial_pattern": _interstitial,
}
