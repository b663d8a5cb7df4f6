"""A later revision names its predecessor and rejects the earlier objects (IHE IOCM); validators read both."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage

from dicom_gateway.encode_pdf import encode_pdf
from dicom_gateway.encode_rejection_note import encode_rejection_note
from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from dicom_gateway.result_context import ResultContext
from tests.result_builders import ball, result_context, synthetic_headers, volume_of


def context(revision: int, predecessors: tuple[Dataset, ...] = ()) -> ResultContext:
    headers = synthetic_headers()
    volume = volume_of(headers)
    middle = volume.to_lps_mm(np.asarray([6.0, 32.0, 32.0]))
    made = result_context(headers, volume, (ball(volume, middle, 8.0, id=1, score=0.9),))
    return dataclasses.replace(
        made, revision=revision, predecessors=predecessors, uid_seed=f"what was read {revision}"
    )


@pytest.fixture(scope="module")
def earlier() -> tuple[Dataset, ...]:
    first = context(1)
    objects = (encode_sr(first), encode_seg(first), encode_pdf(first, b"%PDF-1.7"))
    return tuple(one for one in objects if one is not None)


def test_a_first_revision_rejects_nothing_and_has_no_predecessor() -> None:
    assert encode_rejection_note(context(1)) is None
    assert "PredecessorDocumentsSequence" not in encode_sr(context(1))


def test_the_next_report_names_its_predecessor(earlier: tuple[Dataset, ...]) -> None:
    report = encode_sr(context(2, earlier))
    (study,) = report.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (before,) = series.ReferencedSOPSequence
    assert study.StudyInstanceUID == report.StudyInstanceUID
    assert before.ReferencedSOPInstanceUID == earlier[0].SOPInstanceUID != report.SOPInstanceUID


def test_the_note_rejects_every_earlier_object_for_quality_reasons(earlier: tuple[Dataset, ...]) -> None:
    note = encode_rejection_note(context(2, earlier))
    assert note is not None
    assert note.SOPClassUID == KeyObjectSelectionDocumentStorage
    title = note.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("113001", "DCM")
    named = {
        one.ReferencedSOPInstanceUID
        for series in note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    assert named == {one.SOPInstanceUID for one in earlier}
    assert note.PatientID == earlier[0].PatientID
    assert "not reviewed" in note.SeriesDescription


def test_a_repeated_step_makes_the_same_note(earlier: tuple[Dataset, ...]) -> None:
    first, again = (encode_rejection_note(context(2, earlier)) for _ in range(2))
    assert first == again


@pytest.mark.peer
def test_dciodvfy_finds_no_error(earlier: tuple[Dataset, ...], tmp_path: Path) -> None:
    note, report = encode_rejection_note(context(2, earlier)), encode_sr(context(2, earlier))
    assert note is not None
    for name, made in (("KeyObjectSelectionDocument", note), ("Comprehensive3DSR", report)):
        path = tmp_path / f"{name}.dcm"
        made.save_as(path, enforce_file_format=True)
        done = subprocess.run(
            ["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False
        )
        output = done.stdout + done.stderr
        assert name in output
        assert [line for line in output.splitlines() if line.startswith("Error")] == []
