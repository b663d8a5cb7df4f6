"""The source images on which a result is drawn, each with its marks: what key object selection, GSPS and SC share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_gateway.measurement_groups import finding_outline, measured_header
from dicom_gateway.result_context import ResultContext
from dicom_gateway.slice_geometry import outline, slice_geometry
from study.answer import Structure
from study.findings import Finding


@dataclass(frozen=True)
class Mark:
    """One thing drawn on an image; points are (column, row), the outer corner of the first pixel at 0.

    outline: (n, 2), closed. axes: (2, 2) end points of each measured axis. tracking_uid: as in SR and SEG.
    """

    label: str
    outline: NDArray[np.float64]
    tracking_id: str
    tracking_uid: str
    axes: tuple[NDArray[np.float64], ...] = ()


@dataclass(frozen=True)
class KeySlice:
    """One frame of the source. slice_index: its place in the volume, None for a radiograph."""

    header: Dataset
    frame_number: int
    slice_index: int | None
    marks: tuple[Mark, ...]

    @property
    def is_multiframe(self) -> bool:
        return int(self.header.get("NumberOfFrames") or 1) > 1


def key_slices(context: ResultContext) -> list[KeySlice]:
    """The image of each finding, in their order and each once; where positive statements lie; or where most is seen
    of the structures. Empty for a negative result."""
    if context.classifications:
        return _radiograph(context)
    if context.structures:
        return [_structures(context)]
    found: dict[tuple[str, int], KeySlice] = {}
    for finding in context.findings:
        header = measured_header(context, finding)
        key = (finding.slice_sop_instance_uid, finding.slice_frame_number)
        one = found.setdefault(key, KeySlice(header, key[1], finding.slice_index, ()))
        found[key] = replace(one, marks=(*one.marks, _finding(context, header, finding)))
    return list(found.values())


def _finding(context: ResultContext, header: Dataset, finding: Finding) -> Mark:
    geometry = slice_geometry(header, finding.slice_frame_number)
    axes = (finding.long_axis_lps_mm, finding.short_axis_lps_mm)
    return Mark(
        label=f"{finding.id}: {finding.mean_diameter_mm:.1f} mm",
        outline=finding_outline(context, header, finding),
        tracking_id=context.tracking_id(finding),
        tracking_uid=finding.tracking_uid,
        axes=tuple(_inside(geometry.to_image(np.asarray(axis)), header) for axis in axes),
    )


def _radiograph(context: ResultContext) -> list[KeySlice]:
    marks = []
    header = context.source_headers[0]
    for one in context.classifications:
        if one.is_positive and one.region_px is not None:
            left, top, right, bottom = one.region_px
            corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
            label = f"{context.words.name_of(one.code, one.title)} {one.probability:.2f}"
            tracking_id = context.statement_tracking_id(one)
            marks.append(Mark(label, _inside(np.asarray(corners), header), tracking_id, one.tracking_uid))
    return [KeySlice(header, 1, None, tuple(marks))] if marks else []


def _structures(context: ResultContext) -> KeySlice:
    """The slice that shows most of them."""
    volume = context.volume
    area = np.zeros(volume.voxels.shape[0])
    for one in context.structures:
        first = one.segment.origin[0]
        area[first : first + len(one.segment.mask)] += one.segment.mask.sum(axis=(1, 2))
    index = int(np.argmax(area))
    uid, frame = volume.slice_sop_instance_uids[index], volume.slice_frame_numbers[index]
    header = next(one for one in context.source_headers if str(one.SOPInstanceUID) == uid)
    marks = [_structure(context, header, frame, index, one) for one in context.structures]
    return KeySlice(header, frame, index, tuple(mark for mark in marks if mark is not None))


def _structure(
    context: ResultContext, header: Dataset, frame: int, index: int, one: Structure
) -> Mark | None:
    """The outline of its largest part on the slice."""
    depth = index - one.segment.origin[0]
    if not 0 <= depth < len(one.segment.mask) or not one.segment.mask[depth].any():
        return None
    in_plane = outline(one.segment.mask[depth]) + np.asarray(one.segment.origin[1:])
    points = context.volume.to_lps_mm(np.insert(in_plane, 0, index, axis=1))
    return Mark(
        label=context.words.name_of(one.code, one.label),
        outline=_inside(slice_geometry(header, frame).to_image(points), header),
        tracking_id=context.structure_tracking_id(one),
        tracking_uid=one.tracking_uid,
    )


def _inside(points: NDArray[np.float64], header: Dataset) -> NDArray[np.float64]:
    limit = np.asarray([float(header.Columns), float(header.Rows)])
    return np.asarray(np.clip(points, 0.0, limit).round(3) + 0.0)
