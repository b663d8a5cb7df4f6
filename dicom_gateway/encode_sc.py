"""Pictures with the marks burned in, as Secondary Capture images (PS3.3 A.8): for a PACS that shows nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian

from dicom_gateway import result_codes
from dicom_gateway.encode_common import as_item, stamp
from dicom_gateway.key_slices import KeySlice
from dicom_gateway.result_context import ResultContext


@dataclass(frozen=True)
class Capture:
    """One picture. pixels: uint8 (row, column, RGB). source: what it shows, None for a page of text.

    words: how it was made, with the window, at most 1024 characters.
    """

    pixels: NDArray[np.uint8]
    source: KeySlice | None
    words: str


def encode_captures(context: ResultContext, captures: Sequence[Capture]) -> list[Dataset]:
    """One instance for each picture, all in one series. No pixel spacing: nothing is to be measured on them."""
    return [_encoded(context, one, number) for number, one in enumerate(captures, start=1)]


def _encoded(context: ResultContext, capture: Capture, number: int) -> Dataset:
    result = SCImage(
        pixel_array=capture.pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        # Required of highdicom; what it shows is turned, or no body at all, so the element is emptied below.
        patient_orientation=("L", "P"),
        study_instance_uid=context.study_instance_uid,
        series_instance_uid=context.uid("SC series"),
        series_number=context.series_number("SC"),
        sop_instance_uid=context.uid(f"SC instance {number}"),
        instance_number=number,
        manufacturer=context.publisher[:64],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
    )
    stamp(result, context, "SC")
    result.PatientOrientation = ""
    result.ConversionType = "WSD"
    result.BurnedInAnnotation = "YES"
    result.DateOfSecondaryCapture, result.TimeOfSecondaryCapture = result.ContentDate, result.ContentTime
    result.ImageComments = context.words.not_reviewed
    result.DerivationDescription = capture.words[:1024]
    if capture.source is not None:
        result.SourceImageSequence = DicomSequence([_source(capture.source)])
    return result


def _source(one: KeySlice) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = one.header.SOPClassUID
    item.ReferencedSOPInstanceUID = one.header.SOPInstanceUID
    if one.is_multiframe:
        item.ReferencedFrameNumber = one.frame_number
    item.PurposeOfReferenceCodeSequence = DicomSequence([as_item(result_codes.SOURCE_IMAGE)])
    return item
