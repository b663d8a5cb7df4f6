"""Results for the tests of encoding and reporting: synthetic and real sources, findings of known shape."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from dicom_gateway.result_context import ResultContext
from models.ops.growth import Sized, growth
from study.findings import Finding, Segment
from study.nodule import Comparison, NoduleFeatures, NoduleKind
from study.volume import Volume

CREATED_AT = datetime(2025, 3, 4, 5, 6, 7, 890000, tzinfo=timezone(timedelta(hours=8)))
CLEARANCE = "Not cleared for clinical use. Trained on synthetic data."
INTENDED_USE = "Detection of pulmonary nodules in chest CT of adults, for research."


def synthetic_headers(slice_count: int = 12, size: int = 64, **attributes: Any) -> list[Dataset]:
    """Headers of an axial CT series, 2 mm slices of 1 mm pixels; `attributes` are added to each."""
    headers = []
    for index in range(slice_count):
        header = Dataset()
        header.SOPClassUID = CTImageStorage
        header.SOPInstanceUID = f"1.2.3.4.{index + 1}"
        header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.3", "1.2.3.4"
        header.FrameOfReferenceUID = "1.2.3.5"
        header.Modality = "CT"
        header.Rows = header.Columns = size
        header.PixelSpacing = [1.0, 1.0]
        header.SliceThickness = 2.0
        header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        header.ImagePositionPatient = [-32.0, -32.0, 2.0 * index]
        header.PatientName, header.PatientID = "Doe^Jane", "P1"
        header.PatientBirthDate, header.PatientSex = "19600102", "F"
        header.StudyDate, header.StudyTime = "20250303", "101112"
        header.AccessionNumber, header.StudyID, header.ReferringPhysicianName = "A1", "S1", "Roe^Richard"
        for keyword, value in attributes.items():
            setattr(header, keyword, value)
        headers.append(header)
    return headers


def read_source(folder: Path, *, pixels: bool = False) -> tuple[list[Dataset], Volume]:
    """Headers of a real axial series in slice order and its volume; air everywhere without `pixels`."""
    datasets = [pydicom.dcmread(path, stop_before_pixels=not pixels) for path in folder.glob("*.dcm")]
    datasets.sort(key=lambda dataset: float(dataset.ImagePositionPatient[2]))
    voxels = None
    if pixels:
        planes = [
            dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
            for dataset in datasets
        ]
        voxels = np.stack(planes).astype(np.int16)
        for dataset in datasets:
            del dataset.PixelData
    return datasets, volume_of(datasets, voxels)


def volume_of(headers: list[Dataset], voxels: np.ndarray | None = None) -> Volume:
    """The volume that single-frame headers in slice order describe."""
    first, last, count = headers[0], headers[-1], len(headers)
    origin = np.asarray(first.ImagePositionPatient, dtype=float)
    orientation = np.asarray(first.ImageOrientationPatient, dtype=float)
    affine = np.eye(4)
    affine[:3, 0] = (np.asarray(last.ImagePositionPatient, dtype=float) - origin) / max(count - 1, 1)
    affine[:3, 1] = orientation[3:] * float(first.PixelSpacing[0])
    affine[:3, 2] = orientation[:3] * float(first.PixelSpacing[1])
    affine[:3, 3] = origin
    if voxels is None:
        voxels = np.broadcast_to(np.int16(-850), (count, int(first.Rows), int(first.Columns)))
    return Volume(
        voxels=voxels,
        affine_mm=affine,
        slice_sop_instance_uids=tuple(str(header.SOPInstanceUID) for header in headers),
        slice_frame_numbers=(1,) * count,
        series_instance_uid=str(first.SeriesInstanceUID),
        frame_of_reference_uid=str(first.get("FrameOfReferenceUID") or ""),
        slice_thickness_mm=float(first.SliceThickness),
    )


def ball(
    volume: Volume,
    center_lps_mm: Any,
    diameter_mm: float,
    *,
    id: int = 1,
    score: float = 0.9,
    segment: bool = True,
) -> Finding:
    """A ball as a finding, 0.8 times as wide as it is long by its word; the mask is the whole ball."""
    index = volume.to_index(np.asarray(center_lps_mm, dtype=float))
    spacing, radius = np.asarray(volume.spacing_mm), diameter_mm / 2
    low = np.maximum(np.floor(index - radius / spacing - 1).astype(int), 0)
    high = np.minimum(np.ceil(index + radius / spacing + 2).astype(int), volume.voxels.shape)
    ranges = [np.arange(start, stop) for start, stop in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1)
    mask = (((grid - index) * spacing) ** 2).sum(axis=-1) <= radius**2
    box = tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))
    slice_index = int(np.rint(index[0]))
    x, y, z = (float(value) for value in volume.to_lps_mm(np.asarray([slice_index, index[1], index[2]])))
    short = 0.8 * radius
    return Finding(
        id=id,
        label="nodule",
        score=score,
        center_lps_mm=(x, y, z),
        bbox_lps_mm=(x - radius, y - radius, z - radius, x + radius, y + radius, z + radius),
        long_axis_mm=diameter_mm,
        short_axis_mm=0.8 * diameter_mm,
        mean_diameter_mm=0.9 * diameter_mm,
        long_axis_lps_mm=((x - radius, y, z), (x + radius, y, z)),
        short_axis_lps_mm=((x, y - short, z), (x, y + short, z)),
        volume_mm3=float(mask.sum() * spacing.prod()),
        mean_hu=float(volume.voxels[box][mask].mean()),
        slice_index=slice_index,
        slice_sop_instance_uid=volume.slice_sop_instance_uids[slice_index],
        slice_frame_number=volume.slice_frame_numbers[slice_index],
        tracking_uid=f"2.25.{1000 + id}",
        segment=Segment(mask, tuple(int(value) for value in low)) if segment else None,
    )


def result_context(
    headers: list[Dataset], volume: Volume, findings: list[Finding] | tuple[Finding, ...] = (), **changes: Any
) -> ResultContext:
    values: dict[str, Any] = {
        "uid_seed": "study-1",
        "source_headers": headers,
        "image": volume,
        "findings": tuple(findings),
        "model_name": "lung_nodule_ct",
        "model_version": "0.1.0",
        "weights_sha256": "ab" * 32,
        "publisher": "radmeter project",
        "clearance_status": CLEARANCE,
        "intended_use": INTENDED_USE,
        "created_at": CREATED_AT,
        "operating_threshold": 0.5,
    }
    return ResultContext(**{**values, **changes})


def synthetic_result(**changes: Any) -> ResultContext:
    """Two findings on a synthetic series: one with a segment, one without."""
    headers = synthetic_headers()
    volume = volume_of(headers)
    findings = [
        ball(volume, (-10.0, 4.0, 10.0), 9.0, id=1, score=0.92),
        ball(volume, (12.0, -6.0, 14.0), 6.0, id=2, score=0.61, segment=False),
    ]
    return result_context(headers, volume, **{"findings": findings, **changes})


def characterised(finding: Finding, **comparison: Any) -> Finding:
    """The finding as a part-solid nodule of the right upper lobe; `comparison` says what it was in the prior."""
    features = NoduleFeatures(NoduleKind.PART_SOLID, 4.2, 5.1, "right upper lobe", 7.3)
    then = Comparison(**{"study_date": "20240901", "days": 183, **comparison}) if comparison else None
    return replace(finding, nodule=features, comparison=then)


def grown(finding: Finding, factor: float = 2.0) -> Finding:
    """The nodule whose volume is `factor` times that of the prior, 183 days before."""
    then = finding.volume_mm3 / factor
    kind = NoduleKind.PART_SOLID
    change = growth(Sized(finding.volume_mm3, 1.0, kind), Sized(then, 1.0, kind), 183)
    return characterised(finding, state="matched", volume_mm3=then, mean_diameter_mm=5.0, growth=change)
