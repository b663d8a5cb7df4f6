"""Fissures as they are seen, and disease that hides them or looks like them."""

from __future__ import annotations

import numpy as np

from models.lung_ct_segmentation.lobes import NAMES
from models.lung_ct_segmentation.phantom_lungs import Lungs
from models.lung_ct_segmentation.phantom_style import Style
from models.lung_nodule_ct.phantom_shapes import Array, box_around, draw_ball, smooth_noise, upsample_by_two


def draw_disease(rng: np.random.Generator, style: Style, lungs: Lungs, hu: Array) -> None:
    """Paint fissures, then bands, masses, consolidation and bullae."""
    for distance in lungs.sheets:
        _sheet(rng, style, lungs, hu, distance)
    for _ in range(rng.poisson(3.0)):
        _band(rng, lungs, hu)
    inner = np.argwhere(lungs.depth_mm > 0.5)
    if rng.random() < style.disease:
        for _ in range(rng.integers(1, 4)):
            radii = rng.uniform(4, 16) * rng.uniform(0.7, 1.4, 3) * (2.2 if rng.random() < 0.2 else 1)
            center = inner[rng.integers(len(inner))].astype(float)
            draw_ball(hu, center, radii / lungs.grid_mm, rng.uniform(-80, 110), lungs.share, "set")
    if rng.random() < style.disease * 0.7:
        _consolidation(rng, lungs, hu)
    for _ in range(rng.poisson(0.5)):
        center = inner[rng.integers(len(inner))].astype(float)
        draw_ball(hu, center, rng.uniform(5, 22, 3) / lungs.grid_mm, -985, lungs.share, "set")


def _sheet(rng: np.random.Generator, style: Style, lungs: Lungs, hu: Array, distance: Array) -> None:
    """A thin, incomplete sheet; thinner than a voxel it shows as a fainter one."""
    if rng.random() < style.hidden:
        return
    g = lungs.grid_mm
    half = rng.uniform(*style.sheet_mm) * (3 if rng.random() < 0.06 else 1)
    overlap = _overlap(half, distance, g)
    coarse = distance[::2, ::2, ::2].shape
    complete = np.clip(
        smooth_noise(rng, coarse, rng.uniform(20, 60) / (2 * g)) + rng.uniform(-0.6, 2.5), 0, 1
    )
    weight = overlap * lungs.share * upsample_by_two(complete, distance.shape)
    hu += np.maximum(rng.uniform(*style.sheet_hu) - hu, 0) * weight.astype(np.float32)


def _overlap(half_mm: float, distance_mm: Array, grid_mm: float) -> Array:
    """The share of a voxel that a sheet fills; a voxel that is cut aslant is wider than its side."""
    width = 1.3 * grid_mm
    common = np.minimum(half_mm, distance_mm + width / 2) - np.maximum(-half_mm, distance_mm - width / 2)
    return np.asarray(np.clip(common / width, 0, 1), np.float32)


def _band(rng: np.random.Generator, lungs: Lungs, hu: Array) -> None:
    """A scar, a band of atelectasis or an accessory fissure: part of a plane that is no border of lobes."""
    g = lungs.grid_mm
    inner = np.argwhere(lungs.depth_mm[::2, ::2, ::2] > 3) * 2.0
    center = inner[rng.integers(len(inner))]
    radii = np.array([rng.uniform(10, 45), rng.uniform(4, 35), rng.uniform(0.4, 1.4)])
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    box = box_around(center - radii[0] / g, center + radii[0] / g, hu.shape)
    if box is None:
        return
    offset = [(at - c) * g for at, c in zip(np.ogrid[box], center, strict=True)]
    turned = [sum(o * a for o, a in zip(offset, axis, strict=True)) for axis in axes]
    within = np.clip(1.5 - np.hypot(turned[0] / radii[0], turned[1] / radii[1]) * 1.5, 0, 1)
    weight = _overlap(radii[2], np.abs(turned[2]), g) * within * lungs.share[box]
    hu[box] += (np.maximum(rng.uniform(-600, 40) - hu[box], 0) * weight).astype(np.float32)


def _consolidation(rng: np.random.Generator, lungs: Lungs, hu: Array) -> None:
    """Dense lung, patchy or filling part of one lobe up to its border."""
    g = lungs.grid_mm
    coarse = lungs.labels[::2, ::2, ::2].shape
    patches = smooth_noise(rng, coarse, rng.uniform(20, 70) / (2 * g)) - rng.uniform(0.2, 1.6)
    weight = np.clip(upsample_by_two(patches, hu.shape) * rng.uniform(1, 5), 0, 1) * lungs.share
    if rng.random() < 0.6:
        weight = weight * (lungs.labels == rng.choice(list(NAMES)))
    target = rng.uniform(-250, 50)
    hu += (np.maximum(target - hu, 0) * weight * rng.uniform(0.5, 1)).astype(np.float32)
