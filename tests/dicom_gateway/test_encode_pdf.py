"""The report as an Encapsulated PDF."""

from __future__ import annotations

import io

import pydicom
import pytest

from dicom_gateway.encode_errors import InvalidResultContext
from dicom_gateway.encode_pdf import encode_pdf
from tests.result_builders import synthetic_result

PDF = b"%PDF-1.7 five hundred bytes of a report, of odd length"


def reread(pdf: bytes) -> pydicom.Dataset:
    buffer = io.BytesIO()
    encode_pdf(synthetic_result(), pdf).save_as(buffer, enforce_file_format=True)
    return pydicom.dcmread(io.BytesIO(buffer.getvalue()))


@pytest.mark.parametrize("pdf", [PDF, PDF + b"!"], ids=["one length", "one more"])
def test_the_pdf_comes_back_byte_for_byte_by_its_length(pdf: bytes) -> None:
    dataset = reread(pdf)
    assert dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength] == pdf


def test_it_says_what_it_is() -> None:
    dataset = reread(PDF)
    assert dataset.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert dataset.BurnedInAnnotation == "YES"
    assert dataset.VerificationFlag == "UNVERIFIED"
    assert dataset.DocumentTitle == "lung_nodule_ct 0.1.0 report: AI result, not reviewed"
    assert dataset.StudyInstanceUID == "1.2.3"
    assert len(dataset.SourceInstanceSequence) == 12


def test_what_is_not_a_pdf_is_refused() -> None:
    with pytest.raises(InvalidResultContext):
        encode_pdf(synthetic_result(), b"<html>")
