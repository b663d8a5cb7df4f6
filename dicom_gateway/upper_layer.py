"""The PDUs of the DICOM Upper Layer, read and written (PS3.8 section 9.3).

Every parser takes the body of one PDU, after its six-byte header, and never looks beyond it. Memory
is bounded by the bytes received: a caller limits those before reading.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from dicom_gateway.errors import InvalidPDU
from dicom_gateway.user_information import (
    NOTHING_SAID,
    RoleSelection,
    UserInformation,
    encode_item,
    encode_user_information,
    items,
    parse_user_information,
)

# PDU types (PS3.8 section 9.3.1)
A_ASSOCIATE_RQ = 0x01
A_ASSOCIATE_AC = 0x02
A_ASSOCIATE_RJ = 0x03
P_DATA_TF = 0x04
A_RELEASE_RQ = 0x05
A_RELEASE_RP = 0x06
A_ABORT = 0x07
PDU_TYPES = frozenset(range(A_ASSOCIATE_RQ, A_ABORT + 1))
HEADER_BYTES = 6

# Item types of A-ASSOCIATE-RQ and -AC (PS3.8 tables 9-12 to 9-20)
APPLICATION_CONTEXT_ITEM = 0x10
PRESENTATION_CONTEXT_RQ_ITEM = 0x20
PRESENTATION_CONTEXT_AC_ITEM = 0x21
ABSTRACT_SYNTAX_ITEM = 0x30
TRANSFER_SYNTAX_ITEM = 0x40
USER_INFORMATION_ITEM = 0x50

# Result of a presentation context (PS3.8 table 9-18)
ACCEPTANCE = 0
ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
TRANSFER_SYNTAXES_NOT_SUPPORTED = 4

APPLICATION_CONTEXT_NAME = "1.2.840.10008.3.1.1.1"

# Message control header of a presentation data value (PS3.8 annex E.2)
COMMAND_FRAGMENT = 0x01
LAST_FRAGMENT = 0x02

ABORT_BY_PROVIDER = 2

_CONTEXTS_MAX = 128  # identifiers are the odd numbers 1 to 255
_TRANSFER_SYNTAXES_MAX = 128  # for one context; the standard registers about sixty
_HEADER = struct.Struct(">BxI")
_PDV = struct.Struct(">IBB")
_FIXED_BYTES = 68  # of A-ASSOCIATE-RQ, before its items


@dataclass(frozen=True)
class ProposedContext:
    """A presentation context that the requestor proposes, syntaxes in its order of preference."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True)
class AnsweredContext:
    """Our answer to a proposed context; `transfer_syntax` is significant only when accepted."""

    context_id: int
    result: int
    transfer_syntax: str


@dataclass(frozen=True)
class AssociateRequest:
    """A-ASSOCIATE-RQ (PS3.8 table 9-11).

    called_ae_title, calling_ae_title: as received, padding removed, not validated.
    reserved: the 64 bytes of AE titles and reserved field that the answer repeats.
    """

    protocol_version: int
    called_ae_title: str
    calling_ae_title: str
    application_context: str
    contexts: tuple[ProposedContext, ...]
    user_information: UserInformation
    reserved: bytes


def parse_header(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[int, int]:
    """PDU type and body length in bytes."""
    pdu_type, length = _HEADER.unpack_from(data, offset)
    return pdu_type, length


def parse_associate_request(body: memoryview) -> AssociateRequest:
    """Read A-ASSOCIATE-RQ; raise `InvalidPDU` for any length that does not add up."""
    if len(body) < _FIXED_BYTES:
        raise InvalidPDU("A-ASSOCIATE-RQ is shorter than its fixed fields")
    application_context = ""
    contexts: dict[int, ProposedContext] = {}
    user_information = NOTHING_SAID
    for item_type, item in items(body[_FIXED_BYTES:]):
        if item_type == APPLICATION_CONTEXT_ITEM:
            application_context = _uid(item)
        elif item_type == PRESENTATION_CONTEXT_RQ_ITEM:
            context = _proposed_context(item)
            if context.context_id in contexts or len(contexts) >= _CONTEXTS_MAX:
                raise InvalidPDU("a presentation context identifier is used twice")
            contexts[context.context_id] = context
        elif item_type == USER_INFORMATION_ITEM:
            user_information = parse_user_information(item)
    return AssociateRequest(
        protocol_version=int.from_bytes(body[0:2], "big"),
        called_ae_title=_ae_title(body[4:20]),
        calling_ae_title=_ae_title(body[20:36]),
        application_context=application_context,
        contexts=tuple(contexts.values()),
        user_information=user_information,
        reserved=bytes(body[4:_FIXED_BYTES]),
    )


def presentation_data_values(body: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """The (context id, message control header, fragment) of each value in a P-DATA-TF body."""
    position, end = 0, len(body)
    if end == 0:
        raise InvalidPDU("P-DATA-TF without a presentation data value")
    while position < end:
        if end - position < _PDV.size:
            raise InvalidPDU("a presentation data value is cut off")
        length, context_id, control = _PDV.unpack_from(body, position)
        next_position = position + 4 + length
        if length < 2 or next_position > end:
            raise InvalidPDU("the length of a presentation data value does not fit its PDU")
        yield context_id, control, body[position + _PDV.size : next_position]
        position = next_position


def encode_associate_accept(
    request: AssociateRequest,
    contexts: tuple[AnsweredContext, ...],
    pdu_length_max: int,
    implementation_class_uid: str,
    implementation_version_name: str,
    roles: tuple[RoleSelection, ...] = (),
) -> bytes:
    """A-ASSOCIATE-AC (PS3.8 table 9-17)."""
    parts = [encode_item(APPLICATION_CONTEXT_ITEM, APPLICATION_CONTEXT_NAME.encode())]
    for context in contexts:
        head = bytes((context.context_id, 0, context.result, 0))
        syntax = encode_item(TRANSFER_SYNTAX_ITEM, context.transfer_syntax.encode())
        parts.append(encode_item(PRESENTATION_CONTEXT_AC_ITEM, head + syntax))
    user_information = encode_user_information(
        request.user_information, pdu_length_max, implementation_class_uid, implementation_version_name, roles
    )
    parts.append(encode_item(USER_INFORMATION_ITEM, user_information))
    return _pdu(A_ASSOCIATE_AC, struct.pack(">HH", 1, 0) + request.reserved + b"".join(parts))


def encode_associate_reject(result: int, source: int, reason: int) -> bytes:
    """A-ASSOCIATE-RJ (PS3.8 table 9-21)."""
    return _pdu(A_ASSOCIATE_RJ, bytes((0, result, source, reason)))


def encode_release_reply() -> bytes:
    """A-RELEASE-RP (PS3.8 table 9-25)."""
    return _pdu(A_RELEASE_RP, bytes(4))


def encode_abort(source: int, reason: int) -> bytes:
    """A-ABORT (PS3.8 table 9-26)."""
    return _pdu(A_ABORT, bytes((0, 0, source, reason)))


def encode_command(context_id: int, command_set: bytes, pdu_length_max: int) -> bytes:
    """P-DATA-TF PDUs that carry one command set, none longer than the peer reads (0: no limit)."""
    return _encode_fragments(context_id, command_set, pdu_length_max, COMMAND_FRAGMENT)


def encode_data_set(context_id: int, data_set: bytes, pdu_length_max: int) -> bytes:
    """P-DATA-TF PDUs that carry one data set, none longer than the peer reads (0: no limit)."""
    return _encode_fragments(context_id, data_set, pdu_length_max, control=0)


def _encode_fragments(context_id: int, data: bytes, pdu_length_max: int, control: int) -> bytes:
    room = max(pdu_length_max - _PDV.size, 1) if pdu_length_max else len(data)
    pdus = []
    for start in range(0, len(data), room):
        fragment = data[start : start + room]
        last = LAST_FRAGMENT if start + room >= len(data) else 0
        pdus.append(_pdu(P_DATA_TF, _PDV.pack(len(fragment) + 2, context_id, control | last) + fragment))
    return b"".join(pdus)


def _proposed_context(item: memoryview) -> ProposedContext:
    if len(item) < 4:
        raise InvalidPDU("a presentation context is cut off")
    if item[0] % 2 == 0:
        raise InvalidPDU("a presentation context identifier is even")
    abstract_syntax = ""
    transfer_syntaxes: list[str] = []
    for item_type, value in items(item[4:]):
        if item_type == ABSTRACT_SYNTAX_ITEM:
            abstract_syntax = _uid(value)
        elif item_type == TRANSFER_SYNTAX_ITEM:
            if len(transfer_syntaxes) >= _TRANSFER_SYNTAXES_MAX:
                raise InvalidPDU(f"more than {_TRANSFER_SYNTAXES_MAX} transfer syntaxes in one context")
            transfer_syntaxes.append(_uid(value))
    return ProposedContext(item[0], abstract_syntax, tuple(transfer_syntaxes))


def _uid(value: memoryview) -> str:
    if len(value) > 128:
        raise InvalidPDU("a UID is longer than 128 bytes")
    # Some peers pad UIDs here although PS3.8 annex F forbids it.
    return bytes(value).decode("latin-1").rstrip("\0 ")


def _ae_title(value: memoryview) -> str:
    return bytes(value).decode("latin-1").strip(" \0")


def _pdu(pdu_type: int, body: bytes) -> bytes:
    return _HEADER.pack(pdu_type, len(body)) + body
