"""Results on an enhanced multi-frame source: one instance, its frames told apart."""

from __future__ import annotations

import io
import subprocess
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage

from dicom_gateway.encode_pdf import encode_pdf
from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from dicom_gateway.result_context import ResultContext
from tests.result_builders import ball, result_context, synthetic_headers, volume_of

FRAME_COUNT = 12


def item(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def enhanced_header() -> Dataset:
    """The synthetic series as one enhanced instance whose frames run from head to feet."""
    singles = synthetic_headers(FRAME_COUNT)
    header = Dataset()
    header.update(
        {tag: element for tag, element in singles[0].items() if tag.group != 0x0020 or tag.element < 0x0030}
    )
    for keyword in ("PixelSpacing", "SliceThickness"):
        del header[keyword]
    header.SOPClassUID, header.SOPInstanceUID = EnhancedCTImageStorage, "1.2.3.4.77"
    header.FrameOfReferenceUID, header.NumberOfFrames = "1.2.3.5", FRAME_COUNT
    measures = item(PixelSpacing=[1.0, 1.0], SliceThickness=2.0)
    orientation = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    header.SharedFunctionalGroupsSequence = [
        item(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[orientation])
    ]
    header.PerFrameFunctionalGroupsSequence = [
        item(PlanePositionSequence=[item(ImagePositionPatient=single.ImagePositionPatient)])
        for single in reversed(singles)
    ]
    return header


@pytest.fixture
def context() -> ResultContext:
    header = enhanced_header()
    single = volume_of(synthetic_headers(FRAME_COUNT))
    volume = replace(
        single,
        slice_sop_instance_uids=("1.2.3.4.77",) * FRAME_COUNT,
        slice_frame_numbers=tuple(range(FRAME_COUNT, 0, -1)),
    )
    findings = [ball(volume, (-10, 4, 10), 9.0, id=1), ball(volume, (12, -6, 14), 6.0, id=2, segment=False)]
    return result_context([header], volume, findings)


def written(dataset: Dataset | None) -> bytes:
    assert dataset is not None
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_the_sr_names_the_frame_of_each_finding(context: ResultContext) -> None:
    report = highdicom.sr.srread(io.BytesIO(written(encode_sr(context)))).content
    for group, finding in zip(report.get_planar_roi_measurement_groups(), context.findings, strict=True):
        reference = group.roi.ContentSequence[0].ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == "1.2.3.4.77"
        assert (
            reference.ReferencedFrameNumber == finding.slice_frame_number == FRAME_COUNT - finding.slice_index
        )
        points = np.asarray(group.roi.value)
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        assert np.allclose(middle, np.asarray(finding.center_lps_mm[:2]) + 32.5, atol=1.0)


def test_the_segment_lies_where_the_mask_lies(context: ResultContext) -> None:
    finding = context.findings[0]
    assert finding.segment is not None
    segmentation = highdicom.seg.segread(io.BytesIO(written(encode_seg(context))))
    volume = segmentation.get_volume(segment_numbers=[1], combine_segments=False)
    found = volume.map_indices_to_reference(np.argwhere(volume.array[..., 0]))
    index = np.argwhere(finding.segment.mask) + np.asarray(finding.segment.origin)
    expected = context.volume.to_lps_mm(index.astype(float))
    assert {tuple(np.round(point, 3)) for point in found} == {tuple(np.round(point, 3)) for point in expected}


def test_the_evidence_names_the_instance_once(context: ResultContext) -> None:
    series = encode_sr(context).CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [len(one.ReferencedSOPSequence) for one in series] == [1, 1]


@pytest.mark.peer
def test_dciodvfy_finds_no_error(context: ResultContext, tmp_path: Path) -> None:
    objects = {"sr": encode_sr(context), "seg": encode_seg(context), "pdf": encode_pdf(context, b"%PDF-1.7")}
    for name, dataset in objects.items():
        path = tmp_path / name
        path.write_bytes(written(dataset))
        completed = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        assert [line for line in completed.stderr.splitlines() if line.startswith("Error")] == []
        assert pydicom.dcmread(path).StudyInstanceUID == "1.2.3"
