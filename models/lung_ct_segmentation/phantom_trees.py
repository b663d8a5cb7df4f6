"""Arteries, veins and airways, grown lobe by lobe: they tell lobes apart where no fissure can be seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.lung_ct_segmentation.lobes import NAMES, RIGHT
from models.lung_ct_segmentation.phantom_lungs import Lungs
from models.lung_ct_segmentation.phantom_style import Style
from models.lung_nodule_ct.phantom_shapes import Array, Vector, draw_tube, unit
from models.lung_nodule_ct.phantom_vessels import grow_tree, tree_pieces


def draw_trees(rng: np.random.Generator, style: Style, lungs: Lungs, hu: Array, blood: float) -> None:
    """Paint the trees of every lobe; near a fissure there are none but twigs."""
    g = lungs.grid_mm
    nearest = np.minimum(np.minimum(*lungs.sheets[:2]), lungs.sheets[2])
    gap = rng.uniform(2, 8)
    for label in NAMES:
        places = np.argwhere((lungs.labels == label) & (lungs.depth_mm > 1.5) & (nearest > gap))
        if len(places) < 200:
            continue
        hilum = lungs.hila[-1 if label in RIGHT else 1]
        for kind in ("artery", "vein"):
            count = 20 + int(rng.integers(*style.vessels) * len(places) * g**3 / 1e6)
            chosen = (places[rng.choice(len(places), min(count, len(places)), replace=False)]).astype(float)
            root = hilum + rng.normal(0, 2.5, 3) / g
            if kind == "vein":
                root = root - np.array([6.0, 8.0, 0.0]) / g
            _draw(rng, lungs, hu, blood, _through(root, chosen), kind)


def _through(root: Vector, targets: NDArray[np.float64]) -> tuple[Vector, NDArray[np.float64]]:
    """The root and the lobe's targets, with two points that lead a trunk from the hilum into the lobe."""
    center = targets.mean(axis=0)
    trunk = [root + (center - root) * share for share in (0.2, 0.4)]
    return root, np.concatenate([trunk, targets])


def _draw(
    rng: np.random.Generator, lungs: Lungs, hu: Array, blood: float,
    tree: tuple[Vector, NDArray[np.float64]], kind: str,
) -> None:  # fmt: skip
    g = lungs.grid_mm
    root, targets = tree
    # The trees of the detector's phantoms grow on a grid of 1 mm.
    pieces = tree_pieces(rng, grow_tree(rng, root * g, targets * g), wiggle=float(rng.uniform(0.03, 0.12)))
    for piece in pieces:
        radius = piece.radius_mm / g
        draw_tube(hu, piece.start / g, piece.stop / g, (radius, radius), blood, lungs.share)
    if kind == "vein":
        return
    side, wall = unit(rng.normal(size=3)), rng.uniform(0.5, 1.2)
    smallest, ratio = rng.uniform(1.0, 1.8), rng.uniform(0.75, 1.15)
    for piece in pieces:
        if piece.radius_mm < smallest:
            continue
        along = unit(piece.stop - piece.start)
        across = unit(side - (side @ along) * along)
        radius = piece.radius_mm * ratio
        shift = across * (piece.radius_mm + radius + 0.6)
        start, stop = (piece.start + shift) / g, (piece.stop + shift) / g
        draw_tube(hu, start, stop, ((radius + wall / 2) / g,) * 2, -60, lungs.share)
        draw_tube(hu, start, stop, (max(radius - wall / 2, 0.4) / g,) * 2, -970, lungs.share, "set")
