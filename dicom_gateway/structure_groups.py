"""What an SR says of structures: a TID 1411 group for each, and the volumes in a sentence (PS3.16)."""

from __future__ import annotations

from highdicom.sr import (
    AlgorithmIdentification,
    FindingSite,
    Measurement,
    ReferencedSegment,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)

from dicom_gateway import result_codes
from dicom_gateway.encode_seg import SegmentedStructure
from dicom_gateway.result_context import ResultContext
from study.answer import Structure

_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


def structure_group(
    context: ResultContext, item: SegmentedStructure, algorithm: AlgorithmIdentification
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    """TID 1411: the segment of a structure, its volume and its mean attenuation."""
    structure = item.structure
    code = result_codes.as_dicom(structure.code)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            structure.tracking_uid, context.structure_tracking_id(structure)
        ),
        referenced_segment=ReferencedSegment(
            sop_class_uid=_SEGMENTATION_STORAGE,
            sop_instance_uid=context.uid("SEG instance"),
            segment_number=item.number,
            source_series=SourceSeriesForSegmentation(context.source_series_instance_uid),
        ),
        finding_type=code,
        finding_sites=[FindingSite(code)],
        algorithm_id=algorithm,
        measurements=[
            Measurement(
                name=result_codes.VOLUME,
                value=round(structure.volume_ml, 1),
                unit=result_codes.CUBIC_CENTIMETRE,
            ),
            Measurement(
                name=result_codes.ATTENUATION,
                value=round(structure.mean_hu, 1),
                unit=result_codes.HOUNSFIELD_UNIT,
                derivation=result_codes.MEAN,
            ),
        ],
    )


def conclusion(context: ResultContext) -> str:
    """All structures with their volumes in one sentence, and what they come to."""
    total = sum(one.volume_ml for one in context.structures)
    parts = "; ".join(_words(one) for one in context.structures)
    return f"{len(context.structures)} structures were outlined, {total:.0f} ml together: {parts}."


def _words(structure: Structure) -> str:
    words = f"{structure.label} {structure.volume_ml:.0f} ml, mean {structure.mean_hu:.0f} HU"
    share = structure.low_attenuation_share
    return words if share is None else f"{words}, {100 * share:.1f} % below -950 HU"


def what_was_assessed(context: ResultContext) -> str:
    """What the model looked at and for, and what it did not."""
    count = len(context.volume.slice_sop_instance_uids)
    return (
        f"Assessed: outlines and volumes of the structures named, on {count} axial slices of one CT series. "
        "Not assessed: disease of any kind, and everything else. "
        f"Intended use of the model: {context.intended_use.strip() or 'not stated'}"
    )
