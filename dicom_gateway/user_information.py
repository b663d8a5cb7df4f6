"""The user information item of A-ASSOCIATE-RQ, read and answered (PS3.7 annex D.3.3).

What is negotiated there and what we make of it:

- maximum length, implementation class UID and version name: kept;
- asynchronous operations window: declined by answering one operation at a time (D.3.3.3);
- role selection: answered for each SOP class (D.3.3.4, see `negotiation`);
- SOP class (common) extended negotiation: not answered, which means the defaults (D.3.3.5, D.3.3.6);
- user identity: its form is checked, its contents are never kept, compared or logged. It is not answered, which
  tells a requestor who wants a positive response that there is none (D.3.3.7).
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from dicom_gateway.errors import InvalidPDU
from study.errors import InvalidUID
from study.identifiers import validate_uid

MAXIMUM_LENGTH_ITEM = 0x51
IMPLEMENTATION_CLASS_UID_ITEM = 0x52
ASYNCHRONOUS_OPERATIONS_ITEM = 0x53
ROLE_SELECTION_ITEM = 0x54
IMPLEMENTATION_VERSION_NAME_ITEM = 0x55
USER_IDENTITY_ITEM = 0x58

_ROLES_MAX = 128  # one for each presentation context
_VERSION_NAME_LENGTH_MAX = 16
_ITEM = struct.Struct(">BxH")


@dataclass(frozen=True)
class RoleSelection:
    """Which roles the requestor takes for a SOP class; without one it is SCU only."""

    sop_class_uid: str
    is_scu: bool
    is_scp: bool


@dataclass(frozen=True)
class UserInformation:
    """What the requestor says about itself.

    pdu_length_max: the longest P-DATA-TF body it reads; 0 means no limit.
    implementation_class_uid, implementation_version_name: a UID by form and printable text, or "".
    """

    pdu_length_max: int = 0
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    wants_asynchronous_operations: bool = False
    roles: tuple[RoleSelection, ...] = ()


NOTHING_SAID = UserInformation()


def items(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(type, value) of each item of a variable field (PS3.8 section 9.3.2)."""
    position, end = 0, len(data)
    while position < end:
        if end - position < _ITEM.size:
            raise InvalidPDU("an item is cut off")
        item_type, length = _ITEM.unpack_from(data, position)
        position += _ITEM.size
        if position + length > end:
            raise InvalidPDU("an item is longer than what holds it")
        yield item_type, data[position : position + length]
        position += length


def encode_item(item_type: int, value: bytes) -> bytes:
    return _ITEM.pack(item_type, len(value)) + value


def parse_user_information(item: memoryview) -> UserInformation:
    """Read the sub-items; raise `InvalidPDU` for any length that does not add up."""
    values: dict[int, memoryview] = {}
    roles: dict[str, RoleSelection] = {}
    for item_type, value in items(item):
        values.setdefault(item_type, value)
        if item_type == ROLE_SELECTION_ITEM and len(roles) < _ROLES_MAX:
            role = _role_selection(value)
            roles.setdefault(role.sop_class_uid, role)
        elif item_type == USER_IDENTITY_ITEM:
            _check_user_identity(value)
    length = values.get(MAXIMUM_LENGTH_ITEM, memoryview(bytes(4)))
    if len(length) != 4:
        raise InvalidPDU("the maximum length item is not four bytes long")
    return UserInformation(
        pdu_length_max=int.from_bytes(length, "big"),
        implementation_class_uid=_implementation_class_uid(
            values.get(IMPLEMENTATION_CLASS_UID_ITEM, memoryview(b""))
        ),
        implementation_version_name=_version_name(
            values.get(IMPLEMENTATION_VERSION_NAME_ITEM, memoryview(b""))
        ),
        wants_asynchronous_operations=ASYNCHRONOUS_OPERATIONS_ITEM in values,
        roles=tuple(roles.values()),
    )


def encode_user_information(
    request: UserInformation,
    pdu_length_max: int,
    implementation_class_uid: str,
    implementation_version_name: str,
    roles: tuple[RoleSelection, ...],
) -> bytes:
    """The sub-items of A-ASSOCIATE-AC, in the order of their types."""
    parts = [
        encode_item(MAXIMUM_LENGTH_ITEM, struct.pack(">I", pdu_length_max)),
        encode_item(IMPLEMENTATION_CLASS_UID_ITEM, implementation_class_uid.encode()),
    ]
    if request.wants_asynchronous_operations:
        parts.append(encode_item(ASYNCHRONOUS_OPERATIONS_ITEM, struct.pack(">HH", 1, 1)))
    for role in roles:
        uid = role.sop_class_uid.encode()
        parts.append(
            encode_item(
                ROLE_SELECTION_ITEM, struct.pack(">H", len(uid)) + uid + bytes((role.is_scu, role.is_scp))
            )
        )
    parts.append(encode_item(IMPLEMENTATION_VERSION_NAME_ITEM, implementation_version_name.encode()))
    return b"".join(parts)


def _role_selection(value: memoryview) -> RoleSelection:
    """PS3.7 table D.3-9."""
    length = int.from_bytes(value[:2], "big")
    if len(value) != length + 4:
        raise InvalidPDU("a role selection does not fit its item")
    uid = bytes(value[2 : 2 + length]).decode("latin-1").rstrip("\0 ")
    return RoleSelection(uid, is_scu=value[-2] == 1, is_scp=value[-1] == 1)


def _check_user_identity(value: memoryview) -> None:
    """PS3.7 table D.3-14: type, response requested, two fields with their lengths."""
    position = 2
    for _ in range(2):
        if len(value) < position + 2:
            raise InvalidPDU("a user identity is cut off")
        position += 2 + int.from_bytes(value[position : position + 2], "big")
    if len(value) != position:
        raise InvalidPDU("a user identity does not fit its item")


def _implementation_class_uid(value: memoryview) -> str:
    with contextlib.suppress(InvalidUID):
        return validate_uid(bytes(value[:65]).decode("latin-1").rstrip("\0 "))
    return ""


def _version_name(value: memoryview) -> str:
    text = bytes(value[:_VERSION_NAME_LENGTH_MAX]).decode("latin-1")
    return "".join(character for character in text if " " <= character <= "~").strip()
