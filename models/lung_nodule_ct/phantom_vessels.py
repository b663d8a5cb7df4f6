"""Arteries, veins and airways of the lungs, grown as trees that fill them.

A tree joins random points of a lung, nearest first, weighing the way back to the root (a minimum
spanning tree with a balancing factor, Cuntz et al. 2010, doi:10.1371/journal.pcbi.1000877); radii
follow Murray's law with an exponent between 2.5 and 3.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.lung_nodule_ct.phantom_anatomy import Chest
from models.lung_nodule_ct.phantom_shapes import Array, Vector, draw_tube, unit
from models.lung_nodule_ct.phantom_style import TRAINING, Style


@dataclass(frozen=True)
class Tube:
    """One straight piece of a vessel in mm."""

    start: Vector
    stop: Vector
    radius_mm: float


@dataclass(frozen=True)
class Tree:
    """points (n, 3); parent of each point, -1 for the root; radius of the edge to the parent."""

    points: NDArray[np.float64]
    parent: NDArray[np.int64]
    order: NDArray[np.int64]
    radius_mm: NDArray[np.float64]


def draw_vessels_and_airways(rng: np.random.Generator, chest: Chest) -> list[Tube]:
    """Paint both trees of both lungs into `chest.hu`; return the vessels' pieces."""
    lung_voxels = np.argwhere(chest.depth_mm[::2, ::2, ::2] > 1.5) * 2.0
    middle, style = chest.center[2], chest.style
    vessels: list[Tube] = []
    airways: list[Tube] = []
    for hilum in chest.hila:
        own = lung_voxels[(lung_voxels[:, 2] > middle) == (hilum[2] > middle)]
        if len(own) < 1000:
            continue
        for kind, count in (("artery", rng.integers(*style.arteries)), ("vein", rng.integers(*style.veins))):
            chosen = own[rng.choice(len(own), int(count), replace=False)] + rng.uniform(
                -1, 1, (int(count), 3)
            )
            root = hilum + rng.normal(0, 3, 3) + (np.array([-6.0, -8.0, 0.0]) if kind == "vein" else 0)
            tree = grow_tree(rng, root, chosen, style)
            pieces = tree_pieces(rng, tree, wiggle=float(rng.uniform(*style.wiggle)))
            vessels.extend(pieces)
            if kind == "artery":
                airways.extend(_beside(rng, pieces))
    for tube in vessels:
        draw_tube(
            chest.hu, tube.start, tube.stop, (tube.radius_mm, tube.radius_mm), chest.blood_hu, chest.lung
        )
    _draw_airways(rng, chest, airways)
    return vessels


def grow_tree(
    rng: np.random.Generator, root: Vector, targets: NDArray[np.float64], style: Style = TRAINING
) -> Tree:
    points = np.concatenate([root[None], targets])
    count = len(points)
    balance = rng.uniform(*style.balance)
    parent = np.zeros(count, np.int64)
    parent[0] = -1
    path = np.zeros(count)
    distance = np.linalg.norm(points - root, axis=1)
    cost = distance.copy()
    cost[0] = np.inf
    order = [0]
    for _ in range(count - 1):
        nearest = int(np.argmin(cost))
        order.append(nearest)
        path[nearest] = path[parent[nearest]] + distance[nearest]
        cost[nearest] = np.inf
        to_new = np.linalg.norm(points - points[nearest], axis=1)
        better = (to_new + balance * path[nearest] < cost) & np.isfinite(cost)
        parent[better], distance[better] = nearest, to_new[better]
        cost[better] = (to_new + balance * path[nearest])[better]
    exponent = rng.uniform(*style.murray)
    flow = np.zeros(count)
    tip = rng.uniform(*style.tip_mm) ** exponent
    for index in reversed(order):
        flow[index] = max(flow[index], tip)
        if parent[index] >= 0:
            flow[parent[index]] += flow[index]
    return Tree(points, parent, np.array(order), np.minimum(flow ** (1 / exponent), 7.0))


def tree_pieces(rng: np.random.Generator, tree: Tree, wiggle: float) -> list[Tube]:
    """Each edge as a curve that leaves in its parent's direction, cut into straight pieces."""
    directions = np.zeros_like(tree.points)
    pieces: list[Tube] = []
    for index in tree.order[1:]:
        start, stop = tree.points[tree.parent[index]], tree.points[index]
        along = stop - start
        length = float(np.linalg.norm(along))
        before = directions[tree.parent[index]]
        bend = (before * length if before.any() else along) * 0.35 + rng.normal(0, wiggle, 3) * length
        control = start + 0.25 * along + bend * 0.6
        directions[index] = unit(stop - control)
        count = int(np.clip(length / 5, 2, 6))
        t = np.linspace(0, 1, count + 1)[:, None]
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * stop
        radius = float(tree.radius_mm[index])
        pieces.extend(Tube(a, b, radius) for a, b in itertools.pairwise(curve))
    return pieces


def _beside(rng: np.random.Generator, arteries: list[Tube]) -> list[Tube]:
    """A bronchus runs beside each larger artery, about as wide."""
    smallest = rng.uniform(1.1, 1.7)
    ratio = rng.uniform(0.75, 1.15)
    side = unit(rng.normal(size=3))
    tubes = []
    for artery in arteries:
        if artery.radius_mm < smallest:
            continue
        along = unit(artery.stop - artery.start)
        across = unit(side - (side @ along) * along)
        radius = artery.radius_mm * ratio
        shift = across * (artery.radius_mm + radius + 0.6)
        tubes.append(Tube(artery.start + shift, artery.stop + shift, radius))
    return tubes


def _draw_airways(rng: np.random.Generator, chest: Chest, airways: list[Tube]) -> None:
    """Walls first, then the air in them; a few short stretches stay filled with mucus."""
    wall = rng.uniform(0.5, 1.2)
    hu: Array = chest.hu
    for tube in airways:
        outer = tube.radius_mm + wall * 0.5
        draw_tube(hu, tube.start, tube.stop, (outer, outer), rng.uniform(-150, 40), chest.lung)
    plugged = rng.random(len(airways)) < (0.03 if rng.random() < 0.3 else 0.0)
    for tube, filled in zip(airways, plugged, strict=True):
        inner = max(tube.radius_mm - wall * 0.5, 0.4)
        if not filled:
            draw_tube(hu, tube.start, tube.stop, (inner, inner), -970, chest.lung, mode="set")
