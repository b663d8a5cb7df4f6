"""The gate: what is drawn lies on the source: planes of frames, points of regions (PS3.3 C.7.6.16, C.18.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_gateway.check_basis import CheckBasis, CheckedObject
from dicom_gateway.encode_errors import SliceGeometryUnknown
from dicom_gateway.slice_geometry import slice_geometry
from study.radiograph import Radiograph
from study.volume import Volume

# Encoders and scanners round positions; farther apart than this is another place.
_SAME_PLACE_MM = 0.1
_SAME_DIRECTION = 1e-3
_SAME_SPACING = 1e-3
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_POINTS_MIN = {"POINT": 1, "MULTIPOINT": 1, "POLYLINE": 2, "CIRCLE": 2, "ELLIPSE": 4, "INTERPOLATED": 2}


@dataclass(frozen=True)
class Plane:
    """One image plane as twelve numbers: position, row and column direction, spacing of rows and columns; and size."""

    values: NDArray[np.float64]
    size: tuple[int, int]

    def is_same(self, other: Plane) -> bool:
        off = np.abs(self.values - other.values)
        return bool(
            self.size == other.size
            and off[:3].max() <= _SAME_PLACE_MM
            and off[3:9].max() <= _SAME_DIRECTION
            and off[9:].max() <= _SAME_SPACING
        )

    def is_part_of(self, other: Plane) -> bool:
        """Whether it is the other plane, or some of its rows and columns, pixel upon pixel."""
        row, column, spacing = other.values[3:6], other.values[6:9], other.values[9:]
        offset = self.values[:3] - other.values[:3]
        first = np.asarray([offset @ column / spacing[0], offset @ row / spacing[1]]).round()
        shift = np.zeros(len(other.values))
        shift[:3] = first[0] * spacing[0] * column + first[1] * spacing[1] * row
        is_inside = bool((first >= 0).all() and (first + self.size <= other.size).all())
        return is_inside and self.is_same(Plane(other.values + shift, self.size))


def geometry_problems(one: CheckedObject, basis: CheckBasis) -> Iterator[str]:
    """Frames, pixels and drawn points of one object."""
    yield from _pixel_problems(one.dataset)
    if one.kind in ("SEG", "PM"):
        yield from dict.fromkeys(_frame_problems(one, basis))
    yield from dict.fromkeys(_drawn_problems(one, basis))


def _pixel_problems(dataset: Dataset) -> Iterator[str]:
    """As many bytes of pixels as its matrix has, and as many frames as it describes."""
    keyword = next((name for name in _PIXELS if name in dataset), None)
    if keyword is None:
        return
    bits = int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0)
    frames = int(dataset.get("NumberOfFrames") or 1)
    bits *= frames * int(dataset.get("SamplesPerPixel") or 1) * int(dataset.get("BitsAllocated") or 0)
    size = -(-bits // 8)
    if len(dataset[keyword].value) != size + size % 2:
        yield "its pixels are not as many as its matrix and frames say"
    described = dataset.get("PerFrameFunctionalGroupsSequence")
    if described is not None and len(described) != frames:
        yield "it does not describe each of its frames"


def _frame_problems(one: CheckedObject, basis: CheckBasis) -> Iterator[str]:
    """Each frame lies on the image that it is derived from; where the volume was resampled, on a plane of that.

    A map may be cut to a part of it.
    """
    dataset = one.dataset
    lies_on = Plane.is_part_of if one.kind == "PM" else Plane.is_same
    expected = basis.source.get("FrameOfReferenceUID")
    if expected and dataset.get("FrameOfReferenceUID") != expected:
        yield "its frame of reference is not that of the source"
    resampled = _resampled_planes(basis)
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    for number, group in enumerate(groups, start=1):
        origins = list(_derived_from(group))
        if not origins:
            yield "a frame does not say which image it is derived from"
        if not all(uid in basis.by_uid for uid, _ in origins):
            yield "a frame is derived from an image that the model did not read"
            continue
        planes = (_plane(basis.by_uid[uid], frame) for uid, frame in origins)
        known = resampled or [plane for plane in planes if plane is not None]
        if known:  # a radiograph lies nowhere in the patient
            here = _plane(dataset, number)
            if here is None or not any(lies_on(here, plane) for plane in known):
                yield "a frame does not lie on its source image"
        elif not _covers_source(dataset, basis):
            yield "its matrix does not cover the source"


def _covers_source(dataset: Dataset, basis: CheckBasis) -> bool:
    """Whether a map over an image that lies nowhere, coarser or not, has the same width and height in mm."""
    groups = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    measures = groups[0].get("PixelMeasuresSequence") or [Dataset()]
    own = np.asarray([float(value) for value in measures[0].get("PixelSpacing") or (0, 0)])
    image = basis.image
    theirs = (
        image.spacing_mm if isinstance(image, Radiograph) and image.spacing_mm is not None else (1.0, 1.0)
    )
    extent, expected = own * _size(dataset), np.asarray(theirs) * _size(basis.source)
    return bool(np.abs(extent - expected).max() <= 0.01 * expected.max())


def _derived_from(group: Dataset) -> Iterator[tuple[str, int]]:
    for derivation in group.get("DerivationImageSequence") or ():
        for source in derivation.get("SourceImageSequence") or ():
            frames = source.get("ReferencedFrameNumber")
            for frame in frames if hasattr(frames, "__iter__") else [frames]:
                yield str(source.get("ReferencedSOPInstanceUID") or ""), int(frame or 1)


def _plane(header: Dataset, frame: int) -> Plane | None:
    """Where an image or a frame lies; None where it does not say."""
    try:
        geometry = slice_geometry(header, frame)
    except (SliceGeometryUnknown, IndexError):
        return None
    parts = (geometry.origin, geometry.row, geometry.column, np.asarray(geometry.spacing))
    return Plane(np.concatenate(parts), _size(header))


def _size(header: Dataset) -> tuple[int, int]:
    return int(header.get("Rows") or 0), int(header.get("Columns") or 0)


def _resampled_planes(basis: CheckBasis) -> list[Plane]:
    """The planes of the volume where they are not those of its images (tilt correction), else none."""
    volume = basis.image
    if not isinstance(volume, Volume):
        return []
    depth, rows, columns = volume.voxels.shape
    _, row_mm, column_mm = volume.spacing_mm
    directions = [volume.affine_mm[:3, 2] / column_mm, volume.affine_mm[:3, 1] / row_mm]
    planes = [
        Plane(
            np.concatenate(
                [volume.to_lps_mm(np.asarray([index, 0.0, 0.0])), *directions, [row_mm, column_mm]]
            ),
            (rows, columns),
        )
        for index in range(depth)
    ]
    read = zip(planes, volume.slice_sop_instance_uids, volume.slice_frame_numbers, strict=True)
    for plane, uid, frame in read:
        source = _plane(basis.by_uid[uid], frame) if uid in basis.by_uid else None
        if source is None or not plane.is_same(source):
            return planes
    return []


def _drawn_problems(one: CheckedObject, basis: CheckBasis) -> Iterator[str]:
    for _, item in one.content_items():
        if item.ValueType == "SCOORD":
            images = [
                image
                for child in item.get("ContentSequence") or ()
                for image in child.get("ReferencedSOPSequence") or ()
            ]
            yield from _points_problems(item, images, basis)
        frame_of_reference = item.get(
            "ReferencedFrameOfReferenceUID", basis.source.get("FrameOfReferenceUID")
        )
        if frame_of_reference != basis.source.get("FrameOfReferenceUID"):
            yield "a region lies in another frame of reference than the source"
    for annotation in one.dataset.get("GraphicAnnotationSequence") or ():
        images = list(
            annotation.get("ReferencedImageSequence") or one.dataset.get("ReferencedImageSequence") or ()
        )
        for graphic in annotation.get("GraphicObjectSequence") or ():
            if graphic.get("GraphicAnnotationUnits") == "PIXEL":
                yield from _points_problems(graphic, images, basis)


def _points_problems(drawn: Dataset, images: Any, basis: CheckBasis) -> Iterator[str]:
    """Whether the points of a graphic lie inside every image that it is drawn on."""
    points = np.asarray([float(value) for value in drawn.get("GraphicData") or ()]).reshape(-1)
    wanted = _POINTS_MIN.get(str(drawn.get("GraphicType")), 1)
    if len(points) % 2 or len(points) < 2 * wanted or not np.isfinite(points).all():
        yield "a region has too few points, or points that are none"
        return
    uids = [str(image.get("ReferencedSOPInstanceUID") or "") for image in images]
    headers = [basis.by_uid[uid] for uid in uids if uid in basis.by_uid]
    if not headers:
        yield "a region is drawn on no image that the model read"
    for rows, columns in map(_size, headers):
        pairs = points.reshape(-1, 2)
        if pairs.min() < 0 or pairs[:, 0].max() > columns or pairs[:, 1].max() > rows:
            yield "a region lies outside its image"
