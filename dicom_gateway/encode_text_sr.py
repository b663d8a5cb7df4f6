"""A result as Basic Text SR, for archives that take no other report: what the SR says, measurement by measurement.

It is read off the SR, so the two never differ. Outlines, references to segments and codes are left out: this SOP class
has no coordinates and no numbers (PS3.3 A.35.1.3.1).
"""

from __future__ import annotations

from collections.abc import Iterator

from highdicom.sr import ComprehensiveSR
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import BasicTextSRStorage

from dicom_gateway import result_codes
from dicom_gateway.chinese_meanings import in_chinese
from dicom_gateway.encode_common import source_images, stamp
from dicom_gateway.result_context import ResultContext
from dicom_gateway.sr_document import make_document
from dicom_gateway.text_report import text_report


def encode_text_sr(context: ResultContext, report: Dataset) -> Dataset:
    """report: the SR of the same result. UNVERIFIED, in the study of its source; the evidence is every image."""
    groups, evaluations = _containers(report)
    content = text_report(
        context,
        (codes.DCM.Findings, codes.DCM.Finding, map(_sentence, groups)),
        (codes.DCM.Conclusions, codes.DCM.Conclusion, map(_told, evaluations)),
    )
    earlier = context.predecessors_of(BasicTextSRStorage)
    # A Comprehensive SR has the modules of a Basic Text SR; highdicom has no class of its own for that.
    document = make_document(ComprehensiveSR, context, "TEXT", source_images(context), content, earlier)
    document.SOPClassUID = document.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    stamp(document, context, "TEXT")
    if context.language == "zh":
        in_chinese(document)
    return document


def _containers(report: Dataset) -> tuple[list[Dataset], list[Dataset]]:
    """The measurement groups of a report after TID 1500, and the items of its qualitative evaluations."""
    parts = {
        str(item.ConceptNameCodeSequence[0].CodeValue): list(item.get("ContentSequence") or ())
        for item in report.ContentSequence
        if item.ValueType == "CONTAINER"
    }
    measurements, evaluations = result_codes.IMAGING_MEASUREMENTS, result_codes.QUALITATIVE_EVALUATIONS
    return parts.get(measurements.value, []), parts.get(evaluations.value, [])


def _sentence(group: Dataset) -> str:
    """What a measurement group says in one line."""
    return "; ".join(filter(None, _words(group)))


def _words(group: Dataset) -> Iterator[str]:
    for item in group.get("ContentSequence") or ():
        if item.ValueType in ("TEXT", "CODE", "NUM"):
            yield _told(item)


def _told(item: Dataset) -> str:
    """“Diameter (Mean): 8.42 mm”."""
    name, value = _meaning(item.ConceptNameCodeSequence), ""
    if item.ValueType == "CODE":
        value = _meaning(item.ConceptCodeSequence)
    elif item.ValueType == "NUM" and item.MeasuredValueSequence:
        measured = item.MeasuredValueSequence[0]
        value = f"{measured.NumericValue} {measured.MeasurementUnitsCodeSequence[0].CodeValue}"
    elif item.ValueType == "TEXT":
        value = str(item.TextValue)
    return f"{name}: {value}"


def _meaning(sequence: list[Dataset]) -> str:
    return str(sequence[0].CodeMeaning)
