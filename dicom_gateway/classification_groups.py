"""Statements about a whole radiograph in an SR: TID 1410 for what was found, evaluations for all (PS3.16)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
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
from dicom_gateway.result_context import ResultContext
from study.codes import Code


def region_groups(
    context: ResultContext, algorithm: AlgorithmIdentification
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
            algorithm_id=algorithm,
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


def conclusion(context: ResultContext) -> str:
    """The result in one sentence, then every probability beside its threshold."""
    positive = [one.title for one in context.classifications if one.is_positive]
    if positive:
        head = f"The model found signs of: {', '.join(positive)}."
    else:
        head = "The model found none of the findings it looks for. This does not exclude disease."
    numbers = "; ".join(
        f"{one.title} {one.probability:.3f} (threshold {one.threshold:.3f},"
        f" {'positive' if one.is_positive else 'negative'})"
        for one in context.classifications
    )
    return f"{head} Calibrated probabilities: {numbers}."


def what_was_assessed(context: ResultContext) -> str:
    """What the model looked for, on what, and that nothing else was assessed."""
    names = ", ".join(one.title for one in context.classifications)
    return (
        f"Assessed: {names}, on one frontal chest radiograph. Not assessed: all other findings, other images, and "
        "change since prior studies. The rectangle of a finding is where the model's map is greatest, no outline. "
        f"Intended use of the model: {context.intended_use.strip() or 'not stated'}"
    )


def _code(code: Code) -> DicomCode:
    return DicomCode(code.value, code.scheme, code.meaning)
