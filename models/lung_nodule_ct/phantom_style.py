"""How phantoms are drawn: a plain style, one of many for each chest of training, and one for the test.

A detector that only knows the habits of its own generator scores well on more of the same. `varied` therefore draws
a style of its own for every chest; and `HELD_OUT` differs in everything that a phantom is made of: the model card
lists it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Range = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """Ranges from which each phantom draws its own values, and which shapes and textures it uses.

    Lengths in mm, densities in HU. lung_hu: base of lung tissue; texture_mm: grain of its coarse and fine pattern.
    arteries, veins: numbers of tips per lung; balance, murray, tip_mm, wiggle: see `phantom_vessels`.
    nodule_size_mm: median and log deviation of nodule diameters. solid_hu, ground_glass_hu: of nodules;
    solid_edge_mm, ground_glass_edge_mm: width of their edges. lobes: nodules are joined balls instead of rippled
    ellipsoids, and masses the other way round. bump_mm: height of the unevenness of the lungs' surface.
    fourier_noise: noise has the spectrum of filtered back-projection instead of a blurred white one, slices a
    rectangular profile instead of a Gaussian one. dose_noise_hu: of the smoothest kernel at 1 mm.
    thickness_mm: slices to choose from. granuloma_mm: radius of calcified specks that are no nodules.
    """

    name: str
    lung_hu: Range
    texture_mm: Range
    arteries: tuple[int, int]
    veins: tuple[int, int]
    balance: Range
    murray: Range
    tip_mm: Range
    wiggle: Range
    nodule_size_mm: tuple[float, float]
    solid_hu: Range
    ground_glass_hu: Range
    solid_edge_mm: Range
    ground_glass_edge_mm: Range
    lobes: bool
    bump_mm: Range
    fourier_noise: bool
    dose_noise_hu: Range
    thickness_mm: tuple[float, ...]
    granuloma_mm: Range


TRAINING = Style(
    "training",
    lung_hu=(-890, -800), texture_mm=(10, 4),
    arteries=(400, 900), veins=(300, 650), balance=(0.25, 0.7), murray=(2.5, 3.0), tip_mm=(0.35, 0.6),
    wiggle=(0.03, 0.12),
    nodule_size_mm=(8.0, 0.52), solid_hu=(-80, 110), ground_glass_hu=(-680, -380),
    solid_edge_mm=(0.7, 1.4), ground_glass_edge_mm=(1.2, 3.0), lobes=False,
    bump_mm=(0.6, 1.8),
    fourier_noise=False, dose_noise_hu=(7, 22), thickness_mm=(0.6, 1.0, 1.0, 1.5, 2.0, 3.0), granuloma_mm=(1.0, 2.0),
)  # fmt: skip

HELD_OUT = Style(
    "held out",
    lung_hu=(-870, -780), texture_mm=(14, 6),
    arteries=(550, 1050), veins=(250, 500), balance=(0.5, 0.9), murray=(2.3, 2.7), tip_mm=(0.3, 0.5),
    wiggle=(0.08, 0.2),
    nodule_size_mm=(9.0, 0.45), solid_hu=(-40, 80), ground_glass_hu=(-650, -420),
    solid_edge_mm=(0.9, 1.8), ground_glass_edge_mm=(1.6, 2.6), lobes=True,
    bump_mm=(1.2, 2.4),
    fourier_noise=True, dose_noise_hu=(10, 28), thickness_mm=(1.0, 1.25, 2.0, 2.5), granuloma_mm=(0.8, 1.6),
)  # fmt: skip


def varied(rng: np.random.Generator) -> Style:
    """A style for one chest: anything that a chest may plausibly be. Shapes are those of `TRAINING`."""
    balance, wiggle = float(rng.uniform(0.1, 0.8)), float(rng.uniform(0.02, 0.15))
    murray, tip = float(rng.uniform(2.1, 3.0)), float(rng.uniform(0.25, 0.6))
    fine_mm = float(rng.uniform(2, 8))
    return Style(
        "varied",
        lung_hu=(-920, -740), texture_mm=(fine_mm * float(rng.uniform(1.5, 4)), fine_mm),
        arteries=(250, 1300), veins=(200, 1000), balance=(balance, balance + 0.2), murray=(murray, murray + 0.2),
        tip_mm=(tip, tip + 0.1), wiggle=(wiggle, 2 * wiggle),
        nodule_size_mm=(float(rng.uniform(5, 11)), 0.5), solid_hu=(-120, 140), ground_glass_hu=(-720, -320),
        solid_edge_mm=(0.6, 2.2), ground_glass_edge_mm=(1.0, 4.0), lobes=False,
        bump_mm=(0.3, 4.0),
        fourier_noise=False, dose_noise_hu=(4, 34), thickness_mm=(0.6, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0),
        granuloma_mm=(0.7, 2.0),
    )  # fmt: skip
