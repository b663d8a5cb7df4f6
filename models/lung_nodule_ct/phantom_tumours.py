"""Central tumours as training shows them: long, uneven, grown out of the hilum, and lung that collapsed behind them."""

from __future__ import annotations

import numpy as np

from models.lung_nodule_ct.phantom_anatomy import Chest
from models.lung_nodule_ct.phantom_forms import lobed
from models.lung_nodule_ct.phantom_lesions import Lesion
from models.lung_nodule_ct.phantom_masses import DIAMETER_MAX_MM, DIAMETER_MIN_MM, in_lung
from models.lung_nodule_ct.phantom_shapes import (
    Array,
    Vector,
    box_around,
    half_grid,
    paint,
    smooth_noise,
    unit,
    upsample_by_two,
)

TRIES = 10
COLLAPSED_SHARE = 0.6


def draw_central_tumour(rng: np.random.Generator, chest: Chest) -> Lesion | None:
    """Paint one tumour at a hilum, behind most of them collapsed lung. The truth is the tumour alone: the lung it
    replaces, as of every mass. None, and nothing painted, where too little of it would lie in the lung.
    """
    for _ in range(TRIES):
        hilum = chest.hila[rng.integers(2)]
        outwards = np.sign(hilum[2] - chest.center[2])
        radius = float(rng.uniform(DIAMETER_MIN_MM, DIAMETER_MAX_MM)) / 2
        center = hilum + rng.normal(0, 1, 3) * (25, 14, 6)
        center[2] += outwards * radius * rng.uniform(0.1, 0.8)
        box = box_around(center - 2.3 * radius - 4, center + 2.3 * radius + 4, chest.hu.shape)
        if box is None:
            continue
        # Two groups of balls, apart: longer than it is wide, as a tumour is that grows along a bronchus.
        apart = unit(rng.normal(size=3)) * radius * rng.uniform(0.2, 0.9)
        distance = np.minimum(
            lobed(rng, box, center + apart, radius * rng.uniform(0.65, 0.85), (2, 6), (0.2, 0.8)),
            lobed(rng, box, center - apart, radius * rng.uniform(0.5, 0.8), (2, 6), (0.2, 0.8)),
        )
        distance += smooth_noise(rng, distance.shape, rng.uniform(6, 20)) * np.float32(rng.uniform(0.3, 4))
        weight = np.clip(0.5 - distance / rng.uniform(0.8, 2.5), 0, 1).astype(np.float32)
        lesion = in_lung(chest, box, weight)
        if lesion is None:
            continue
        density = float(rng.uniform(15, 75))
        if rng.random() < COLLAPSED_SHARE:
            collapse_lung(rng, chest, center, radius, density)
        weight *= chest.hu[box] < 150
        tissue = density + smooth_noise(rng, weight.shape, 8) * rng.uniform(2, 12)
        paint(chest.hu, box, weight, np.asarray(tissue, np.float32), "set")
        return lesion
    return None


def collapse_lung(
    rng: np.random.Generator, chest: Chest, center: Vector, radius: float, density: float
) -> None:
    """Paint a wedge of lung without air from `center` to the chest wall; it enhances more than the tumour or alike."""
    outwards = np.sign(center[2] - chest.center[2])
    away = unit(np.array([rng.uniform(-1.5, 1.5), rng.uniform(-0.8, 1.2), outwards * rng.uniform(0.3, 1)]))
    normal = unit(np.cross(away, rng.normal(size=3)))
    offset = [axis - c for axis, c in zip(half_grid(chest.hu.shape), center, strict=True)]
    along, flat = (sum(o * a for o, a in zip(offset, axis, strict=True)) for axis in (away, normal))
    aside = np.sqrt(np.maximum(sum(o * o for o in offset) - along**2 - flat**2, 0))
    # Wide along the pleura, thin between the fissures.
    width, thickness = rng.uniform(0.4, 1.2), rng.uniform(0.25, 0.9)
    reach = np.clip(along + radius * rng.uniform(0.2, 0.8), 0, None)
    within: Array = 1 - np.sqrt((aside / (width * reach + 1)) ** 2 + (flat / (thickness * reach + 1)) ** 2)
    within = within * np.clip(reach, 1, 20) + smooth_noise(rng, within.shape, 6) * rng.uniform(0.5, 4)
    within = np.minimum(within, radius * rng.uniform(1.2, 4) - along)
    weight = upsample_by_two(
        np.clip(within / rng.uniform(1, 6) + 0.5, 0, 1).astype(np.float32), chest.hu.shape
    )
    weight = weight * chest.lung
    if rng.random() < 0.5:  # air stays in its bronchi
        weight = weight * (chest.hu > -930)
    everything = (slice(None),) * 3
    paint(chest.hu, everything, np.asarray(weight, np.float32), density + rng.uniform(-40, 70), "brighten")
    chest.depth_mm[weight > 0.5] = -1  # no nodule can be seen in there
