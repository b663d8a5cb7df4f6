"""Synthetic chests whose truth is a label map of the five lobes. They are made, not measured.

Axes are (slice, row, column): slice 0 is the most inferior, row 0 anterior, column 0 the patient's right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.lung_ct_segmentation.phantom_body import draw_body
from models.lung_ct_segmentation.phantom_disease import draw_disease
from models.lung_ct_segmentation.phantom_lungs import Lungs, make_lungs
from models.lung_ct_segmentation.phantom_style import TRAIN, Style
from models.lung_ct_segmentation.phantom_trees import draw_trees
from models.lung_nodule_ct.phantom_scanner import draw_scanner, scan
from models.lung_nodule_ct.phantom_shapes import Array

FIELD_MM = (330.0, 270.0, 350.0)


@dataclass(frozen=True)
class Phantom:
    """voxels: int16 HU; labels: uint8, the lobes of `lobes.LOBES`; both (slice, row, column)."""

    voxels: NDArray[np.int16]
    labels: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    seed: int


def make_phantom(
    seed: int, *, style: Style = TRAIN, grid_mm: float, slice_thickness_mm: float | None = None
) -> Phantom:
    """A chest of its own for every seed.

    Without `slice_thickness_mm` it is what the grid shows, free of noise, for training to spoil. With it,
    the grid (1 mm) goes through a CT scanner with 0.8 mm pixels.
    """
    rng = np.random.default_rng(seed)
    shape = tuple(2 * round(length / grid_mm / 2) for length in FIELD_MM)
    lungs = make_lungs(rng, style, (shape[0], shape[1], shape[2]), grid_mm)
    hu = _chest(rng, style, lungs)
    if slice_thickness_mm is None:
        voxels = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
        return Phantom(voxels, lungs.labels, (grid_mm,) * 3, seed)
    spacing = (max(0.6, 0.8 * slice_thickness_mm), 0.8, 0.8)
    scanner = draw_scanner(rng, spacing, slice_thickness_mm)
    voxels, _ = scan(rng, hu, scanner)
    nearest = [
        np.minimum(np.rint(np.arange(count) * step).astype(int), length - 1)
        for count, step, length in zip(voxels.shape, spacing, lungs.labels.shape, strict=True)
    ]
    return Phantom(voxels, lungs.labels[np.ix_(*nearest)], spacing, seed)


def _chest(rng: np.random.Generator, style: Style, lungs: Lungs) -> Array:
    blood = float(rng.uniform(30, 60) if rng.random() < 0.5 else rng.uniform(80, 350))
    hu = draw_body(rng, style, lungs, blood)
    draw_trees(rng, style, lungs, hu, blood)
    draw_disease(rng, style, lungs, hu)
    return hu
