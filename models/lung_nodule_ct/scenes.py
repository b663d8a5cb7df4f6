"""What training draws its patches from: chests before any scanner has seen them, and real scans. numpy only.

A chest of `make_scene` has no noise, no kernel and few nodules: the scanner and more nodules come with each patch, so
that the network never sees the same one twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.lung_nodule_ct.phantom import FIELD_MM, Nodule, Phantom
from models.lung_nodule_ct.phantom_anatomy import make_chest
from models.lung_nodule_ct.phantom_lesions import draw_lookalikes, draw_nodules
from models.lung_nodule_ct.phantom_masses import draw_large_lookalikes, draw_masses
from models.lung_nodule_ct.phantom_style import varied
from models.lung_nodule_ct.phantom_surroundings import draw_surroundings
from models.lung_nodule_ct.phantom_tumours import draw_central_tumour
from models.lung_nodule_ct.phantom_vessels import draw_vessels_and_airways
from models.ops.lung_mask import find_lungs
from models.ops.resample import resample_box

MARGIN_MM = 16
# Depth below the lungs' surface is kept in half millimetres.
DEPTH_STEP_MM = 0.5


@dataclass(frozen=True)
class Scene:
    """A chest at 1 mm, cut to the lungs' box; everything is in voxels of it.

    voxels: int16 HU. depth: int8, how far in the lung a voxel lies, in `DEPTH_STEP_MM`, negative outside.
    scanned: it went through a scanner already.
    """

    voxels: NDArray[np.int16]
    depth: NDArray[np.int8]
    centers: NDArray[np.float64]
    diameters: NDArray[np.float64]
    scanned: bool = False


def make_scene(seed: int) -> Scene:
    """A chest in a style of its own, with nodules, perhaps masses and what looks like them; the same for a seed."""
    rng = np.random.default_rng(seed)
    chest = make_chest(rng, FIELD_MM, varied(rng))
    vessels = draw_vessels_and_airways(rng, chest)
    draw_lookalikes(rng, chest)
    if rng.random() < 0.75:
        draw_large_lookalikes(rng, chest)
    if rng.random() < 0.85:
        draw_surroundings(rng, chest)
    central = draw_central_tumour(rng, chest) if rng.random() < 0.5 else None
    masses = draw_masses(rng, chest, int(rng.choice([0, 0, 1, 2]))) if central is None else [central]
    lesions = [*masses, *draw_nodules(rng, chest, vessels, int(rng.integers(2, 9)), masses)]
    lung = chest.depth_mm > 0
    box = tuple(
        slice(max(int(used[0]) - MARGIN_MM, 0), int(used[-1]) + 1 + MARGIN_MM)
        for used in (np.flatnonzero(lung.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3))
    )
    start = np.array([part.start for part in box])
    return Scene(
        np.clip(np.rint(chest.hu[box]), -1024, 3071).astype(np.int16),
        _as_steps(chest.depth_mm[box]),
        np.array([lesion.center for lesion in lesions]).reshape(-1, 3) - start,
        np.array([lesion.diameter_mm for lesion in lesions]),
    )


def scene_of(phantom: Phantom) -> Scene:
    """A scan brought to the grid on which the network works; raises `ValueError` where there are no lungs."""
    lungs = find_lungs(phantom.voxels, phantom.spacing_mm)
    if lungs is None:
        raise ValueError(f"no lungs in scan {phantom.seed}")
    spacing = np.array(phantom.spacing_mm)
    margin = np.ceil(MARGIN_MM / spacing).astype(int)
    box = lungs.box((int(margin[0]), int(margin[1]), int(margin[2])), phantom.voxels.shape)
    start = np.array([low for low, _ in box])
    size = np.ceil(np.array([high - low for low, high in box]) * spacing).astype(int)
    voxels = resample_box(
        phantom.voxels,
        tuple(start.astype(float)),
        tuple(1 / spacing),
        (int(size[0]), int(size[1]), int(size[2])),
    )
    sizes = zip(size, spacing, start, lungs.stride, lungs.mask.shape, strict=True)
    cells = [np.minimum((np.arange(n) / s + o).astype(int) // k, m - 1) for n, s, o, k, m in sizes]
    inside = lungs.mask[np.ix_(*cells)]
    depth = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    centers = np.array([nodule.center_index for nodule in phantom.truth]).reshape(-1, 3)
    diameters = np.array([nodule.diameter_mm for nodule in phantom.truth])
    return Scene(
        voxels, _as_steps(depth.astype(np.float32)), (centers - start) * spacing, diameters, scanned=True
    )


def _as_steps(depth_mm: NDArray[np.float32]) -> NDArray[np.int8]:
    return np.asarray(np.clip(np.rint(depth_mm / DEPTH_STEP_MM), -127, 127), np.int8)


def write(path: Path, scene: Scene) -> None:
    """Store a scene; the file appears whole or not at all."""
    temporary = path.with_suffix(".part.npz")
    np.savez(
        temporary, voxels=scene.voxels, depth=scene.depth, centers=scene.centers, diameters=scene.diameters
    )
    temporary.rename(path)


def read(path: Path) -> Scene:
    """A scene that was written, or a scan that `luna16` or `dataset` wrote."""
    with np.load(path) as stored:
        if "depth" in stored:
            return Scene(stored["voxels"], stored["depth"], stored["centers"], stored["diameters"])
        spacing = tuple(float(step) for step in stored["spacing_mm"])
        truth = tuple(
            Nodule((float(c[0]), float(c[1]), float(c[2])), float(d), "solid")
            for c, d in zip(stored["centers"], stored["diameters_mm"], strict=True)
        )
        return scene_of(
            Phantom(stored["voxels"], (spacing[0], spacing[1], spacing[2]), truth, int(stored["seed"]))
        )
