"""Statements about a whole radiograph in an SR: TID 1410 for what was found, evaluations for all (PS3.16)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from highdicom.sr import (
    CodeContentItem,
    FindingSite,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    RelationshipTypeValues,
    SourceImageForRegion,
    TrackingIdentifier,
)
from pydicom.sr.coding import Code as DicomCode

from dicom_gateway import result_codes
from dicom_gateway.encode_common import algorithm
from dicom_gateway.result_context import ResultContext
from study.codes import Code


def region_groups(
    context: ResultContext,
) -> Iterator[PlanarROIMeasurementsAndQualitativeEvaluations]:
    """TID 1410 for each positive statement that has a place: where the map is greatest, as a rectangle on the image.

    A radiograph has no frame of reference, so the place is in the pixels of the image (SCOORD, not SCOORD3D).
    """
    header = context.source_headers[0]
    image = SourceImageForRegion(str(header.SOPClassUID), str(header.SOPInstanceUID))
    limit = np.asarray([float(header.Columns), float(header.Rows)])
    for statement in context.classifications:
        if not statement.is_positive or statement.region_px is None:
            continue
        left, top, right, bottom = statement.region_px
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        yield PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(
                statement.tracking_uid, context.statement_tracking_id(statement)
            ),
            referenced_region=ImageRegion(
                graphic_type=GraphicTypeValues.POLYLINE,
                graphic_data=np.clip(np.asarray(corners), 0.0, limit).round(3) + 0.0,
                source_image=image,
            ),
            finding_type=_code(statement.code),
            finding_sites=[FindingSite(_code(statement.site))] if statement.site else None,
            algorithm_id=algorithm(context, statement.threshold),
            measurements=[
                Measurement(
                    name=result_codes.CERTAINTY_OF_FINDING,
                    value=round(100 * statement.probability, 1),
                    unit=result_codes.PERCENT,
                )
            ],
        )


def evaluations(context: ResultContext) -> list[CodeContentItem]:
    """Each statement as detected or not detected."""
    return [
        CodeContentItem(
            _code(statement.code),
            result_codes.DETECTED if statement.is_positive else result_codes.NOT_DETECTED,
            RelationshipTypeValues.CONTAINS,
        )
        for statement in context.classifications
    ]


def _code(code: Code) -> DicomCode:
    return DicomCode(code.value, code.scheme, code.meaning)
