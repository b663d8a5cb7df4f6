"""The segments of a result as one binary Segmentation (PS3.3 A.51)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from highdicom import (
    AlgorithmIdentificationSequence,
    PixelMeasuresSequence,
    PlaneOrientationSequence,
    PlanePositionSequence,
)
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_gateway import result_codes
from dicom_gateway.encode_common import source_images, stamp
from dicom_gateway.encode_errors import SegmentOutsideVolume, SliceGeometryUnknown
from dicom_gateway.result_context import NOT_REVIEWED, ResultContext
from dicom_gateway.slice_geometry import slice_geometry
from study.answer import Structure
from study.findings import Finding, Segment
from study.volume import Volume

# Positions closer than this are the same plane; scanners write them with three to six decimals.
_SAME_PLACE_MM = 0.01


@dataclass(frozen=True)
class SegmentedFinding:
    """A finding that has a segment, and the number of that segment in the Segmentation, from 1."""

    number: int
    finding: Finding
    segment: Segment

    @property
    def label(self) -> str:
        return f"Finding {self.finding.id}"


@dataclass(frozen=True)
class SegmentedStructure:
    """A structure and the number of its segment; structures come after findings."""

    number: int
    structure: Structure

    @property
    def segment(self) -> Segment:
        return self.structure.segment

    @property
    def label(self) -> str:
        return self.structure.label.capitalize()


Segmented = SegmentedFinding | SegmentedStructure


def segmented_findings(context: ResultContext) -> list[SegmentedFinding]:
    """The findings that the Segmentation holds, in its order."""
    with_segment = [(finding, finding.segment) for finding in context.findings if finding.segment is not None]
    return [SegmentedFinding(number, *pair) for number, pair in enumerate(with_segment, start=1)]


def segmented_structures(context: ResultContext) -> list[SegmentedStructure]:
    """The structures that the Segmentation holds, in its order."""
    first = len(segmented_findings(context)) + 1
    return [SegmentedStructure(number, one) for number, one in enumerate(context.structures, start=first)]


def encode_seg(context: ResultContext) -> Dataset | None:
    """A Segmentation with one segment per finding and structure, or None when there is none.

    Only slices with content are encoded, whatever the length of the series.
    """
    segmented: list[Segmented] = [*segmented_findings(context), *segmented_structures(context)]
    if not segmented:
        return None
    for item in segmented:
        _require_inside(item, context.volume)
    slices = slices_with_content(segmented)
    result = Segmentation(
        **frames_on_source(context, slices, _pixels(segmented, slices, context.volume)),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(item, context) for item in segmented],
        series_instance_uid=context.uid("SEG series"),
        series_number=context.series_number("SEG"),
        sop_instance_uid=context.uid("SEG instance"),
        instance_number=1,
        manufacturer=context.publisher[:64],
        manufacturer_model_name=context.model_name[:64],
        software_versions=context.model_version[:64],
        device_serial_number=context.weights_sha256[:64],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="AI_FINDINGS" if context.findings else "AI_STRUCTURES",
        content_description=f"{NOT_REVIEWED}; {context.clearance_words}",
        specific_character_set="ISO_IR 192",
    )
    _complete(result, context)
    return result


def _require_inside(item: Segmented, volume: Volume) -> None:
    lowest = np.asarray(item.segment.origin)
    highest = lowest + item.segment.mask.shape
    if (lowest < 0).any() or (highest > volume.voxels.shape).any():
        raise SegmentOutsideVolume(item.label)


def slices_with_content(segmented: Sequence[Segmented]) -> list[int]:
    """Indices of the volume's slices that any of them reaches."""
    found: set[int] = set()
    for item in segmented:
        found.update((np.flatnonzero(item.segment.mask.any(axis=(1, 2))) + item.segment.origin[0]).tolist())
    return sorted(found)


def _pixels(segmented: Sequence[Segmented], slices: list[int], volume: Volume) -> NDArray[np.unsignedinteger]:
    """Labels (slice, row, column) of the given slices; with a fourth axis, segments, when two overlap."""
    place = {index: position for position, index in enumerate(slices)}
    shape = (len(slices), *volume.voxels.shape[1:])
    labels = np.zeros(shape, dtype=np.uint8 if len(segmented) < 256 else np.uint16)
    for item in segmented:
        for position, rows, columns, mask in _planes(item.segment, place):
            target = labels[position, rows, columns]
            if target[mask].any():
                return _separate_pixels(segmented, place, shape)
            target[mask] = item.number
    return labels


class _Separate(np.ndarray):
    """(slice, row, column, segment). highdicom adds segments up to see whether they overlap, in eight bytes a pixel."""

    def sum(self, axis: Any = None, dtype: Any = None, **options: Any) -> Any:  # type: ignore[override]  # two of many
        return super().sum(axis, np.uint16 if dtype is None and axis == -1 else dtype, **options)


def _separate_pixels(
    segmented: Sequence[Segmented], place: dict[int, int], shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    # A segment's pixels lie together: where it is not, nothing is written, and no memory is taken.
    pixels = np.moveaxis(np.zeros((len(segmented), *shape), dtype=np.uint8), 0, -1)
    for item in segmented:
        for position, rows, columns, mask in _planes(item.segment, place):
            pixels[position, rows, columns, item.number - 1] = mask
    return pixels.view(_Separate)


def _planes(segment: Segment, place: dict[int, int]) -> list[tuple[int, slice, slice, NDArray[np.bool_]]]:
    first, row, column = segment.origin
    height, width = segment.mask.shape[1:]
    rows, columns = slice(row, row + height), slice(column, column + width)
    filled = [(depth, plane) for depth, plane in enumerate(segment.mask) if plane.any()]
    return [(place[first + depth], rows, columns, plane) for depth, plane in filled]


def frames_on_source(
    context: ResultContext,
    slices: list[int],
    pixels: NDArray[np.unsignedinteger],
    corner: tuple[int, int] = (0, 0),
) -> dict[str, object]:
    """How the pixels lie on the source: frame by frame where they can, else by their own planes.

    corner: (row, column) of the first pixel, where they are a part of the slices.
    """
    images = source_images(context)
    volume = context.volume
    by_uid = {str(image.SOPInstanceUID): image for image in images}
    uids = [volume.slice_sop_instance_uids[index] for index in slices]
    chosen = [by_uid[uid] for uid in dict.fromkeys(uids) if uid in by_uid] or images[:1]
    for image in chosen:
        # Type 1 in what is made from it; some exports have no frame of reference at all.
        image.FrameOfReferenceUID = volume.frame_of_reference_uid or context.uid("frame of reference")
    one_each = len(chosen) == len(slices) and "NumberOfFrames" not in chosen[0]
    is_whole = pixels.shape[1:3] == volume.voxels.shape[1:]
    if one_each and is_whole and _on_source(volume, slices, chosen):
        return {"source_images": chosen, "pixel_array": pixels, "pixel_measures": _measures(volume)}
    return {
        "source_images": chosen,
        "pixel_array": pixels,
        "pixel_measures": _measures(volume),
        "plane_orientation": PlaneOrientationSequence("PATIENT", _orientation(volume)),
        "plane_positions": [
            PlanePositionSequence("PATIENT", _position(volume, (index, *corner))) for index in slices
        ],
    }


def _on_source(volume: Volume, slices: list[int], images: list[Dataset]) -> bool:
    """Whether the volume's slices lie where their images lie (false after tilt correction)."""
    for index, image in zip(slices, images, strict=True):
        try:
            geometry = slice_geometry(image)
        except SliceGeometryUnknown:
            return False
        last = np.asarray([index, volume.voxels.shape[1] - 1, volume.voxels.shape[2] - 1], dtype=np.float64)
        corners = volume.to_lps_mm(np.stack([np.asarray([index, 0.0, 0.0]), last]))
        end = geometry.origin + geometry.column * geometry.spacing[0] * last[1]
        end = end + geometry.row * geometry.spacing[1] * last[2]
        if np.abs(corners - np.stack([geometry.origin, end])).max() > _SAME_PLACE_MM * 10:
            return False
    return True


def _orientation(volume: Volume) -> list[float]:
    columns = volume.affine_mm[:3, 2] / volume.spacing_mm[2]
    rows = volume.affine_mm[:3, 1] / volume.spacing_mm[1]
    return [round(float(value), 9) + 0.0 for value in (*columns, *rows)]


def _position(volume: Volume, index: tuple[int, int, int]) -> list[float]:
    point = volume.to_lps_mm(np.asarray(index, dtype=np.float64))
    return [round(float(value), 6) + 0.0 for value in point]


def _measures(volume: Volume) -> PixelMeasuresSequence:
    between, rows, columns = (round(length, 6) for length in volume.spacing_mm)
    thickness = volume.slice_thickness_mm or between
    return PixelMeasuresSequence([rows, columns], round(thickness, 6), between)


def _description(item: Segmented, context: ResultContext) -> SegmentDescription:
    algorithm = AlgorithmIdentificationSequence(
        name=context.model_name[:64],
        family=result_codes.ARTIFICIAL_INTELLIGENCE,
        version=context.model_version[:64],
        source=context.publisher[:64],
        parameters={"weights_sha256": context.weights_sha256},
    )
    return SegmentDescription(
        segment_number=item.number,
        segment_label=item.label,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        **_meaning(item, context),
    )


def _meaning(item: Segmented, context: ResultContext) -> dict[str, Any]:
    """What the segment shows, and under which identifiers the SR speaks of it."""
    if isinstance(item, SegmentedStructure):
        return {
            "segmented_property_category": result_codes.ANATOMICAL_STRUCTURE,
            "segmented_property_type": result_codes.as_dicom(item.structure.code),
            "tracking_uid": item.structure.tracking_uid,
            "tracking_id": context.structure_tracking_id(item.structure),
        }
    return {
        "segmented_property_category": result_codes.ABNORMAL_STRUCTURE,
        "segmented_property_type": result_codes.property_type(item.finding.label),
        "tracking_uid": item.finding.tracking_uid,
        "tracking_id": context.tracking_id(item.finding),
        "anatomic_regions": [result_codes.LUNG],
    }


def _complete(result: Dataset, context: ResultContext) -> None:
    stamp(result, context, "SEG")
    result.BodyPartExamined = "LUNG"
    dimension_uid = context.uid("SEG dimensions")
    for item in (*result.DimensionOrganizationSequence, *result.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimension_uid
