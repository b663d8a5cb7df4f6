"""The Segmentation of a result: the masks come back where they were."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from dicom_gateway.encode_errors import SegmentOutsideVolume
from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.result_context import ResultContext
from study.findings import Finding, Segment
from study.volume import Volume
from tests.result_builders import ball, result_context, synthetic_headers, synthetic_result, volume_of

GOLDEN = Path(__file__).resolve().parent.parent / "golden"


def encoded(context: ResultContext) -> bytes:
    dataset = encode_seg(context)
    assert dataset is not None
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def masks_in_patient_space(data: bytes, number: int) -> set[tuple[float, ...]]:
    """Centres of the voxels of one segment, patient LPS in mm, read back with highdicom."""
    segmentation = highdicom.seg.segread(io.BytesIO(data))
    volume = segmentation.get_volume(segment_numbers=[number], combine_segments=False)
    index = np.argwhere(volume.array[..., 0])
    return {tuple(np.round(point, 3)) for point in volume.map_indices_to_reference(index)}


def expected_points(finding: Finding, volume: Volume) -> set[tuple[float, ...]]:
    assert finding.segment is not None
    index = np.argwhere(finding.segment.mask) + np.asarray(finding.segment.origin)
    return {tuple(np.round(point, 3)) for point in volume.to_lps_mm(index.astype(float))}


class TestPixels:
    def test_the_segments_come_back_as_the_masks_at_the_same_place(self) -> None:
        headers = synthetic_headers()
        volume = volume_of(headers)
        findings = [ball(volume, (-10, 4, 10), 9.0, id=1), ball(volume, (12, -6, 14), 7.0, id=2)]
        data = encoded(result_context(headers, volume, findings))
        for number, finding in enumerate(findings, start=1):
            assert masks_in_patient_space(data, number) == expected_points(finding, volume)

    def test_overlapping_segments_both_keep_their_voxels(self) -> None:
        headers = synthetic_headers()
        volume = volume_of(headers)
        findings = [ball(volume, (0, 0, 10), 9.0, id=1), ball(volume, (3, 0, 10), 9.0, id=2)]
        data = encoded(result_context(headers, volume, findings))
        for number, finding in enumerate(findings, start=1):
            assert masks_in_patient_space(data, number) == expected_points(finding, volume)

    def test_a_volume_that_was_resampled_lies_by_its_own_planes(self) -> None:
        headers = synthetic_headers()
        volume = volume_of(headers)
        affine = volume.affine_mm.copy()
        affine[:3, 3] += (0.0, 5.0, 0.0)
        moved = replace(volume, affine_mm=affine)
        finding = ball(moved, (0, 5, 10), 9.0)
        data = encoded(result_context(headers, moved, [finding]))
        assert masks_in_patient_space(data, 1) == expected_points(finding, moved)

    def test_an_oblique_series_keeps_its_geometry(self) -> None:
        tilt = np.deg2rad(20.0)
        row, column = np.array([1.0, 0, 0]), np.array([0, np.cos(tilt), np.sin(tilt)])
        normal = np.cross(row, column)
        headers = synthetic_headers()
        for index, header in enumerate(headers):
            header.ImageOrientationPatient = [*row, *column]
            header.ImagePositionPatient = [*(2.0 * index * normal - 32 * row - 32 * column)]
        volume = volume_of(headers)
        finding = ball(volume, volume.to_lps_mm(np.array([6.0, 30.0, 20.0])), 9.0)
        data = encoded(result_context(headers, volume, [finding]))
        assert masks_in_patient_space(data, 1) == expected_points(finding, volume)

    def test_only_slices_with_content_are_encoded(self) -> None:
        context = synthetic_result()
        segment = context.findings[0].segment
        assert segment is not None
        dataset = pydicom.dcmread(io.BytesIO(encoded(context)))
        assert dataset.NumberOfFrames == int(segment.mask.any(axis=(1, 2)).sum())

    def test_twenty_findings_over_three_hundred_slices_take_seconds(self) -> None:
        headers = synthetic_headers(300, 512)
        volume = volume_of(headers)
        findings = [
            ball(volume, (30 * (number % 5), 30 * (number // 5), 15 + 29 * number), 28.0, id=number + 1)
            for number in range(20)
        ]
        started = time.perf_counter()
        encoded(result_context(headers, volume, findings))
        assert time.perf_counter() - started < 15

    def test_a_segment_outside_the_volume_is_refused(self) -> None:
        headers = synthetic_headers()
        volume = volume_of(headers)
        outside = replace(
            ball(volume, (0, 0, 10), 6.0), segment=Segment(np.ones((2, 2, 2), bool), (11, 0, 0))
        )
        with pytest.raises(SegmentOutsideVolume):
            encode_seg(result_context(headers, volume, [outside]))


class TestHeader:
    def test_the_segment_names_its_algorithm_and_its_finding(self) -> None:
        context = synthetic_result()
        dataset = pydicom.dcmread(io.BytesIO(encoded(context)))
        segment = dataset.SegmentSequence[0]
        assert dataset.SegmentationType == "BINARY"
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("lung_nodule_ct", "0.1.0")
        assert algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Artificial Intelligence"
        assert segment.TrackingUID == context.findings[0].tracking_uid
        assert dataset.FrameOfReferenceUID == context.volume.frame_of_reference_uid
        assert dataset.SeriesDescription == "lung_nodule_ct 0.1.0 SEG: AI result, not reviewed, not cleared"

    def test_the_same_result_encodes_to_the_same_bytes(self) -> None:
        assert encoded(synthetic_result()) == encoded(synthetic_result())

    def test_a_source_without_frame_of_reference_gets_one(self) -> None:
        headers = synthetic_headers()
        for header in headers:
            del header.FrameOfReferenceUID
        volume = volume_of(headers)
        dataset = encode_seg(result_context(headers, volume, [ball(volume, (0, 0, 10), 6.0)]))
        assert dataset is not None
        assert dataset.FrameOfReferenceUID.startswith("2.25.")

    def test_the_header_is_the_reviewed_one(self) -> None:
        dataset = pydicom.dcmread(io.BytesIO(encoded(synthetic_result())))
        del dataset.PixelData
        expected = (GOLDEN / "seg_header.txt").read_text(encoding="utf-8")
        assert "\n".join(line.rstrip() for line in str(dataset).splitlines()) + "\n" == expected
