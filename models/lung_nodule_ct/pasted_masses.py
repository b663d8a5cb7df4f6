"""Masses that are put into patches while training, so that the network for masses never sees one twice. numpy only.

Lengths are in voxels of the patch, `voxel_mm` wide; images are in [0, 1] of the window.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.lung_nodule_ct.phantom_forms import lobed
from models.lung_nodule_ct.phantom_masses import DIAMETER_MAX_MM, DIAMETER_MIN_MM, VISIBLE_SHARE_MIN
from models.lung_nodule_ct.phantom_shapes import box_around, smooth_noise

Image = NDArray[np.float32]
# In a window of -1000 to 600 HU: below it is lung, above it bone; tissue from 0 to 85 HU.
LUNG_BELOW, BONE_ABOVE = 0.4, 0.72
TISSUE = (0.625, 0.678)


def paste_mass(
    rng: np.random.Generator, image: Image, voxel_mm: float
) -> tuple[NDArray[np.float64], float] | None:
    """Paint a mass somewhere on lung; returns centre and diameter of the part that replaces lung.

    None, and nothing painted, where too little of it would.
    """
    places = np.argwhere(image < LUNG_BELOW)
    diameter = rng.uniform(DIAMETER_MIN_MM, DIAMETER_MAX_MM) / voxel_mm
    if not len(places):
        return None
    center = places[rng.integers(len(places))] + rng.normal(0, diameter / 4, 3)
    box = box_around(center - diameter, center + diameter, image.shape)
    if box is None:
        return None
    distance = lobed(rng, box, center, diameter / 2, lobes=(2, 9), spread=(0.2, 1.0))
    distance += smooth_noise(rng, distance.shape, rng.uniform(2, 5)) * np.float32(rng.uniform(0, 1.0))
    weight = np.clip(0.5 - distance / rng.uniform(0.6, 1.4), 0, 1).astype(np.float32)
    before = image[box]
    visible = np.where(before < LUNG_BELOW, weight, 0)
    volume = float(visible.sum())
    seen = float(np.cbrt(6 * volume / np.pi))
    if seen * voxel_mm < DIAMETER_MIN_MM or volume < VISIBLE_SHARE_MIN * float(weight.sum()):
        return None
    middle = np.array([float((visible * grid).sum()) / volume for grid in np.ogrid[box]])
    tissue = rng.uniform(*TISSUE) + smooth_noise(rng, weight.shape, 3) * np.float32(rng.uniform(0, 0.008))
    if rng.random() < 0.3:  # necrosis
        tissue -= np.float32(rng.uniform(0.005, 0.03)) * np.clip(-distance / (diameter / 4), 0, 1)
    if rng.random() < 0.3:  # a halo of haze or collapsed lung
        halo = np.clip(1 - distance / rng.uniform(1, 5), 0, 1) * np.float32(rng.uniform(0.1, 0.4))
        image[box] = np.maximum(before, before + (tissue - before) * halo)
        before = image[box]
    weight *= before < BONE_ABOVE
    image[box] = before + (tissue - before) * weight
    return middle, seen
