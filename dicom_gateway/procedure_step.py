"""Modality Performed Procedure Step: what a modality says it does and did (PS3.4 annex F, PS3.3 C.4.13 to C.4.15).

Read is what tells which study and which instances to expect. The rest of a procedure step (protocols, doses,
billing) is neither asked for nor kept, so its absence is no error here, whatever its type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from dicom_gateway.service_errors import AttributeMissing, AttributeValueInvalid
from dicom_gateway.small_data_set import Item, Wanted, items_of, read_data_set, text_of
from study.errors import InvalidUID
from study.identifiers import validate_uid

StepStatus = Literal["IN PROGRESS", "COMPLETED", "DISCONTINUED"]

_SCHEDULED_STEP_ATTRIBUTES_SEQUENCE = 0x0040_0270
_PERFORMED_SERIES_SEQUENCE = 0x0040_0340
_STATUS = 0x0040_0252
_STUDY_INSTANCE_UID = 0x0020_000D
_SERIES_INSTANCE_UID = 0x0020_000E
_REFERENCED_IMAGE_SEQUENCE = 0x0008_1140
_REFERENCED_NON_IMAGE_SEQUENCE = 0x0040_0220
_REFERENCED_SOP_INSTANCE_UID = 0x0008_1155
_WANTED = Wanted(
    frozenset((_STATUS, _STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID, _REFERENCED_SOP_INSTANCE_UID)),
    frozenset(
        (
            _SCHEDULED_STEP_ATTRIBUTES_SEQUENCE,
            _PERFORMED_SERIES_SEQUENCE,
            _REFERENCED_IMAGE_SEQUENCE,
            _REFERENCED_NON_IMAGE_SEQUENCE,
        )
    ),
)


@dataclass(frozen=True)
class PerformedSeries:
    """A series of the step with the instances, images and others, that it lists so far."""

    series_instance_uid: str
    sop_instance_uids: tuple[str, ...]


@dataclass(frozen=True)
class ProcedureStep:
    """What N-CREATE begins; its status is IN PROGRESS."""

    sop_instance_uid: str
    study_instance_uid: str
    series: tuple[PerformedSeries, ...]


@dataclass(frozen=True)
class ProcedureStepChange:
    """What N-SET changes; None leaves as it is."""

    sop_instance_uid: str
    status: StepStatus | None
    series: tuple[PerformedSeries, ...] | None


def read_step(data: bytes, transfer_syntax_uid: str, sop_instance_uid: str) -> ProcedureStep:
    """The attributes of N-CREATE-RQ (PS3.4 table F.7.2-1)."""
    item = read_data_set(data, transfer_syntax_uid, _WANTED)
    if _status(item) != "IN PROGRESS":
        raise AttributeValueInvalid("a procedure step begins as IN PROGRESS")
    scheduled = items_of(item, _SCHEDULED_STEP_ATTRIBUTES_SEQUENCE)
    study = text_of(scheduled[0], _STUDY_INSTANCE_UID) if scheduled else ""
    if not study:
        raise AttributeMissing("the procedure step names no study")
    return ProcedureStep(sop_instance_uid, _uid(study), _series(item))


def read_change(data: bytes, transfer_syntax_uid: str, sop_instance_uid: str) -> ProcedureStepChange:
    """The attributes of N-SET-RQ (PS3.4 table F.7.2-1)."""
    item = read_data_set(data, transfer_syntax_uid, _WANTED)
    return ProcedureStepChange(
        sop_instance_uid,
        _status(item) if _STATUS in item else None,
        _series(item) if _PERFORMED_SERIES_SEQUENCE in item else None,
    )


def _status(item: Item) -> StepStatus:
    text = text_of(item, _STATUS)
    if not text:
        raise AttributeMissing("the procedure step has no status")
    for status in get_args(StepStatus):
        if status == text:
            return status  # type: ignore[no-any-return]  # get_args forgets the literal
    raise AttributeValueInvalid("the status is none that a procedure step can have")


def _series(item: Item) -> tuple[PerformedSeries, ...]:
    return tuple(
        PerformedSeries(
            _uid(text_of(one, _SERIES_INSTANCE_UID)),
            tuple(
                _uid(text_of(reference, _REFERENCED_SOP_INSTANCE_UID))
                for sequence in (_REFERENCED_IMAGE_SEQUENCE, _REFERENCED_NON_IMAGE_SEQUENCE)
                for reference in items_of(one, sequence)
            ),
        )
        for one in items_of(item, _PERFORMED_SERIES_SEQUENCE)
    )


def _uid(text: str) -> str:
    try:
        return validate_uid(text)
    except InvalidUID:
        raise AttributeValueInvalid("a UID of the procedure step is no UID") from None
