"""The voxels of one nodule in the original grid, from its centre and predicted diameter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.ops.lung_hull import inside_lung_hull
from models.ops.resample import linear_weights

Spacing = tuple[float, float, float]

# The segmented region may reach this far beyond the predicted radius.
REACH_FACTOR, REACH_EXTRA_MM = 1.2, 1.0
SHELL_MM = 6.0
# The edge lies half-way between nodule and lung, as visual assessment has it (full width at half maximum). What is
# denser than soft tissue does not move it.
LUNG_FALLBACK_HU = -850.0
LUNG_BELOW_HU = -600
TISSUE_HU = 50.0
CONTRAST_MIN_HU = 80.0
# What fills less than this of the predicted ball is no nodule of that size.
SPECK_SHARE = 0.1
# A vessel thinner than this share of the nodule's radius is cut off by the opening.
OPENING_SHARE, OPENING_MAX_MM = 0.4, 3.0
# Ground glass around a solid core: this much denser than the lung, this far from anything solid (blur of the edge), and
# at least this share of the core's volume.
HALO_ABOVE_LUNG_HU, HALO_BELOW_HU = 130.0, -250.0
EDGE_MM = 1.0
HALO_SHARE_MIN = 0.2
# Faint edges are looked for in a blurred copy where noise would break them: half the contrast is less than this many
# standard deviations.
NOISE_BLUR_MM = 0.7
NOISE_FACTOR = 2.5
# A large mass is worked on in a coarser grid with about this many voxels; its edge is still the original grid's.
WORK_VOXELS_MAX = 250_000


@dataclass(frozen=True)
class Region:
    """mask: bool box (slice, row, column); origin: index of its first voxel in the volume.

    threshold_hu: voxels above it belong to the nodule; None where no edge was found and the region
    is the ball of the predicted diameter. lung_hu: of the lung around it.
    """

    mask: NDArray[np.bool_]
    origin: tuple[int, int, int]
    threshold_hu: float | None
    lung_hu: float


@dataclass(frozen=True)
class _Crop:
    """The nodule's surroundings. distance: from the predicted centre, in mm."""

    hu: NDArray[np.float32]
    smooth: NDArray[np.float32]
    noise_hu: float
    spacing_mm: Spacing
    distance: NDArray[np.float32]
    radius: float
    reach: float


def segment_nodule(
    voxels: NDArray[np.int16], spacing_mm: Spacing, center_index: NDArray[np.float64], diameter_mm: float
) -> Region:
    """Segment the nodule whose centre is `center_index` (slice, row, column).

    The threshold lies half-way between the nodule's core and the lung around it, or between its ground glass and the
    lung where ground glass surrounds the core. Of what is above it within the reach and on the lung's side of the chest
    wall, the part connected with the core remains, opened so that vessels fall off. Where nothing stands out, the ball
    of the predicted diameter is returned.
    """
    spacing = np.array(spacing_mm)
    radius = diameter_mm / 2
    reach = radius * REACH_FACTOR + REACH_EXTRA_MM
    span = reach + SHELL_MM
    low = np.maximum(np.floor(center_index - span / spacing), 0).astype(int)
    high = np.minimum(np.ceil(center_index + span / spacing) + 1, voxels.shape).astype(int)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    original = voxels[box]
    stride = max(1, int(np.ceil(np.cbrt(original.size / WORK_VOXELS_MAX))))
    strides = tuple(max(1, min(stride, int(radius / 4 / step))) for step in spacing_mm)
    crop = _crop(
        original, spacing_mm, center_index - low, (strides[0], strides[1], strides[2]), radius, reach
    )
    lung = _lung_level(crop)
    part, threshold = _part(crop, lung)
    nearest = np.unravel_index(int(np.argmin(crop.distance)), crop.distance.shape)
    if part is None:
        ball = crop.distance <= max(radius, float(crop.distance[nearest]))
        return _trimmed(_in_original(ball, strides, original.shape), low, None, lung)
    if strides != (1, 1, 1):
        grown = _in_original(ndimage.binary_dilation(part), strides, original.shape)
        part = _largest(grown & (original > threshold))
    return _trimmed(part, low, threshold, lung)


def _crop(
    original: NDArray[np.int16],
    spacing_mm: Spacing,
    center: NDArray[np.float64],
    strides: tuple[int, int, int],
    radius: float,
    reach: float,
) -> _Crop:
    hu = original[:: strides[0], :: strides[1], :: strides[2]].astype(np.float32)
    z, y, x = (step * size for step, size in zip(strides, spacing_mm, strict=True))
    places = [
        (np.arange(n) * s - c) * size
        for n, s, c, size in zip(hu.shape, strides, center, spacing_mm, strict=True)
    ]
    distance = np.sqrt(
        places[0][:, None, None] ** 2 + places[1][None, :, None] ** 2 + places[2][None, None, :] ** 2
    ).astype(np.float32)
    smooth = ndimage.gaussian_filter(hu, [NOISE_BLUR_MM / step for step in (z, y, x)], truncate=2)
    noise = (
        1.48 * float(np.median(np.abs((hu - smooth)[hu < LUNG_BELOW_HU])))
        if (hu < LUNG_BELOW_HU).any()
        else 0.0
    )
    return _Crop(hu, smooth, noise, (z, y, x), distance, radius, reach)


def _lung_level(crop: _Crop) -> float:
    around = crop.hu[(crop.distance > crop.reach) & (crop.hu < LUNG_BELOW_HU)]
    return float(np.median(around)) if around.size > 10 else LUNG_FALLBACK_HU


def _part(crop: _Crop, lung: float) -> tuple[NDArray[np.bool_] | None, float]:
    """The nodule's voxels and its threshold; None where nothing stands out."""
    inner = crop.hu[crop.distance <= max(0.5 * crop.radius, float(crop.distance.min()) + 1e-6)]
    threshold = (min(float(np.median(inner)), TISSUE_HU) + lung) / 2
    in_reach = crop.distance <= crop.reach
    in_reach = inside_lung_hull(crop.hu, crop.spacing_mm, in_reach) & in_reach
    part = _above(crop, threshold, lung, in_reach)
    glass = _ground_glass_around(crop, part, threshold, lung, in_reach)
    if glass is not None:
        threshold = (glass + lung) / 2
        part = _above(crop, threshold, lung, in_reach)
    speck = SPECK_SHARE * 4 / 3 * np.pi * crop.radius**3
    if part is not None and part.sum() * float(np.prod(crop.spacing_mm)) < speck:
        part = None
    return part, threshold


def _above(
    crop: _Crop, threshold: float, lung: float, in_reach: NDArray[np.bool_]
) -> NDArray[np.bool_] | None:
    """The opened part above the threshold at the centre, if there is one."""
    if threshold - lung < CONTRAST_MIN_HU / 2:
        return None
    is_faint = threshold - lung < NOISE_FACTOR * crop.noise_hu
    part = _connected(
        ((crop.smooth if is_faint else crop.hu) > threshold) & in_reach, crop.distance, crop.radius
    )
    if part is None:
        return None
    return _opened(part, crop.spacing_mm, crop.distance, crop.radius)


def _ground_glass_around(
    crop: _Crop, part: NDArray[np.bool_] | None, threshold: float, lung: float, in_reach: NDArray[np.bool_]
) -> float | None:
    """HU of the ground glass that surrounds a denser part; None where there is none worth the name."""
    if part is None:
        return None
    margin = np.maximum(EDGE_MM, np.array(crop.spacing_mm))
    dense = ndimage.distance_transform_edt(crop.smooth <= threshold, sampling=crop.spacing_mm / margin)
    halo = (dense > 1) & (crop.distance <= crop.radius) & _without_wall_edge(in_reach, crop)
    halo &= (crop.smooth > lung + HALO_ABOVE_LUNG_HU) & (crop.smooth < HALO_BELOW_HU)
    if halo.sum() < HALO_SHARE_MIN * part.sum():
        return None
    return float(np.median(crop.smooth[halo]))


def _without_wall_edge(in_reach: NDArray[np.bool_], crop: _Crop) -> NDArray[np.bool_]:
    """Without the blurred edge of the chest wall."""
    wall = (crop.distance <= crop.reach) & ~in_reach
    if not wall.any():
        return in_reach
    return np.asarray(
        in_reach & (ndimage.distance_transform_edt(~wall, sampling=crop.spacing_mm) > EDGE_MM), np.bool_
    )


def _connected(
    mask: NDArray[np.bool_], distance: NDArray[np.float32], radius: float
) -> NDArray[np.bool_] | None:
    """The component nearest to the centre, if it comes within half the radius."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return None
    inside = np.where(mask, distance, np.inf)
    nearest = int(np.argmin(inside))
    if inside.flat[nearest] > max(0.5 * radius, float(distance.min()) + 1e-6):
        return None
    return np.asarray(labels == labels.flat[nearest], np.bool_)


def _opened(
    mask: NDArray[np.bool_], spacing_mm: Spacing, distance: NDArray[np.float32], radius: float
) -> NDArray[np.bool_]:
    """Morphological opening with a ball that keeps the component at the centre."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    near = np.where(distance <= radius, depth, 0)
    size = min(OPENING_SHARE * float(near.max()), OPENING_MAX_MM)
    core = _connected(depth > size, distance, 2 * radius)
    if core is None:
        return mask
    # Voxels count from their centres: one whose centre lies `size` from the core is still inside.
    return np.asarray(mask & (ndimage.distance_transform_edt(~core, sampling=spacing_mm) <= size), np.bool_)


def _in_original(
    mask: NDArray[np.bool_], strides: tuple[int, ...], shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """A mask of every `strides`-th voxel on all voxels, its edge half-way between the two grids' voxels."""
    share = mask.astype(np.float32)
    for axis, (stride, length) in enumerate(zip(strides, shape, strict=True)):
        if stride > 1:
            low, high, part = linear_weights(0.0, 1 / stride, length, share.shape[axis])
            weight = part.reshape([-1 if other == axis else 1 for other in range(3)])
            below = share.take(low, axis)
            share = below + (share.take(high, axis) - below) * weight
    return np.asarray(share >= 0.5, np.bool_)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(sizes.argmax()), np.bool_)


def _trimmed(mask: NDArray[np.bool_], low: NDArray[np.int64], threshold: float | None, lung: float) -> Region:
    used = [np.flatnonzero(mask.any(axis=tuple(o for o in range(3) if o != axis))) for axis in range(3)]
    box = tuple(slice(int(u[0]), int(u[-1]) + 1) for u in used)
    z, y, x = (int(start) + part.start for start, part in zip(low, box, strict=True))
    return Region(np.ascontiguousarray(mask[box]), (z, y, x), threshold, lung)
