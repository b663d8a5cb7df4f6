"""What a reader's verdicts do to the measurement groups of an SR (TID 1410 and 1411, PS3.16)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    FindingSite,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForRegion,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DatasetSequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

import study.codes
from dicom_gateway import nodule_items, result_codes
from dicom_gateway.encode_errors import ReviewedPlaceUnknown
from study.review import Review, Verdict, VerdictKind

# What a new mean diameter makes untrue: all that was measured on the outline that the reader did not draw.
_MEASURED_ON_OUTLINE = frozenset(
    code.value
    for code in (
        result_codes.LONG_AXIS,
        result_codes.SHORT_AXIS,
        result_codes.DIAMETER,
        result_codes.VOLUME,
        result_codes.SOLID_COMPONENT_SIZE,
        result_codes.PRIOR_VOLUME,
        result_codes.VOLUME_CHANGE,
        result_codes.VOLUME_DOUBLING_TIME,
    )
)
_WORDS = {
    VerdictKind.ACCEPT: result_codes.REVIEW_ACCEPTED,
    VerdictKind.EDIT: result_codes.REVIEW_CHANGED,
    VerdictKind.UNSURE: result_codes.REVIEW_UNSURE,
    VerdictKind.MISSED: result_codes.REVIEW_ADDED,
}


def apply(
    document: Dataset,
    review: Review,
    statements: Mapping[str, str],
    coded: Mapping[str, study.codes.Code],
    sites: Mapping[str, study.codes.Code],
) -> None:
    """Remove what was rejected, change what was changed, add what was missed.

    statements: by tracking UID the label of each statement about the whole image; coded: the code of each label;
    sites: where such a finding lies, the lung where nothing is said.
    """
    measurements = find_container(document, result_codes.IMAGING_MEASUREMENTS)
    groups = list(measurements.ContentSequence) if measurements is not None else []
    kept = [group for group in groups if not _is_rejected(review, _tracking_uid(group))]
    for group in kept:
        verdict = review.of(_tracking_uid(group))
        if verdict is not None:
            _judge(group, verdict)
    added = [
        _missed_group(document, verdict, _code_of(verdict.label, coded), sites.get(verdict.label), number)
        for number, verdict in enumerate(review.missed, 1)
    ]
    rejected = {
        _code_of(label, coded).value for uid, label in statements.items() if _is_rejected(review, uid)
    }
    _evaluate_again(document, rejected | _found(groups), _found([*kept, *added]))
    _put_groups(document, measurements, _one_region([*kept, *added]))


def find_container(document: Dataset, name: Code) -> Dataset | None:
    return next(
        (
            item
            for item in document.ContentSequence
            if item.ValueType == "CONTAINER" and _concept(item) == name.value
        ),
        None,
    )


def container(document: Dataset, name: Code) -> Dataset:
    """The container of this name, which every SR of ours has."""
    found = find_container(document, name)
    assert found is not None
    return found


def is_chinese(document: Dataset) -> bool:
    """Whether its language (TID 1204) is Chinese."""
    codes_of = (item.get("ConceptCodeSequence") for item in document.ContentSequence)
    return any(found and found[0].CodeValue == result_codes.CHINESE.value for found in codes_of)


def _is_rejected(review: Review, finding_uid: str) -> bool:
    verdict = review.of(finding_uid)
    return verdict is not None and verdict.kind is VerdictKind.REJECT


def _code_of(label: str, coded: Mapping[str, study.codes.Code]) -> Code:
    return result_codes.as_dicom(coded[label]) if label in coded else result_codes.finding_type(label)


def _concept(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


def _tracking_uid(group: Dataset) -> str:
    wanted = codes.DCM.TrackingUniqueIdentifier.value
    return next((str(item.UID) for item in group.ContentSequence if _concept(item) == wanted), "")


def _judge(group: Dataset, verdict: Verdict) -> None:
    """The reader's word as a coded evaluation; the values that the reader gave instead of the model's."""
    items = list(group.ContentSequence)
    is_planar = any(item.ValueType == "SCOORD" for item in items)
    if verdict.size_mm is not None:
        items = [
            item for item in items if item.ValueType != "NUM" or _concept(item) not in _MEASURED_ON_OUTLINE
        ]
        if is_planar:
            items.append(_diameter(verdict.size_mm))
    if is_planar:
        if verdict.nodule_kind is not None:
            items = [item for item in items if _concept(item) != result_codes.COMPOSITION.value]
            items.append(_evaluation(result_codes.COMPOSITION, nodule_items.composition(verdict.nodule_kind)))
        items.append(_evaluation(result_codes.REVIEW_OF_THE_FINDING, _WORDS[verdict.kind]))
    group.ContentSequence = DatasetSequence(items)


def _diameter(size_mm: float) -> Dataset:
    measured = Measurement(
        name=result_codes.DIAMETER,
        value=round(size_mm, 2),
        unit=result_codes.MILLIMETRE,
        derivation=result_codes.MEAN,
    )
    return measured[0]


def _evaluation(name: Code, value: Code) -> Dataset:
    return CodeContentItem(name, value, RelationshipTypeValues.CONTAINS)


def _missed_group(
    document: Dataset, verdict: Verdict, finding: Code, site: study.codes.Code | None, number: int
) -> Dataset:
    """TID 1410 with the point that the reader marked (2D coordinates: no outline was drawn)."""
    assert verdict.place is not None
    sop_instance_uid, column, row = verdict.place
    evaluations = [QualitativeEvaluation(result_codes.REVIEW_OF_THE_FINDING, _WORDS[VerdictKind.MISSED])]
    if verdict.nodule_kind is not None:
        composition = nodule_items.composition(verdict.nodule_kind)
        evaluations.append(QualitativeEvaluation(result_codes.COMPOSITION, composition))
    frames = [verdict.frame_number] if verdict.frame_number is not None else None
    image = SourceImageForRegion(_sop_class(document, sop_instance_uid), sop_instance_uid, frames)
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(str(verdict.finding_uid), f"added finding {number}"),
        referenced_region=ImageRegion(
            graphic_type=GraphicTypeValues.POINT,
            graphic_data=np.asarray([[round(column, 3), round(row, 3)]]),
            source_image=image,
        ),
        finding_type=finding,
        finding_sites=[FindingSite(result_codes.as_dicom(site) if site else result_codes.LUNG)],
        measurements=[
            Measurement(
                name=result_codes.DIAMETER,
                value=round(verdict.size_mm, 2),
                unit=result_codes.MILLIMETRE,
                derivation=result_codes.MEAN,
            )
        ]
        if verdict.size_mm is not None
        else None,
        qualitative_evaluations=evaluations,
    )
    return group[0]


def _sop_class(document: Dataset, sop_instance_uid: str) -> str:
    """Of a source image, which the evidence lists. Raises `ReviewedPlaceUnknown`."""
    for evidence in document.CurrentRequestedProcedureEvidenceSequence:
        for series in evidence.ReferencedSeriesSequence:
            for one in series.ReferencedSOPSequence:
                if str(one.ReferencedSOPInstanceUID) == sop_instance_uid:
                    return str(one.ReferencedSOPClassUID)
    raise ReviewedPlaceUnknown


def _evaluate_again(document: Dataset, before: set[str], after: set[str]) -> None:
    """Detected and not detected, as they are after the review: by what stands and what was added."""
    for item in container(document, result_codes.QUALITATIVE_EVALUATIONS).ContentSequence:
        name = _concept(item)
        if item.ValueType != "CODE" or name not in before | after:
            continue
        answer = result_codes.DETECTED if name in after else result_codes.NOT_DETECTED
        code = item.ConceptCodeSequence[0]
        code.CodeValue, code.CodeMeaning = answer.value, answer.meaning


def _found(groups: list[Dataset]) -> set[str]:
    """Code values of what the groups are findings of."""
    return {
        str(item.ConceptCodeSequence[0].CodeValue)
        for group in groups
        for item in group.ContentSequence
        if item.ValueType == "CODE" and _concept(item) == codes.DCM.Finding.value
    }


def _one_region(groups: list[Dataset]) -> list[Dataset]:
    """Where one region is left in all, its group takes over what was measured on its segment; see `encode_sr`."""
    planar = [group for group in groups if any(item.ValueType == "SCOORD" for item in group.ContentSequence)]
    if len(planar) != 1:
        return groups
    for other in groups:
        if other is not planar[0] and _tracking_uid(other) == _tracking_uid(planar[0]):
            planar[0].ContentSequence.extend(
                item for item in other.ContentSequence if item.ValueType == "NUM"
            )
            return [group for group in groups if group is not other]
    return groups


def _put_groups(document: Dataset, measurements: Dataset | None, groups: list[Dataset]) -> None:
    """An SR without a group has no Imaging Measurements; one that gets its first group gets them too."""
    items = [item for item in document.ContentSequence if item is not measurements]
    if groups:
        if measurements is None:
            measurements = ContainerContentItem(
                name=result_codes.IMAGING_MEASUREMENTS, relationship_type=RelationshipTypeValues.CONTAINS
            )
        measurements.ContentSequence = DatasetSequence(groups)
        place = items.index(container(document, result_codes.QUALITATIVE_EVALUATIONS))
        items.insert(place, measurements)
    document.ContentSequence = DatasetSequence(items)
