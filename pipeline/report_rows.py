"""From findings, statements, structures and series to the rows of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from models.manifest import Manifest
from pipeline.operating_point import OperatingPoint, operating_point
from pipeline.report_prior import prior_row
from pipeline.report_view import (
    FindingRow,
    RadiographRead,
    ReportModel,
    SeriesRead,
    StatementRow,
    StructureRow,
)
from pipeline.structure_images import colour_of
from study.answer import Classification, Structure
from study.findings import Finding
from study.nodule import NoduleFeatures
from study.radiograph import Radiograph
from study.study import Instance, Series
from study.volume import Volume

# Noise is measured as a reader would: the scatter in small even places of soft tissue, on a few slices.
_NOISE_SLICES, _NOISE_WINDOW, _NOISE_PLACES_MIN = 5, 7, 200
_SOFT_TISSUE_HU, _EVEN_HU = (0.0, 100.0), 60.0


def model_row(manifest: Manifest | None) -> ReportModel | None:
    if manifest is None:
        return None
    return ReportModel(
        name=manifest.name,
        version=manifest.version,
        title=manifest.title,
        publisher=manifest.publisher,
        weights_sha256=manifest.weights_sha256,
        clearance_status=manifest.clearance_status,
        intended_use=manifest.intended_use,
        operating_threshold=manifest.operating_threshold,
        operating_point=operating_point(manifest),
    )


def series_row(series: Series | None, volume: Volume) -> SeriesRead:
    return SeriesRead(
        description=series.description if series else "",
        number=series.series_number if series else None,
        slice_count=len(volume.slice_sop_instance_uids),
        slice_thickness_mm=volume.slice_thickness_mm,
        slice_spacing_mm=volume.spacing_mm[0],
        kernel=series.convolution_kernel if series else "",
        manufacturer=series.manufacturer if series else "",
        series_instance_uid=volume.series_instance_uid,
        noise_hu=noise_hu(volume),
    )


def noise_hu(volume: Volume) -> float | None:
    """Standard deviation in even soft tissue of the middle slices; None where too little of it is seen."""
    middle, found = len(volume.voxels) // 2, []
    first = max(0, middle - _NOISE_SLICES // 2)
    for pixels in volume.voxels[first : first + _NOISE_SLICES]:
        values = pixels.astype(np.float64)
        from scipy import ndimage  # the portal, which only reads, does without

        mean = ndimage.uniform_filter(values, _NOISE_WINDOW)
        scatter = np.sqrt(np.maximum(ndimage.uniform_filter(values**2, _NOISE_WINDOW) - mean**2, 0.0))
        even = (mean > _SOFT_TISSUE_HU[0]) & (mean < _SOFT_TISSUE_HU[1]) & (scatter < _EVEN_HU)
        found.append(scatter[even])
    places = np.concatenate(found) if found else np.empty(0)
    # The lower quarter: places with an edge of an organ in them scatter more.
    return float(np.quantile(places, 0.25)) if len(places) >= _NOISE_PLACES_MIN else None


def radiograph_row(series: Series | None, radiograph: Radiograph) -> RadiographRead:
    return RadiographRead(
        description=series.description if series else "",
        number=series.series_number if series else None,
        view_position=radiograph.view_position,
        rows=radiograph.pixels.shape[0],
        columns=radiograph.pixels.shape[1],
        bits=radiograph.bits,
        spacing_mm=radiograph.spacing_mm,
        manufacturer=series.manufacturer if series else "",
        series_instance_uid=radiograph.series_instance_uid,
        sop_instance_uid=radiograph.sop_instance_uid,
    )


def statement_rows(
    statements: Sequence[Classification], point: OperatingPoint | None
) -> Iterator[StatementRow]:
    for number, one in enumerate(statements, start=1):
        measured = point.label(one.label, one.threshold) if point is not None else None
        yield StatementRow(
            number,
            one.label,
            one.probability,
            one.threshold,
            one.is_positive,
            one.tracking_uid,
            *(measured or (None, None)),
        )


def structure_rows(structures: Sequence[Structure]) -> Iterator[StructureRow]:
    total = sum(one.volume_ml for one in structures)
    for number, one in enumerate(structures, start=1):
        low = one.low_attenuation_share
        yield StructureRow(
            number, one.label, colour_of(number), one.volume_ml, 100 * one.volume_ml / total, one.mean_hu,
            None if low is None else 100 * low,
        )  # fmt: skip


def finding_row(
    finding: Finding, series: Series | None, category: str | None, point: OperatingPoint | None
) -> FindingRow:
    instances: tuple[Instance, ...] = series.instances if series else ()
    source = next((one for one in instances if one.sop_instance_uid == finding.slice_sop_instance_uid), None)
    number = source.instance_number if source and source.number_of_frames <= 1 else finding.slice_frame_number
    nodule = finding.nodule or NoduleFeatures()
    band = point.band_of(finding.score) if point is not None else None
    return FindingRow(
        id=finding.id,
        label=finding.label,
        score=finding.score,
        long_axis_mm=finding.long_axis_mm,
        short_axis_mm=finding.short_axis_mm,
        mean_diameter_mm=finding.mean_diameter_mm,
        volume_mm3=finding.volume_mm3,
        image_number=number if source and number is not None else finding.slice_index + 1,
        slice_sop_instance_uid=finding.slice_sop_instance_uid,
        lobe=nodule.lobe,
        kind=nodule.kind.value if nodule.kind is not None else None,
        prior=prior_row(finding),
        category=category,
        solid_part_mm=nodule.solid_part_mm,
        pleura_distance_mm=nodule.pleura_distance_mm,
        tracking_uid=finding.tracking_uid,
        mean_hu=finding.mean_hu,
        height_mm=finding.bbox_lps_mm[5] - finding.bbox_lps_mm[2],
        right_share=band.right_share if band else None,
        right_of=band.count if band else 0,
    )
