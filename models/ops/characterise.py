"""From a detected place to a Finding: segmentation, axes, volume, density, in patient space."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ops.classify_nodule import classify_nodule
from models.ops.find_lobe import find_lobe
from models.ops.lung_mask import LungMask
from models.ops.measure_axes import measure_axes
from models.ops.pleura_distance import pleura_distance_mm
from models.ops.segment_nodule import segment_nodule
from study.answer import Structure
from study.codes import LUNG_NODULE
from study.findings import Finding, Point, Segment
from study.nodule import NODULE_UP_TO_MM, NoduleFeatures
from study.volume import Volume

# Names of findings are made in this space, so that the same finding always gets the same UID.
_TRACKING = uuid.UUID("6f0e0c39-2f0c-5b0e-9d43-0d6f0a4f6a51")


@dataclass(frozen=True)
class Detection:
    """A place found by a model: centre as (slice, row, column) index of the volume, diameter in mm."""

    center_index: tuple[float, float, float]
    diameter_mm: float
    score: float


def characterise(
    volume: Volume,
    detection: Detection,
    number: int,
    *,
    lungs: LungMask | None = None,
    lobes: Sequence[Structure] = (),
) -> Finding:
    """Measure one detection in the original grid; `number` is its place in the result, from 1.

    lungs: for the distance to the pleura. lobes: the structures of a lobe model; without them no lobe is named.
    """
    center = np.array(detection.center_index)
    region = segment_nodule(volume.voxels, volume.spacing_mm, center, detection.diameter_mm)
    origin = np.array(region.origin, np.float64)
    areas = region.mask.sum(axis=(1, 2))
    plane = int(np.argmax(areas))
    axes = measure_axes(region.mask[plane], volume.spacing_mm[1:])
    slice_index = region.origin[0] + plane
    corner = origin + np.array([plane, 0.0, 0.0])
    long_ends, short_ends = (
        tuple(_lps(volume, corner + np.array([0.0, *end])) for end in ends)
        for ends in (axes.long_ends, axes.short_ends)
    )
    extent = tuple(slice(o, o + n) for o, n in zip(region.origin, region.mask.shape, strict=True))
    segment = Segment(region.mask, region.origin)
    made_of = classify_nodule(
        volume.voxels[extent], region.mask, volume.spacing_mm, volume.slice_thickness_mm
    )
    solid_mm = None
    if made_of.solid_long_mm is not None and made_of.solid_short_mm is not None:
        solid_mm = (made_of.solid_long_mm + made_of.solid_short_mm) / 2
    mean_diameter_mm = (axes.long_mm + axes.short_mm) / 2
    center_lps = _lps(volume, center)
    return Finding(
        id=number,
        label=LUNG_NODULE.meaning if mean_diameter_mm <= NODULE_UP_TO_MM else "Pulmonary mass",
        score=detection.score,
        center_lps_mm=center_lps,
        bbox_lps_mm=_bounding_box(volume, origin, region.mask.shape),
        long_axis_mm=axes.long_mm,
        short_axis_mm=axes.short_mm,
        mean_diameter_mm=mean_diameter_mm,
        long_axis_lps_mm=(long_ends[0], long_ends[1]),
        short_axis_lps_mm=(short_ends[0], short_ends[1]),
        volume_mm3=float(areas.sum()) * float(np.prod(volume.spacing_mm)),
        mean_hu=float(volume.voxels[extent][region.mask].mean()),
        slice_index=slice_index,
        slice_sop_instance_uid=volume.slice_sop_instance_uids[slice_index],
        slice_frame_number=volume.slice_frame_numbers[slice_index],
        tracking_uid=_tracking_uid(volume.series_instance_uid, center_lps),
        segment=segment,
        nodule=NoduleFeatures(
            kind=made_of.kind if region.threshold_hu is not None else None,
            solid_part_mm=solid_mm,
            solid_part_long_axis_mm=made_of.solid_long_mm,
            lobe=find_lobe(segment, lobes, volume.spacing_mm),
            pleura_distance_mm=None
            if lungs is None
            else pleura_distance_mm(region.mask, region.origin, lungs, volume.spacing_mm),
        ),
    )


def _lps(volume: Volume, index: NDArray[np.float64]) -> Point:
    x, y, z = volume.to_lps_mm(index)
    return float(x), float(y), float(z)


def _bounding_box(
    volume: Volume, origin: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[float, float, float, float, float, float]:
    """The box around the outer edges of the region's voxels."""
    ends = [(start - 0.5, start + size - 0.5) for start, size in zip(origin, shape, strict=True)]
    corners = volume.to_lps_mm(np.array(list(itertools.product(*ends))))
    low, high = corners.min(axis=0), corners.max(axis=0)
    return float(low[0]), float(low[1]), float(low[2]), float(high[0]), float(high[1]), float(high[2])


def _tracking_uid(series_instance_uid: str, center: Point) -> str:
    """A UID of the form 2.25.<UUID as integer> (PS3.5 annex B.2), the same whenever this is run."""
    place = ",".join(f"{value:.1f}" for value in center)
    return f"2.25.{uuid.uuid5(_TRACKING, f'{series_instance_uid}:{place}').int}"
