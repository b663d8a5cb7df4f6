"""Storage commitment: what a peer asks us to keep, and what we answer (PS3.4 annex J)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dicom_gateway.service_errors import AttributeMissing, AttributeValueInvalid
from dicom_gateway.small_data_set import (
    Item,
    Wanted,
    encode_sequence,
    encode_uid,
    encode_unsigned_short,
    items_of,
    read_data_set,
    text_of,
)
from study.errors import InvalidUID
from study.identifiers import validate_uid

# Action Type ID of N-ACTION, Event Type IDs of N-EVENT-REPORT (PS3.4 tables J.3-1, J.3-2)
REQUEST_COMMITMENT = 1
ALL_COMMITTED = 1
FAILURES_EXIST = 2

TRANSACTION_UID = 0x0008_1195
_FAILURE_REASON = 0x0008_1197
_FAILED_SOP_SEQUENCE = 0x0008_1198
_REFERENCED_SOP_SEQUENCE = 0x0008_1199
_REFERENCED_SOP_CLASS_UID = 0x0008_1150
_REFERENCED_SOP_INSTANCE_UID = 0x0008_1155
_REFERENCE_TEXTS = frozenset((TRANSACTION_UID, _REFERENCED_SOP_CLASS_UID, _REFERENCED_SOP_INSTANCE_UID))
_REQUEST = Wanted(_REFERENCE_TEXTS, frozenset((_REFERENCED_SOP_SEQUENCE,)))
_REPORT = Wanted(
    _REFERENCE_TEXTS | {_FAILURE_REASON}, frozenset((_REFERENCED_SOP_SEQUENCE, _FAILED_SOP_SEQUENCE))
)


@dataclass(frozen=True)
class Reference:
    """An instance and the class that the peer says it is of; both UIDs by form."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class CommitmentRequest:
    """What one N-ACTION asks for. references: in the order of the request, each once."""

    transaction_uid: str
    references: tuple[Reference, ...]


@dataclass(frozen=True)
class CommitmentResult:
    """What one N-EVENT-REPORT says. failed: reason (PS3.3 C.14.1.1) by reference."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: Mapping[Reference, int]

    @property
    def event_type(self) -> int:
        return FAILURES_EXIST if self.failed else ALL_COMMITTED


def read_request(data: bytes, transfer_syntax_uid: str) -> CommitmentRequest:
    """The action information of N-ACTION-RQ (PS3.4 table J.3-1)."""
    item = read_data_set(data, transfer_syntax_uid, _REQUEST)
    references = _references(item, _REFERENCED_SOP_SEQUENCE)
    if not references:
        raise AttributeMissing("the request references no instance")
    return CommitmentRequest(_transaction_uid(item), tuple(dict.fromkeys(references)))


def read_result(data: bytes, transfer_syntax_uid: str) -> CommitmentResult:
    """The event information of N-EVENT-REPORT-RQ (PS3.4 table J.3-2)."""
    item = read_data_set(data, transfer_syntax_uid, _REPORT)
    failed = items_of(item, _FAILED_SOP_SEQUENCE)
    reasons = [_unsigned_short(text_of(one, _FAILURE_REASON)) for one in failed]
    return CommitmentResult(
        _transaction_uid(item),
        tuple(dict.fromkeys(_references(item, _REFERENCED_SOP_SEQUENCE))),
        dict(zip(_references(item, _FAILED_SOP_SEQUENCE), reasons, strict=True)),
    )


def encode_result(result: CommitmentResult, transfer_syntax_uid: str) -> bytes:
    """The event information of N-EVENT-REPORT-RQ (PS3.4 table J.3-2)."""

    def reference(one: Reference) -> bytes:
        return encode_uid(_REFERENCED_SOP_CLASS_UID, one.sop_class_uid, transfer_syntax_uid) + encode_uid(
            _REFERENCED_SOP_INSTANCE_UID, one.sop_instance_uid, transfer_syntax_uid
        )

    parts = [encode_uid(TRANSACTION_UID, result.transaction_uid, transfer_syntax_uid)]
    if result.failed:
        failed = [
            reference(one) + encode_unsigned_short(_FAILURE_REASON, reason, transfer_syntax_uid)
            for one, reason in result.failed.items()
        ]
        parts.append(encode_sequence(_FAILED_SOP_SEQUENCE, failed, transfer_syntax_uid))
    if result.committed:
        committed = [reference(one) for one in result.committed]
        parts.append(encode_sequence(_REFERENCED_SOP_SEQUENCE, committed, transfer_syntax_uid))
    return b"".join(parts)


def _transaction_uid(item: Item) -> str:
    uid = text_of(item, TRANSACTION_UID)
    if not uid:
        raise AttributeMissing("there is no Transaction UID")
    return _uid(uid)


def _references(item: Item, sequence: int) -> list[Reference]:
    return [
        Reference(
            _uid(text_of(one, _REFERENCED_SOP_CLASS_UID)), _uid(text_of(one, _REFERENCED_SOP_INSTANCE_UID))
        )
        for one in items_of(item, sequence)
    ]


def _uid(text: str) -> str:
    try:
        return validate_uid(text)
    except InvalidUID:
        raise AttributeValueInvalid("a referenced UID is no UID") from None


def _unsigned_short(text: str) -> int:
    """A US value that was read as text; 0110H (processing failure) where it is none."""
    data = text.encode("latin-1").ljust(2, b"\0")
    return int.from_bytes(data, "little") if len(data) == 2 and text else 0x0110
