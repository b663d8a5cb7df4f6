"""Synthetic chest CTs with nodules of known place and size. They are made, not measured.

python -m models.lung_nodule_ct.phantom --out DIR --split train --first-seed 1000 --count 80
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.lung_nodule_ct.phantom_anatomy import make_chest
from models.lung_nodule_ct.phantom_lesions import Kind, draw_lookalikes, draw_nodules
from models.lung_nodule_ct.phantom_masses import draw_large_lookalikes, draw_masses
from models.lung_nodule_ct.phantom_scanner import draw_scanner, scan
from models.lung_nodule_ct.phantom_style import TRAINING, Style
from models.lung_nodule_ct.phantom_vessels import draw_vessels_and_airways

FIELD_MM = (240, 256, 320)


@dataclass(frozen=True)
class Nodule:
    """A true nodule: centre as (slice, row, column) index with fractions, diameter in mm, kind."""

    center_index: tuple[float, float, float]
    diameter_mm: float
    kind: Kind


@dataclass(frozen=True)
class Phantom:
    """voxels: int16 HU (slice, row, column), slice 0 the most inferior; spacing in the same order.

    sharpness: of the kernel, from 0 to 1; style: of the generator, by name.
    """

    voxels: NDArray[np.int16]
    spacing_mm: tuple[float, float, float]
    truth: tuple[Nodule, ...]
    seed: int
    slice_thickness_mm: float = 1.0
    sharpness: float = 0.5
    style: str = TRAINING.name


def make_phantom(
    seed: int,
    *,
    spacing_mm: tuple[float, float, float] | None = None,
    slice_thickness_mm: float | None = None,
    nodule_count: int | None = None,
    mass_count: int = 0,
    large_lookalikes: bool = False,
    style: Style = TRAINING,
    field_mm: tuple[int, int, int] = FIELD_MM,
) -> Phantom:
    """A chest of its own for every seed. The same arguments always give the same voxels.

    field_mm: extent along (slice, row, column). nodule_count: 0 to 8 at random when not given; fewer
    are drawn when the lungs have no room for more. mass_count: lesions of 25 to 80 mm beside them.
    large_lookalikes: also draw what may be taken for such a mass.
    """
    rng = np.random.default_rng(seed)
    scanner = draw_scanner(rng, spacing_mm, slice_thickness_mm, style)
    chest = make_chest(rng, field_mm, style)
    vessels = draw_vessels_and_airways(rng, chest)
    draw_lookalikes(rng, chest)
    if large_lookalikes:
        draw_large_lookalikes(rng, chest)
    count = int(rng.integers(0, 9)) if nodule_count is None else nodule_count
    masses = draw_masses(rng, chest, mass_count)
    lesions = [*masses, *draw_nodules(rng, chest, vessels, count, masses)]
    voxels, breath = scan(rng, chest.hu, scanner)
    step = np.array(scanner.spacing_mm)
    truth = tuple(
        Nodule(_triple(breath.moved(lesion.center) / step), lesion.diameter_mm, lesion.kind)
        for lesion in lesions
    )
    return Phantom(
        voxels, scanner.spacing_mm, truth, seed, scanner.slice_thickness_mm, scanner.sharpness, style.name
    )


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
