"""DICOM JSON from strangers (PS3.18 annex F): checked by form and bounded, then read by tag. Nothing is followed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from dicom_gateway.workitem_errors import DicomJSONMalformed

DataSet = Mapping[str, Mapping[str, Any]]
"""Tag in eight hexadecimal capitals → `vr` and `Value`; the data sets of a sequence are such mappings too."""

BYTES_MAX = 1024 * 1024
ELEMENTS_MAX = 5_000
DEPTH_MAX = 8
TEXT_LENGTH_MAX = 10_240
_TAG = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_VR = re.compile(r"[A-Z]{2}", re.ASCII)


def read_data_set(body: bytes) -> DataSet:
    """One data set, alone or in an array of one. Raises `DicomJSONMalformed` with the reason.

    Bulk data and inline binaries are refused: nothing that is read here has them.
    """
    if len(body) > BYTES_MAX:
        raise DicomJSONMalformed(f"more than {BYTES_MAX} bytes")
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        raise DicomJSONMalformed("this is not JSON") from None
    if isinstance(read, list) and len(read) == 1:
        read = read[0]
    return _Budget().data_set(read, 1)


def read_data_sets(body: bytes, most: int) -> list[DataSet]:
    """The first `most` data sets of an array, each within the bounds of one. Raises `DicomJSONMalformed`."""
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        raise DicomJSONMalformed("this is not JSON") from None
    if not isinstance(read, list):
        raise DicomJSONMalformed("this is no array of data sets")
    return [_Budget().data_set(one, 1) for one in read[:most]]


class _Budget:
    """Counts elements over all levels."""

    def __init__(self) -> None:
        self._left = ELEMENTS_MAX

    def data_set(self, read: Any, depth: int) -> DataSet:
        if not isinstance(read, dict):
            raise DicomJSONMalformed("a data set is an object with a member for each attribute")
        if depth > DEPTH_MAX:
            raise DicomJSONMalformed(f"sequences are nested more than {DEPTH_MAX} deep")
        self._left -= len(read)
        if self._left < 0:
            raise DicomJSONMalformed(f"more than {ELEMENTS_MAX} attributes")
        return {tag.upper(): self._element(tag, element, depth) for tag, element in read.items()}

    def _element(self, tag: str, element: Any, depth: int) -> Mapping[str, Any]:
        if _TAG.fullmatch(tag) is None:
            raise DicomJSONMalformed("the name of an attribute is its tag, eight hexadecimal digits")
        if not isinstance(element, dict) or not set(element) <= {"vr", "Value"}:
            raise DicomJSONMalformed(f"{tag}: an attribute has vr and Value, nothing else")
        vr, values = element.get("vr"), element.get("Value", [])
        if not isinstance(vr, str) or _VR.fullmatch(vr) is None:
            raise DicomJSONMalformed(f"{tag}: no value representation")
        if not isinstance(values, list) or len(values) > ELEMENTS_MAX:
            raise DicomJSONMalformed(f"{tag}: Value is an array")
        self._left -= len(values)
        if self._left < 0:
            raise DicomJSONMalformed(f"more than {ELEMENTS_MAX} attributes and values")
        checked = [self._value(tag, vr, value, depth) for value in values]
        return {"vr": vr, "Value": checked} if checked else {"vr": vr}

    def _value(self, tag: str, vr: str, value: Any, depth: int) -> Any:
        if vr == "SQ":
            return self.data_set({} if value is None else value, depth + 1)
        if vr == "PN" and isinstance(value, dict):
            if not set(value) <= {"Alphabetic", "Ideographic", "Phonetic"}:
                raise DicomJSONMalformed(f"{tag}: a name has Alphabetic, Ideographic and Phonetic")
            return {group: _text(tag, name) for group, name in value.items()}
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        return _text(tag, value)


def _text(tag: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > TEXT_LENGTH_MAX or "\0" in value:
        raise DicomJSONMalformed(
            f"{tag}: a value is a number or a text of at most {TEXT_LENGTH_MAX} characters"
        )
    return value


def values(data_set: DataSet, tag: str) -> list[Any]:
    """The values of an attribute; none where it is absent or empty."""
    return list(data_set.get(tag, {}).get("Value", []))


def text(data_set: DataSet, tag: str) -> str:
    """The first value as text; "" where there is none."""
    found = values(data_set, tag)
    if not found or found[0] is None:
        return ""
    return str(found[0].get("Alphabetic", "")) if isinstance(found[0], Mapping) else str(found[0])


def items(data_set: DataSet, tag: str) -> list[DataSet]:
    """The items of a sequence."""
    return [item for item in values(data_set, tag) if isinstance(item, Mapping)]


def element(vr: str, *given: Any) -> Mapping[str, Any]:
    """An attribute to write: without a value it is empty."""
    present = [value for value in given if value not in (None, "")]
    return {"vr": vr, "Value": present} if present else {"vr": vr}


def code(value: str, scheme: str, meaning: str) -> DataSet:
    """An item of a code sequence (PS3.3 section 8.8)."""
    return {
        "00080100": element("SH", value),
        "00080102": element("SH", scheme),
        "00080104": element("LO", meaning),
    }
