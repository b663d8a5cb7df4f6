"""Measurement groups of one finding: TID 1410 on a slice, TID 1411 on its segment (PS3.16)."""

from __future__ import annotations

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    ReferencedSegment,
    SourceImageForRegion,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from dicom_gateway import nodule_items, result_codes
from dicom_gateway.encode_errors import FindingSliceUnknown
from dicom_gateway.result_context import ResultContext
from dicom_gateway.slice_geometry import outline, slice_geometry
from study.findings import Finding

_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
_ELLIPSE_POINTS = 49


def planar_group(
    context: ResultContext, finding: Finding, algorithm: AlgorithmIdentification, *, has_segment: bool
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """TID 1410: the finding drawn on its measured slice, with what was measured there."""
    header = measured_header(context, finding)
    measurements = _planar_measurements(finding)
    if not has_segment:
        measurements += _volumetric_measurements(finding)
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(finding.tracking_uid, context.tracking_id(finding)),
        referenced_region=_region(context, header, finding),
        finding_type=result_codes.finding_type(finding.label),
        finding_sites=[nodule_items.finding_site(finding)],
        algorithm_id=algorithm,
        measurements=measurements,
        qualitative_evaluations=nodule_items.evaluations(finding) or None,
    )


def volumetric_group(
    context: ResultContext, finding: Finding, algorithm: AlgorithmIdentification, segment_number: int
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    """TID 1411: the segment of the finding, with what was measured on its voxels."""
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(finding.tracking_uid, context.tracking_id(finding)),
        referenced_segment=ReferencedSegment(
            sop_class_uid=_SEGMENTATION_STORAGE,
            sop_instance_uid=context.uid("SEG instance"),
            segment_number=segment_number,
            source_series=SourceSeriesForSegmentation(context.source_series_instance_uid),
        ),
        finding_type=result_codes.finding_type(finding.label),
        finding_sites=[nodule_items.finding_site(finding)],
        algorithm_id=algorithm,
        measurements=_volumetric_measurements(finding),
    )


def measured_header(context: ResultContext, finding: Finding) -> Dataset:
    """The header of the source instance that the finding was measured on."""
    for header in context.source_headers:
        if str(header.SOPInstanceUID) == finding.slice_sop_instance_uid:
            return header
    raise FindingSliceUnknown(finding.id)


def _planar_measurements(finding: Finding) -> list[Measurement]:
    # TID 1419 has no place for the end points of an axis, so the lengths stand without them.
    return [
        _millimetres(result_codes.LONG_AXIS, finding.long_axis_mm),
        _millimetres(result_codes.SHORT_AXIS, finding.short_axis_mm),
        _millimetres(result_codes.DIAMETER, finding.mean_diameter_mm, derivation=result_codes.MEAN),
        *nodule_items.planar_measurements(finding),
        Measurement(
            name=result_codes.CERTAINTY_OF_FINDING,
            value=round(100 * finding.score, 1),
            unit=result_codes.PERCENT,
        ),
    ]


def _volumetric_measurements(finding: Finding) -> list[Measurement]:
    return [
        Measurement(
            name=result_codes.VOLUME, value=round(finding.volume_mm3, 1), unit=result_codes.CUBIC_MILLIMETRE
        ),
        Measurement(
            name=result_codes.ATTENUATION,
            value=round(finding.mean_hu, 1),
            unit=result_codes.HOUNSFIELD_UNIT,
            derivation=result_codes.MEAN,
        ),
        *nodule_items.volumetric_measurements(finding),
    ]


def _millimetres(name: Code, length_mm: float, derivation: Code | None = None) -> Measurement:
    return Measurement(
        name=name, value=round(length_mm, 2), unit=result_codes.MILLIMETRE, derivation=derivation
    )


def _region(context: ResultContext, header: Dataset, finding: Finding) -> ImageRegion:
    graphic_type, points = _shape(context, header, finding)
    return ImageRegion(
        graphic_type=graphic_type,
        graphic_data=_on_image(points, header),
        source_image=SourceImageForRegion(*_image(header, finding)),
    )


def _shape(
    context: ResultContext, header: Dataset, finding: Finding
) -> tuple[GraphicTypeValues, NDArray[np.float64]]:
    """The outline of the segment on the measured slice; without one, the ellipse over the axes."""
    geometry = slice_geometry(header, finding.slice_frame_number)
    segment = finding.segment
    if segment is not None:
        depth = finding.slice_index - segment.origin[0]
        if 0 <= depth < segment.mask.shape[0] and segment.mask[depth].any():
            in_plane = outline(segment.mask[depth]) + np.asarray(segment.origin[1:])
            index = np.insert(in_plane, 0, finding.slice_index, axis=1)
            return GraphicTypeValues.POLYLINE, geometry.to_image(context.volume.to_lps_mm(index))
    return GraphicTypeValues.ELLIPSE, geometry.to_image(_ellipse_ends(finding))


def finding_outline(context: ResultContext, header: Dataset, finding: Finding) -> NDArray[np.float64]:
    """The drawn shape of a finding as a closed line of (n, 2) points (column, row) on its image."""
    graphic_type, points = _shape(context, header, finding)
    if graphic_type is GraphicTypeValues.ELLIPSE:
        middle, angle = points.mean(axis=0), np.linspace(0.0, 2.0 * np.pi, _ELLIPSE_POINTS)[:, np.newaxis]
        points = middle + np.cos(angle) * (points[1] - middle) + np.sin(angle) * (points[3] - middle)
        points[-1] = points[0]
    return _on_image(points, header)


def _ellipse_ends(finding: Finding) -> NDArray[np.float64]:
    """Major then minor axis end points, patient LPS in mm (PS3.3 C.18.6.1.2 asks for two axes that cross
    at their middles and at right angles; measured axes need not, so the short one is moved there)."""
    long_axis = np.asarray(finding.long_axis_lps_mm, dtype=np.float64)
    short_axis = np.asarray(finding.short_axis_lps_mm, dtype=np.float64)
    return np.concatenate([long_axis, short_axis - short_axis.mean(axis=0) + long_axis.mean(axis=0)])


def _on_image(points: NDArray[np.float64], header: Dataset) -> NDArray[np.float64]:
    """Points kept within the image, to a thousandth of a pixel."""
    limit = np.asarray([float(header.Columns), float(header.Rows)])
    return np.clip(points, 0.0, limit).round(3) + 0.0


def _image(header: Dataset, finding: Finding) -> tuple[str, str, list[int] | None]:
    frames = [finding.slice_frame_number] if int(header.get("NumberOfFrames") or 1) > 1 else None
    return str(header.SOPClassUID), str(header.SOPInstanceUID), frames
