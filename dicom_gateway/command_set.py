"""DIMSE command sets, read and written (PS3.7 sections 6.3, 9.3, 10.3 and annex E)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dicom_gateway.errors import InvalidMessage

# Command field (PS3.7 annex E.1)
C_STORE_RQ = 0x0001
C_ECHO_RQ = 0x0030
N_EVENT_REPORT_RQ = 0x0100
N_GET_RQ = 0x0110
N_SET_RQ = 0x0120
N_ACTION_RQ = 0x0130
N_CREATE_RQ = 0x0140
N_DELETE_RQ = 0x0150
C_CANCEL_RQ = 0x0FFF
RESPONSE = 0x8000
NO_DATA_SET = 0x0101
HAS_DATA_SET = 0x0001

VERIFICATION_SOP_CLASS = "1.2.840.10008.1.1"
STORAGE_COMMITMENT_SOP_CLASS = "1.2.840.10008.1.20.1"
STORAGE_COMMITMENT_SOP_INSTANCE = (
    "1.2.840.10008.1.20.1.1"  # there is one, the well-known (PS3.4 section J.3.5)
)
PROCEDURE_STEP_SOP_CLASS = "1.2.840.10008.3.1.2.3.3"

# Command sets are a few hundred bytes; the longest legal one stays under this.
COMMAND_SET_BYTES_MAX = 16 * 1024

_ELEMENT = struct.Struct("<HHI")
_US = struct.Struct("<H")

# Elements of group 0000 that we read (PS3.7 table E.1-1)
_AFFECTED_SOP_CLASS_UID = 0x0002
_REQUESTED_SOP_CLASS_UID = 0x0003
_COMMAND_FIELD = 0x0100
_MESSAGE_ID = 0x0110
_MESSAGE_ID_RESPONDED_TO = 0x0120
_DATA_SET_TYPE = 0x0800
_STATUS = 0x0900
_ERROR_COMMENT = 0x0902
_ERROR_ID = 0x0903
_AFFECTED_SOP_INSTANCE_UID = 0x1000
_REQUESTED_SOP_INSTANCE_UID = 0x1001
_EVENT_TYPE_ID = 0x1002
_ACTION_TYPE_ID = 0x1008
_TYPE_ID = {N_EVENT_REPORT_RQ: _EVENT_TYPE_ID, N_ACTION_RQ: _ACTION_TYPE_ID}


@dataclass(frozen=True)
class Command:
    """A request or response as received. UIDs are padding-free text, not validated.

    message_id: of the request, or of the one that is responded to.
    type_id: Action or Event Type ID of N-ACTION-RQ and N-EVENT-REPORT-RQ, else 0.
    status: of a response, else 0.
    """

    command_field: int
    message_id: int
    has_data_set: bool
    sop_class_uid: str
    sop_instance_uid: str
    type_id: int = 0
    status: int = 0

    @property
    def is_response(self) -> bool:
        return bool(self.command_field & RESPONSE)


def parse_command(data: bytes | bytearray | memoryview) -> Command:
    """Read a command set (implicit VR little endian, PS3.7 section 6.3.1)."""
    elements = _elements(data)
    if _COMMAND_FIELD not in elements or _DATA_SET_TYPE not in elements:
        raise InvalidMessage("a command set has no command field or no data set type")
    sop_class = elements.get(_AFFECTED_SOP_CLASS_UID, elements.get(_REQUESTED_SOP_CLASS_UID, b""))
    sop_instance = elements.get(_AFFECTED_SOP_INSTANCE_UID, elements.get(_REQUESTED_SOP_INSTANCE_UID, b""))
    field = _unsigned_short(elements[_COMMAND_FIELD])
    is_response = bool(field & RESPONSE)
    message_id = elements.get(_MESSAGE_ID_RESPONDED_TO if is_response else _MESSAGE_ID, b"\0\0")
    return Command(
        command_field=field,
        message_id=_unsigned_short(message_id),
        has_data_set=_unsigned_short(elements[_DATA_SET_TYPE]) != NO_DATA_SET,
        sop_class_uid=_text(sop_class),
        sop_instance_uid=_text(sop_instance),
        type_id=_unsigned_short(elements.get(_TYPE_ID[field], b"\0\0")) if field in _TYPE_ID else 0,
        status=_unsigned_short(elements.get(_STATUS, b"\0\0")) if is_response else 0,
    )


def encode_event_report(message_id: int, sop_class_uid: str, sop_instance_uid: str, event_type: int) -> bytes:
    """N-EVENT-REPORT-RQ with a data set (PS3.7 section 10.3.1)."""
    return _with_group_length(
        [
            _element(_AFFECTED_SOP_CLASS_UID, _padded(sop_class_uid)),
            _element(_COMMAND_FIELD, _US.pack(N_EVENT_REPORT_RQ)),
            _element(_MESSAGE_ID, _US.pack(message_id)),
            _element(_DATA_SET_TYPE, _US.pack(HAS_DATA_SET)),
            _element(_AFFECTED_SOP_INSTANCE_UID, _padded(sop_instance_uid)),
            _element(_EVENT_TYPE_ID, _US.pack(event_type)),
        ]
    )


def encode_response(command: Command, status: int, comment: str = "", error_id: int = 0) -> bytes:
    """The response to `command` with this status.

    comment: why it failed, at most 64 characters, free of patient data (0000,0902).
    error_id: what the service class adds to the status (0000,0903); 0 leaves it out.
    """
    elements = []
    if command.sop_class_uid:
        elements.append(_element(_AFFECTED_SOP_CLASS_UID, _padded(command.sop_class_uid)))
    elements.append(_element(_COMMAND_FIELD, _US.pack(command.command_field | RESPONSE)))
    elements.append(_element(_MESSAGE_ID_RESPONDED_TO, _US.pack(command.message_id)))
    elements.append(_element(_DATA_SET_TYPE, _US.pack(NO_DATA_SET)))
    elements.append(_element(_STATUS, _US.pack(status)))
    if comment:
        text = comment[:64].encode("ascii", "replace")
        elements.append(_element(_ERROR_COMMENT, text + b" " * (len(text) % 2)))
    if error_id:
        elements.append(_element(_ERROR_ID, _US.pack(error_id)))
    if command.sop_instance_uid:
        elements.append(_element(_AFFECTED_SOP_INSTANCE_UID, _padded(command.sop_instance_uid)))
    if command.command_field in _TYPE_ID:
        elements.append(_element(_TYPE_ID[command.command_field], _US.pack(command.type_id)))
    return _with_group_length(elements)


def _with_group_length(elements: list[bytes]) -> bytes:
    body = b"".join(elements)
    return _element(0x0000, struct.pack("<I", len(body))) + body


def _elements(data: bytes | bytearray | memoryview) -> dict[int, bytes]:
    elements: dict[int, bytes] = {}
    position, end = 0, len(data)
    while position < end:
        if end - position < _ELEMENT.size:
            raise InvalidMessage("a command element is cut off")
        group, element, length = _ELEMENT.unpack_from(data, position)
        position += _ELEMENT.size
        if group != 0x0000 or position + length > end:
            raise InvalidMessage("a command element does not fit the command set")
        if element in elements:
            raise InvalidMessage("a command element occurs twice")
        elements[element] = bytes(data[position : position + length])
        position += length
    return elements


def _unsigned_short(value: bytes) -> int:
    if len(value) != _US.size:
        raise InvalidMessage("a command value is not two bytes long")
    return int(_US.unpack(value)[0])


def _text(value: bytes) -> str:
    return value.decode("latin-1").rstrip("\0 ")


def _padded(uid: str) -> bytes:
    value = uid.encode("latin-1")
    return value + b"\0" * (len(value) % 2)


def _element(element: int, value: bytes) -> bytes:
    return _ELEMENT.pack(0x0000, element, len(value)) + value
