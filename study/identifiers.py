"""Identifiers, validated on birth."""

from __future__ import annotations

import re

from study.errors import InvalidAETitle, InvalidUID

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
_UID_LENGTH_MAX = 64
_AE_TITLE_LENGTH_MAX = 16


def validate_uid(value: str) -> str:
    """Return `value` if it is a UID by form (PS3.5 section 9.1), else raise `InvalidUID`.

    A component with a leading zero is against the standard but common in the field, so it passes.
    """
    if len(value) > _UID_LENGTH_MAX or _UID.fullmatch(value) is None:
        raise InvalidUID(value)
    return value


class AETitle(str):
    """An Application Entity title without its padding (PS3.5 section 6.2, VR AE)."""

    __slots__ = ()

    def __new__(cls, value: str) -> AETitle:
        text = value.strip(" ")
        printable = all(" " <= character <= "~" and character != "\\" for character in text)
        if not 1 <= len(text) <= _AE_TITLE_LENGTH_MAX or not printable:
            raise InvalidAETitle(value)
        return super().__new__(cls, text)
