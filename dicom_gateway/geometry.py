"""Slice planes -> one regular grid, or the reason why there is none (PS3.3 C.7.6.2). Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_gateway.decode_errors import (
    GantryTilt,
    GeometryInvalid,
    GeometryNotUniform,
    MissingSlices,
    NotAxial,
    SingleSlice,
)

Vector = NDArray[np.float64]

# Direction cosines written with three decimals miss unit length and right angle by less than this; it moves
# the far corner of a 500 mm slice by 0.5 mm, less than a pixel.
ORIENTATION_TOLERANCE = 1e-3
# Pixel spacings of one series written with different numbers of decimals; 0.1 mm over 500 pixels.
PIXEL_SPACING_TOLERANCE_MM = 2e-4
# Smaller and larger values are typing errors or other units, not CT pixels (micro-CT is not our input).
PIXEL_SPACING_RANGE_MM = (0.02, 10.0)
# The finest slice increment in use is 0.2 mm; positions closer than this are one position.
SAME_POSITION_MM = 0.02
# Positions are often written with one decimal (0.05 mm off); table feed adds about as much.
POSITION_TOLERANCE_MM = 0.1
# A fine increment leaves less room: a quarter of it is half way to being the neighbour's.
POSITION_TOLERANCE_OF_STEP = 0.25
# More than this between neighbours is not one acquisition of consecutive slices.
SLICE_STEP_MAX_MM = 20.0
# Beyond this share of gaps the series is not one with lost slices but one of changing increments.
MISSING_GAPS_SHARE_MAX = 0.25
# CT gantries tilt up to 30 degrees; what leans further from axial was reformatted.
AXIAL_ANGLE_MAX_DEG = 35.0
# Two roundings of an angle in the header, and the couch's own lean.
TILT_TOLERANCE_DEG = 1.0
# A stack whose last slice is shifted by less than this against an upright one is left as it is.
SHEAR_NEGLIGIBLE_PIXELS = 0.5
# Missing positions that are spelled out in the message.
_NAMED_MAX = 12


@dataclass(frozen=True)
class Plane:
    """One slice. position_mm: LPS of the centre of its first pixel; orientation: row and column cosines.

    spacing_mm: (row, column) distance of pixel centres (PS3.3 10.7.1.1). size: (rows, columns).
    """

    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing_mm: tuple[float, ...] | None
    size: tuple[int, int]


@dataclass(frozen=True)
class Axes:
    """What all planes of a stack share: unit vectors along a row, along a column, and their normal."""

    row: Vector
    column: Vector
    normal: Vector
    spacing_mm: tuple[float, float]


@dataclass(frozen=True)
class Stack:
    """A regular stack of planes.

    order: indices of the given planes, lowest along the normal first.
    affine_mm: float64 (4, 4), (slice, row, column, 1) -> LPS mm, upright: the slice axis is the normal.
    shear_pixels: float64 (slice, 2), how far (rows, columns) the content of each slice lies from the upright
        grid of `affine_mm`; None when the stack is upright.
    tilt_deg: angle between slice step and normal.
    """

    order: tuple[int, ...]
    affine_mm: NDArray[np.float64]
    shear_pixels: NDArray[np.float64] | None
    tilt_deg: float


def common_axes(planes: Sequence[Plane]) -> Axes:
    """The axes that all planes share; raises `GeometryInvalid`, `GeometryNotUniform`, `NotAxial`."""
    orientations = np.array([_valid_orientation(plane) for plane in planes])
    spacings = np.array([_valid_spacing(plane) for plane in planes])
    if np.abs(orientations - orientations[0]).max() > ORIENTATION_TOLERANCE:
        raise GeometryNotUniform("the slices of the series do not all have the same orientation")
    if np.abs(spacings - spacings[0]).max() > PIXEL_SPACING_TOLERANCE_MM:
        raise GeometryNotUniform("the slices of the series do not all have the same pixel spacing")
    if len({plane.size for plane in planes}) > 1:
        raise GeometryNotUniform("the slices of the series do not all have the same rows and columns")
    row = _unit(orientations[0, :3])
    # Exactly perpendicular, so that the affine is orthogonal to the last digit.
    column = _unit(orientations[0, 3:] - orientations[0, 3:] @ row * row)
    normal = np.cross(row, column)
    angle = math.degrees(math.acos(min(1.0, abs(float(normal[2])))))
    if angle > AXIAL_ANGLE_MAX_DEG:
        raise NotAxial(f"the slices are not axial: their normal leans {angle:.0f}° from the body axis")
    return Axes(row, column, normal, (float(spacings[0, 0]), float(spacings[0, 1])))


def heights_mm(planes: Sequence[Plane], axes: Axes) -> Vector:
    """Position of each plane along the normal."""
    return np.asarray(np.array([_valid_position(plane) for plane in planes]) @ axes.normal)


def equal_heights(heights: Vector) -> list[list[int]]:
    """Indices grouped by position, ascending along the normal."""
    groups: list[list[int]] = []
    for index in np.argsort(heights, kind="stable"):
        if groups and heights[index] - heights[groups[-1][0]] <= SAME_POSITION_MM:
            groups[-1].append(int(index))
        else:
            groups.append([int(index)])
    return groups


def stack(planes: Sequence[Plane], axes: Axes, tilt_tag_deg: float | None = None) -> Stack:
    """The regular stack of planes at distinct positions.

    tilt_tag_deg: Gantry/Detector Tilt (0018,1120); None when absent. Raises `SingleSlice`, `MissingSlices`,
    `GeometryNotUniform`, `GantryTilt`.
    """
    if len(planes) < 2:
        raise SingleSlice("the series has a single slice; a volume needs at least two")
    heights = heights_mm(planes, axes)
    order = np.argsort(heights, kind="stable")
    positions = np.array([_valid_position(planes[index]) for index in order])
    _check_even(heights[order], positions[:, 2])
    step, origin = _fit_line(positions)
    _check_straight(positions, origin, step)
    tilt_deg = math.degrees(math.acos(min(1.0, float(step @ axes.normal) / float(np.linalg.norm(step)))))
    shear_pixels = _shear_pixels(len(order), step, axes)
    is_upright = np.abs(shear_pixels).max() * 2 <= SHEAR_NEGLIGIBLE_PIXELS
    _check_tilt_tag(tilt_tag_deg, 0.0 if is_upright else tilt_deg, axes)
    affine = _affine(positions, step, origin, axes)
    upright_deg = 0.0 if is_upright else tilt_deg
    return Stack(tuple(int(i) for i in order), affine, None if is_upright else shear_pixels, upright_deg)


def _valid_position(plane: Plane) -> Vector:
    if plane.position_mm is None or max(map(abs, plane.position_mm)) > 1e5:
        raise GeometryInvalid("a slice has no usable Image Position (Patient)")
    return np.array(plane.position_mm, dtype=np.float64)


def _valid_orientation(plane: Plane) -> Vector:
    if plane.orientation is None:
        raise GeometryInvalid("a slice has no usable Image Orientation (Patient)")
    row, column = np.array(plane.orientation[:3]), np.array(plane.orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(row @ column)) > ORIENTATION_TOLERANCE:
        raise GeometryInvalid("Image Orientation (Patient) is not two unit vectors at a right angle")
    return np.array(plane.orientation, dtype=np.float64)


def _valid_spacing(plane: Plane) -> Vector:
    if plane.spacing_mm is None:
        raise GeometryInvalid("a slice has no usable Pixel Spacing")
    low, high = PIXEL_SPACING_RANGE_MM
    if not all(low <= value <= high for value in plane.spacing_mm):
        raise GeometryInvalid(f"Pixel Spacing is not between {low:g} and {high:g} mm")
    return np.array(plane.spacing_mm, dtype=np.float64)


def _unit(vector: Vector) -> Vector:
    return np.asarray(vector / np.linalg.norm(vector))


def _tolerance_mm(step_mm: float) -> float:
    return min(POSITION_TOLERANCE_MM, POSITION_TOLERANCE_OF_STEP * step_mm)


def _check_even(heights: Vector, z_mm: Vector) -> None:
    """Ascending heights must be evenly spaced; gaps of whole steps are missing slices."""
    steps = np.diff(heights)
    # The lower median: with few slices the upper one may be a gap.
    step = float(np.sort(steps)[(len(steps) - 1) // 2])
    if step > SLICE_STEP_MAX_MM:
        raise GeometryNotUniform(f"the slices lie {step:.1f} mm apart, more than {SLICE_STEP_MAX_MM:g} mm")
    # Two neighbours may be off in opposite directions.
    tolerance = 2 * _tolerance_mm(step)
    uneven = np.flatnonzero(np.abs(steps - step) > tolerance)
    if not len(uneven):
        return
    counts = np.rint(steps / step)
    whole = np.abs(steps - counts * step) <= tolerance
    if not whole.all() or counts.min() < 1 or len(uneven) > MISSING_GAPS_SHARE_MAX * len(steps) + 1:
        low, high = float(steps.min()), float(steps.max())
        raise GeometryNotUniform(
            f"the distance between neighbouring slices changes from {low:.2f} to {high:.2f} mm",
            step_min_mm=round(low, 3),
            step_max_mm=round(high, 3),
        )
    raise _missing_slices(z_mm, counts.astype(int), step)


def _missing_slices(z_mm: Vector, counts: NDArray[np.int_], step: float) -> MissingSlices:
    absent = [
        round(float(z_mm[gap] + (z_mm[gap + 1] - z_mm[gap]) * part / counts[gap]), 2)
        for gap in np.flatnonzero(counts > 1)
        for part in range(1, counts[gap])
    ]
    named = ", ".join(f"{z:g}" for z in absent[:_NAMED_MAX]) + (", …" if len(absent) > _NAMED_MAX else "")
    noun = "1 slice is" if len(absent) == 1 else f"{len(absent)} slices are"
    return MissingSlices(
        f"{noun} missing between the first and the last one, at z = {named} mm (step {step:.2f} mm)",
        missing_z_mm=absent,
        step_mm=round(step, 4),
    )


def _fit_line(positions: Vector) -> tuple[Vector, Vector]:
    """(step, origin) of the least-squares line through the positions of slices 0, 1, 2, ..."""
    indices = np.arange(len(positions)) - (len(positions) - 1) / 2
    step = indices @ positions / (indices @ indices)
    return np.asarray(step), np.asarray(positions.mean(axis=0) + indices[0] * step)


def _check_straight(positions: Vector, origin: Vector, step: Vector) -> None:
    fitted = origin + np.arange(len(positions))[:, None] * step
    off = float(np.linalg.norm(positions - fitted, axis=1).max())
    # Rounding errs in all three coordinates.
    if off > math.sqrt(3) * _tolerance_mm(float(np.linalg.norm(step))):
        raise GeometryNotUniform(
            f"a slice lies {off:.2f} mm off the straight line of the others", off_line_mm=round(off, 3)
        )


def _shear_pixels(count: int, step: Vector, axes: Axes) -> NDArray[np.float64]:
    """(slice, 2): rows and columns by which each slice lies off an upright stack through the middle."""
    indices = np.arange(count) - (count - 1) / 2
    drift = np.array([step @ axes.column / axes.spacing_mm[0], step @ axes.row / axes.spacing_mm[1]])
    return np.asarray(indices[:, None] * drift)


def _check_tilt_tag(tag_deg: float | None, tilt_deg: float, axes: Axes) -> None:
    """The header's tilt must be seen in the slices: as shear, or as lean of an upright stack."""
    if tag_deg is None:
        return
    lean_deg = math.degrees(math.acos(min(1.0, abs(float(axes.normal[2])))))
    candidates = (tilt_deg,) if tilt_deg else (0.0, lean_deg)
    if min(abs(abs(tag_deg) - angle) for angle in candidates) > TILT_TOLERANCE_DEG:
        raise GantryTilt(
            f"the header tells a gantry tilt of {tag_deg:g}°, the slice positions one of {tilt_deg:.1f}°",
            tag_deg=tag_deg,
            measured_deg=round(tilt_deg, 2),
        )


def _affine(positions: Vector, step: Vector, origin: Vector, axes: Axes) -> NDArray[np.float64]:
    """Upright affine through the middle of the stack, where shear is zero."""
    upright = float(step @ axes.normal) * axes.normal
    middle = origin + (len(positions) - 1) / 2 * step
    affine = np.eye(4)
    affine[:3, 0] = upright
    affine[:3, 1] = axes.column * axes.spacing_mm[0]
    affine[:3, 2] = axes.row * axes.spacing_mm[1]
    affine[:3, 3] = middle - (len(positions) - 1) / 2 * upright
    return affine
