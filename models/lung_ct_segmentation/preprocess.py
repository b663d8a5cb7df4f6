"""From a CT volume to the box of coarse voxels that the graph reads, in the patient's standing order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.errors import LungsNotFound, VolumeTooThin
from models.model import ModelInput
from models.ops.lung_mask import LungMask, find_lungs
from models.ops.orientation import Orientation, orientation_of
from models.ops.resample_mean import resample_mean
from study.volume import Volume

MARGIN_MM = 10.0
SIDE_MULTIPLE, SIDE_MIN = 16, 32
EXTENT_MIN_MM = 30.0
# The bases of the lungs on a scan of the abdomen count too.
PART_MIN_ML = 25.0
# The windpipe above the lungs is in the mask too; its cross-section is smaller than this.
WINDPIPE_MAX_MM2 = 600.0


@dataclass(frozen=True)
class LungBox:
    """How the graph's grid lies in the volume as `orientation` shows it.

    start_index: index of the box's first voxel; step: volume voxels for each voxel of the box.
    """

    start_index: tuple[float, float, float]
    step: tuple[float, float, float]
    shape: tuple[int, int, int]
    orientation: Orientation
    lungs: LungMask


def preprocess(volume: Volume, spacing_mm: tuple[float, float, float]) -> ModelInput:
    """Find the lungs and average their box; raises `LungsNotFound` or `VolumeTooThin`."""
    orientation = orientation_of(volume.affine_mm)
    voxels = orientation.apply(volume.voxels)
    spacing = tuple(volume.spacing_mm[axis] for axis in orientation.order)
    extent = (voxels.shape[0] - 1) * spacing[0]
    if extent < EXTENT_MIN_MM:
        raise VolumeTooThin(extent, EXTENT_MIN_MM)
    lungs = find_lungs(voxels, (spacing[0], spacing[1], spacing[2]), closed=False, volume_min_ml=PART_MIN_ML)
    if lungs is None:
        raise LungsNotFound
    box = lung_box(lungs, voxels.shape, spacing, spacing_mm, orientation)
    values = resample_mean(voxels, box.start_index, box.step, box.shape)
    return ModelInput(({"hounsfield": values[None]},), box)


def lung_box(
    lungs: LungMask,
    shape: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    to_mm: tuple[float, float, float],
    orientation: Orientation,
) -> LungBox:
    """The lungs with a margin, widened until each side is a multiple of 16 voxels of the graph."""
    margin = tuple(int(np.ceil(MARGIN_MM / size)) for size in spacing_mm)
    limits = _without_windpipe(lungs, spacing_mm).box((margin[0], margin[1], margin[2]), shape)
    step = tuple(out / size for out, size in zip(to_mm, spacing_mm, strict=True))
    start, sides = [], []
    for (low, high), ratio in zip(limits, step, strict=True):
        needed = (high - low) / ratio
        side = max(SIDE_MIN, int(np.ceil(needed / SIDE_MULTIPLE)) * SIDE_MULTIPLE)
        # The first voxel's centre: `side` voxels of `ratio` around the middle of the box.
        start.append((low + high - 1) / 2 - (side - 1) / 2 * ratio)
        sides.append(side)
    return LungBox(
        (start[0], start[1], start[2]),
        (step[0], step[1], step[2]),
        (sides[0], sides[1], sides[2]),
        orientation,
        lungs,
    )


def _without_windpipe(lungs: LungMask, spacing_mm: tuple[float, ...]) -> LungMask:
    """The mask up to the highest slice that shows more than a windpipe."""
    pixel_mm2 = lungs.stride[1] * spacing_mm[1] * lungs.stride[2] * spacing_mm[2]
    area = lungs.mask.sum(axis=(1, 2)) * pixel_mm2
    large = np.flatnonzero(area > WINDPIPE_MAX_MM2)
    if not len(large):
        return lungs
    mask = lungs.mask.copy()
    mask[int(large[-1]) + 1 :] = False
    return LungMask(mask, lungs.stride, lungs.volume_ml)
