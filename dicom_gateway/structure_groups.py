"""What an SR says of structures: a TID 1411 group for each, (PS3.16)."""

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
