"""The SR of a radiograph: statements, probabilities and rectangles in the pixels of the image."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_gateway.encode_pdf import encode_pdf
from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from dicom_gateway.source_headers import read_headers
from study.answer import Classification
from tests.dicom_gateway.test_encode_conformance import PIXELMED_JARS, errors_in, output_of
from tests.radiograph_files import radiograph, radiograph_context, statement, write_radiograph

POSITIVE, NEGATIVE = statement(), statement("cardiomegaly", 0.1)
HEADER = radiograph(np.zeros((200, 120), np.uint16))
del HEADER.PixelData


def items(node: Any) -> list[Any]:
    return [node, *(one for child in node.get("ContentSequence", []) for one in items(child))]


def named(document: Dataset, meaning: str) -> list[Any]:
    return [
        one
        for one in items(document)
        if "ConceptNameCodeSequence" in one and one.ConceptNameCodeSequence[0].CodeMeaning == meaning
    ]


class TestContent:
    def test_every_statement_is_detected_or_not_and_its_probability_is_told(self) -> None:
        document = encode_sr(radiograph_context(HEADER, [POSITIVE, NEGATIVE]))
        answers = {
            meaning: named(document, meaning)[-1].ConceptCodeSequence[0].CodeMeaning
            for meaning in ("Pneumothorax", "Cardiomegaly")
        }
        assert answers == {"Pneumothorax": "Detected", "Cardiomegaly": "Not detected"}
        comments = [one.TextValue for one in named(document, "Comment")]
        assert comments[0].startswith("The model found signs of: pneumothorax.")
        assert "cardiomegaly 0.100 (threshold 0.400, negative)" in comments[0]

    def test_a_positive_statement_has_a_closed_rectangle_on_the_image(self) -> None:
        document = encode_sr(radiograph_context(HEADER, [POSITIVE, NEGATIVE]))
        (region,) = named(document, "Image Region")
        assert region.ValueType == "SCOORD"
        assert region.GraphicType == "POLYLINE"
        points = np.asarray(region.GraphicData).reshape(-1, 2)
        assert points.min(axis=0).tolist() == [20.0, 30.0]
        assert points.max(axis=0).tolist() == [90.0, 80.5]
        np.testing.assert_array_equal(points[0], points[-1])
        reference = region.ContentSequence[0].ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == HEADER.SOPInstanceUID
        (certainty,) = named(document, "Certainty of Finding")
        assert certainty.MeasuredValueSequence[0].NumericValue == 90.0

    def test_a_rectangle_stays_within_the_image(self) -> None:
        far = statement(region_px=(100.0, 150.0, 130.0, 240.0))
        (region,) = named(encode_sr(radiograph_context(HEADER, [far])), "Image Region")
        assert np.asarray(region.GraphicData).reshape(-1, 2).max(axis=0).tolist() == [120.0, 200.0]

    def test_a_negative_result_has_no_measurements_and_does_not_exclude_disease(self) -> None:
        document = encode_sr(radiograph_context(HEADER, [NEGATIVE]))
        assert named(document, "Imaging Measurements") == []
        assert "does not exclude disease" in named(document, "Comment")[0].TextValue

    def test_the_procedure_is_imaging_and_no_segmentation_is_made(self) -> None:
        context = radiograph_context(HEADER, [POSITIVE])
        (procedure,) = named(encode_sr(context), "Procedure reported")
        assert procedure.ConceptCodeSequence[0].CodeMeaning == "Imaging procedure"
        assert encode_seg(context) is None


def check(path: Path) -> None:
    """dciodvfy and PixelMed's validator find no error in an SR."""
    jars = ":".join(f"/usr/share/java/{jar}.jar" for jar in PIXELMED_JARS.split())
    assert errors_in(output_of("dciodvfy", path)) == []
    output = output_of(
        "java", "-Xmx2g", "-Xss64m", "-Djdk.xml.xpathTotalOpLimit=0", "-Djdk.xml.xpathExprOpLimit=0",
        "-Djdk.xml.xpathExprGrpLimit=0", "-cp", jars, "com.pixelmed.validate.DicomSRValidator", path,
    )  # fmt: skip
    assert "Root Template Validation Complete" in output
    assert errors_in(output) == []


@pytest.mark.peer
@pytest.mark.parametrize(
    "statements",
    [[POSITIVE, statement("cardiomegaly")], [POSITIVE, NEGATIVE], [NEGATIVE]],
    ids=["positive", "single", "negative"],
)
def test_independent_validators_find_no_error(tmp_path: Path, statements: list[Classification]) -> None:
    source = write_radiograph(tmp_path / "source.dcm", np.zeros((200, 120), np.uint16))
    context = radiograph_context(pydicom.dcmread(source, stop_before_pixels=True), statements)
    sr, pdf = tmp_path / "result.sr", tmp_path / "result.pdf"
    encode_sr(context).save_as(sr, enforce_file_format=True)
    encode_pdf(context, b"%PDF-1.7").save_as(pdf, enforce_file_format=True)
    check(sr)
    assert errors_in(output_of("dciodvfy", pdf)) == []
    rest = [line for line in output_of("dcentvfy", source, sr, pdf).splitlines() if line.strip()]
    assert [line for line in rest if "Element=<AccessionNumber>" not in line] == []
    assert not re.search(r"(?m)^[EF]: ", output_of("dsrdump", sr))


@pytest.mark.peer
@pytest.mark.parametrize("name", ["gdcm-CR-MONO1-10-chest.dcm", "RG1_J2KI"])
def test_results_on_real_radiographs_are_valid(shared_data: Path, tmp_path: Path, name: str) -> None:
    (header,) = read_headers([shared_data / "cxr" / name])
    sr = tmp_path / "result.sr"
    encode_sr(radiograph_context(header, [POSITIVE, NEGATIVE])).save_as(sr, enforce_file_format=True)
    check(sr)
