"""From a CT volume to the boxes at 1 mm that the graph reads."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from models.errors import LungsNotFound, VolumeTooThin
from models.model import ModelInput
from models.ops.lung_mask import LungMask, find_lungs
from models.ops.orientation import orientation_of
from models.ops.resample import resample_box
from study.volume import Volume

MARGIN_MM = 12.0
# The graph's sides are multiples of 16 and at least as long as the cubes at which it looks again.
SIDE_MULTIPLE, SIDE_MIN = 16, 48
# A shorter scan than this shows no whole nodule.
EXTENT_MIN_MM = 30.0
# Above this many voxels the box is cut into slabs, so that a run needs no more than about 1.5 GB. The lungs of one
# person fit, those of a scan of twice the length do not.
SLAB_VOXELS_MAX = 28_000_000
SLAB_OVERLAP = 64


@dataclass(frozen=True)
class Slab:
    """One run of the graph: first slice and depth in the box, and the slices whose candidates count."""

    first: int
    depth: int
    keep: tuple[int, int]


@dataclass(frozen=True)
class LungBox:
    """How the graph's grid lies in the volume: the patient upright before it, however the slices were stored.

    order: the volume's axis along each of the box's; start_index, step: along these, volume index of the box's first
    voxel and volume voxels for each box voxel, below zero where the volume runs the other way.
    """

    order: tuple[int, int, int]
    start_index: tuple[float, float, float]
    step: tuple[float, float, float]
    slabs: tuple[Slab, ...]
    lungs: LungMask


def preprocess(
    volume: Volume, spacing_mm: tuple[float, float, float], slab_voxels_max: int = SLAB_VOXELS_MAX
) -> ModelInput:
    """Find the lungs and resample their box; raises `LungsNotFound` or `VolumeTooThin`.

    spacing_mm: what the graph works at. slab_voxels_max: boxes above it are run in several slabs.
    """
    spacing = volume.spacing_mm
    extent = (volume.voxels.shape[0] - 1) * spacing[0]
    if extent < EXTENT_MIN_MM:
        raise VolumeTooThin(extent, EXTENT_MIN_MM)
    lungs = find_lungs(volume.voxels, spacing)
    if lungs is None:
        raise LungsNotFound
    margin = tuple(int(np.ceil(MARGIN_MM / size)) for size in spacing)
    limits = lungs.box((margin[0], margin[1], margin[2]), volume.voxels.shape)
    turned = orientation_of(volume.affine_mm)
    start, step, shape = [], [], []
    for axis, is_flipped, out in zip(turned.order, turned.flip, spacing_mm, strict=True):
        (low, high), ratio = limits[axis], out / spacing[axis]
        needed = (high - low) / ratio
        side = max(SIDE_MIN, int(np.ceil(needed / SIDE_MULTIPLE)) * SIDE_MULTIPLE)
        first = low - (side - needed) / 2 * ratio
        start.append(first + (side - 1) * ratio if is_flipped else first)
        step.append(-ratio if is_flipped else ratio)
        shape.append(side)
    box = LungBox(
        turned.order,
        (start[0], start[1], start[2]),
        (step[0], step[1], step[2]),
        cut_into_slabs((shape[0], shape[1], shape[2]), slab_voxels_max),
        lungs,
    )
    voxels = resample_box(
        volume.voxels.transpose(box.order), box.start_index, box.step, (shape[0], shape[1], shape[2])
    )
    batches = tuple({"hounsfield": voxels[None, slab.first : slab.first + slab.depth]} for slab in box.slabs)
    return ModelInput(batches, box)


def cut_into_slabs(shape: tuple[int, int, int], limit: int) -> tuple[Slab, ...]:
    """As few slabs as keep within the limit, of equal depth, overlapping by `SLAB_OVERLAP` or a little more."""
    slices, rows, columns = shape
    deepest = max(2 * SLAB_OVERLAP, limit // (rows * columns) // SIDE_MULTIPLE * SIDE_MULTIPLE)
    if slices <= deepest:
        return (Slab(0, slices, (0, slices)),)
    count = math.ceil((slices - SLAB_OVERLAP) / (deepest - SLAB_OVERLAP))
    needed = math.ceil((slices + (count - 1) * SLAB_OVERLAP) / count)
    depth = math.ceil(needed / SIDE_MULTIPLE) * SIDE_MULTIPLE
    # Where one pass over the whole box would have its coarsest voxels, the slabs have them too.
    spare = (slices - depth) // SIDE_MULTIPLE
    firsts = [spare * number // (count - 1) * SIDE_MULTIPLE for number in range(count)]
    edges = [0, *((b + a + depth) // 2 for a, b in itertools.pairwise(firsts)), slices]
    return tuple(Slab(first, depth, (edges[i], edges[i + 1])) for i, first in enumerate(firsts))
