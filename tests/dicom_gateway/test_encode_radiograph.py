"""The SR of a radiograph: statements, probabilities and rectangles in the pixels of the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from tests.radiograph_files import radiograph, radiograph_context, statement

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
