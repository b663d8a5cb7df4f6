"""A report as an Encapsulated PDF in the study it is about (PS3.3 A.45.1)."""

from __future__ import annotations

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from dicom_gateway import result_codes
from dicom_gateway.encode_common import as_item, source_images, stamp
from dicom_gateway.encode_errors import InvalidResultContext
from dicom_gateway.result_context import NOT_REVIEWED, ResultContext


def encode_pdf(context: ResultContext, pdf: bytes) -> Dataset:
    """The bytes of `pdf` as an Encapsulated PDF Storage instance, ready to be written as a Part 10 file."""
    if not pdf.startswith(b"%PDF-"):
        raise InvalidResultContext("the report is not a PDF")
    result = Dataset()
    result.file_meta = _file_meta(context)
    stamp(result, context, "PDF")
    _identify(result, context)
    _encapsulate(result, context, pdf)
    return result


def _file_meta(context: ResultContext) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    meta.MediaStorageSOPInstanceUID = context.uid("PDF instance")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def _identify(result: Dataset, context: ResultContext) -> None:
    result.SOPClassUID = EncapsulatedPDFStorage
    result.SOPInstanceUID = context.uid("PDF instance")
    result.StudyInstanceUID = context.study_instance_uid
    result.SeriesInstanceUID = context.uid("PDF series")
    result.SeriesNumber = context.series_number("PDF")
    result.InstanceNumber = 1
    result.Modality = "DOC"
    result.ConversionType = "SYN"


def _encapsulate(result: Dataset, context: ResultContext, pdf: bytes) -> None:
    # The report shows the patient's name on every page, so it is burned in by definition.
    result.BurnedInAnnotation = "YES"
    result.AcquisitionDateTime = ""
    result.DocumentTitle = f"{context.model_name} {context.model_version} report: {NOT_REVIEWED}"
    result.ConceptNameCodeSequence = Sequence([as_item(result_codes.DOCUMENT_TITLE_AI_REPORT)])
    result.VerificationFlag = "UNVERIFIED"
    result.MIMETypeOfEncapsulatedDocument = "application/pdf"
    result.SourceInstanceSequence = Sequence([_reference(image) for image in source_images(context)])
    result.EncapsulatedDocumentLength = len(pdf)
    # OB values have even length; the length above tells readers where the PDF ends (PS3.3 C.24.2).
    result.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    item.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return item
