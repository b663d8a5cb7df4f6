"""Parametric Maps (PS3.3 A.75): saliency on a radiograph, certainty of findings on CT.

A map of a radiograph has one frame for each positive statement: how much each place speaks for it, as the model gives
it, over the whole extent of the image and as coarse as it is. On CT it is the certainty of each finding over the voxels
of its segment, one number for a finding: no saliency, and it says so.
"""

from __future__ import annotations

import numpy as np
from highdicom import (
    PixelMeasuresSequence,
    PlaneOrientationSequence,
    PlanePositionSequence,
    VOILUTTransformation,
)
from highdicom.pm import ParametricMap, RealWorldValueMapping
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from dicom_gateway import result_codes
from dicom_gateway.encode_common import source_images, stamp
from dicom_gateway.encode_seg import frames_on_source, segmented_findings, slices_with_content
from dicom_gateway.result_context import NOT_REVIEWED, ResultContext
from study.answer import Classification
from study.radiograph import Radiograph

# Stored values are 0 to this, in the 16 bits of PS3.3 C.8.32.2: whole numbers are shown by more viewers than floats.
_STEPS = 1000
# Position and orientation of a frontal radiograph: rows run to the patient's left, columns to the feet.
_FRONTAL = ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0, -1.0])


def encode_pm(context: ResultContext) -> Dataset | None:
    """The map of a result; None where it has none."""
    if not has_map(context):
        return None
    radiograph = context.image if isinstance(context.image, Radiograph) else None
    maps = _salient(context) if radiograph is not None else []
    frames = (
        _radiograph_frames(context, radiograph, maps) if radiograph is not None else _findings_frames(context)
    )
    result = ParametricMap(
        **frames,
        series_instance_uid=context.uid("PM series"),
        series_number=context.series_number("PM"),
        sop_instance_uid=context.uid("PM instance"),
        instance_number=1,
        manufacturer=context.publisher[:64],
        manufacturer_model_name=context.model_name[:64],
        software_versions=context.model_version[:64],
        device_serial_number=context.weights_sha256[:64],
        contains_recognizable_visual_features=False,
        voi_lut_transformations=[VOILUTTransformation(window_center=_STEPS / 2, window_width=_STEPS)],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="AI_SALIENCY" if maps else "AI_CERTAINTY",
        content_description=f"{NOT_REVIEWED}; {context.clearance_words}",
        specific_character_set="ISO_IR 192",
    )
    stamp(result, context, "PM")
    if maps:
        result.BodyPartExamined = "CHEST"
        _index_by_label(result)
    else:
        # Type 2C of what is paired: a map may show both lungs.
        result.BodyPartExamined, result.Laterality = "LUNG", ""
    dimension_uid = context.uid("PM dimensions")
    for item in (*result.DimensionOrganizationSequence, *result.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimension_uid
    return result


def has_map(context: ResultContext) -> bool:
    """Whether the result has one: not a negative result, nor outlines of structures."""
    return bool(_salient(context)) or bool(segmented_findings(context))


def _salient(context: ResultContext) -> list[Classification]:
    return [one for one in context.classifications if one.is_positive and one.saliency is not None]


def _radiograph_frames(
    context: ResultContext, image: Radiograph, maps: list[Classification]
) -> dict[str, object]:
    stacked = np.stack([one.saliency for one in maps if one.saliency is not None], axis=-1)
    (source,) = source_images(context)
    rows, columns = stacked.shape[:2]
    spacing = image.spacing_mm or (1.0, 1.0)
    pixel = [spacing[0] * image.pixels.shape[0] / rows, spacing[1] * image.pixels.shape[1] / columns]
    # Type 1 in a map, and a radiograph has none: one of its own, in the plane of the image.
    source.FrameOfReferenceUID = context.uid("frame of reference")
    source.ImagePositionPatient, source.ImageOrientationPatient = _FRONTAL
    source.PixelSpacing, source.SliceThickness = pixel, 1.0
    measures = PixelMeasuresSequence([round(length, 6) for length in pixel], 1.0)
    return {
        "source_images": [source],
        "pixel_array": _stored(stacked)[np.newaxis],
        "pixel_measures": measures,
        "plane_orientation": PlaneOrientationSequence("PATIENT", _FRONTAL[1]),
        "plane_positions": [PlanePositionSequence("PATIENT", _FRONTAL[0])],
        "image_flavor": "STATIC",
        "real_world_value_mappings": [
            [_mapping(one.title, f"Saliency of {one.title}: where the model looked", result_codes.SALIENCY)]
            for one in maps
        ],
    }


def _index_by_label(result: Dataset) -> None:
    """All frames lie in one place: what tells them apart is the label of their mapping."""
    index = result.DimensionIndexSequence[0]
    index.DimensionIndexPointer = tag_for_keyword("LUTLabel")
    index.FunctionalGroupPointer = tag_for_keyword("RealWorldValueMappingSequence")
    index.DimensionDescriptionLabel = "LUT Label"
    for number, frame in enumerate(result.PerFrameFunctionalGroupsSequence, start=1):
        frame.FrameContentSequence[0].DimensionIndexValues = [number]


def _findings_frames(context: ResultContext) -> dict[str, object]:
    segmented = segmented_findings(context)
    slices = slices_with_content(segmented)
    place = {index: position for position, index in enumerate(slices)}
    # The box that holds all segments: whole slices of 16 bits would be many times as large as the Segmentation.
    first = np.min([item.segment.origin[1:] for item in segmented], axis=0)
    ends = [np.add(item.segment.origin[1:], item.segment.mask.shape[1:]) for item in segmented]
    certainty = np.zeros((len(slices), *(np.max(ends, axis=0) - first)), dtype=np.uint16)
    for item in segmented:
        value = _stored(np.asarray(item.finding.score))
        row, column = np.subtract(item.segment.origin[1:], first)
        for depth, mask in enumerate(item.segment.mask, start=item.segment.origin[0]):
            if mask.any():
                height, width = mask.shape
                target = certainty[place[depth], row : row + height, column : column + width]
                target[mask] = np.maximum(target[mask], value)
    words = "Certainty of each finding over its segment, not saliency"
    return {
        **frames_on_source(context, slices, certainty, (int(first[0]), int(first[1]))),
        "real_world_value_mappings": [
            _mapping("Certainty", words, result_codes.CERTAINTY_OF_FINDING, result_codes.PERCENT, 100.0)
        ],
    }


def _stored(values: NDArray[np.floating]) -> NDArray[np.uint16]:
    return np.asarray(np.clip(np.rint(values * _STEPS), 0, _STEPS), dtype=np.uint16)


def _mapping(
    label: str, words: str, quantity: Code, unit: Code = result_codes.NO_UNITS, highest: float = 1.0
) -> RealWorldValueMapping:
    return RealWorldValueMapping(
        lut_label=label[:16],
        lut_explanation=words[:64],
        unit=unit,
        value_range=(0, _STEPS),
        slope=highest / _STEPS,
        intercept=0.0,
        quantity_definition=quantity,
    )
