"""What STOW-RS answers: a verdict on each instance, and one HTTP status for all of them (PS3.18 section 10.5.3)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree

from dicom_gateway import errors
from dicom_gateway.receive_files import FileVerdict
from dicom_gateway.status import (
    CANNOT_UNDERSTAND,
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
    RESOURCE_LIMITATION,
    SOP_CLASS_NOT_SUPPORTED,
    STATUS_OF,
    is_stored,
    status_of,
)

JSON, XML = "application/dicom+json", "application/dicom+xml"
TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122

# PS3.18 table I.2-2, and where it has nothing, what C-STORE would answer.
FAILURE_REASONS: Mapping[type[errors.RequestRefused], int] = {
    **STATUS_OF,
    errors.FileUnreadable: CANNOT_UNDERSTAND,
    errors.SOPClassNotSupported: SOP_CLASS_NOT_SUPPORTED,
    errors.TransferSyntaxNotSupported: TRANSFER_SYNTAX_NOT_SUPPORTED,
    errors.StudyDoesNotMatch: DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
    errors.InstanceTooLarge: RESOURCE_LIMITATION,
}

_FAILED_SOP_SEQUENCE = "00081198"
_REFERENCED_SOP_SEQUENCE = "00081199"
_OTHER_FAILURES_SEQUENCE = "0008119A"
_KEYWORDS = {
    _FAILED_SOP_SEQUENCE: "FailedSOPSequence",
    _REFERENCED_SOP_SEQUENCE: "ReferencedSOPSequence",
    _OTHER_FAILURES_SEQUENCE: "OtherFailuresSequence",
    "00081150": "ReferencedSOPClassUID",
    "00081155": "ReferencedSOPInstanceUID",
    "00081196": "WarningReason",
    "00081197": "FailureReason",
}


def failure_reason(refusal: errors.RequestRefused) -> int:
    """The Failure Reason (0008,1197) of a refusal."""
    return FAILURE_REASONS.get(type(refusal), status_of(refusal))


class StowResult:
    """Collects the verdicts of one request. Not for several threads."""

    def __init__(self) -> None:
        self._stored: list[FileVerdict] = []
        self._refused: list[FileVerdict] = []
        self._broken_off: errors.BodyNotTaken | None = None

    def add(self, verdict: FileVerdict) -> None:
        is_kept = verdict.refusal is None or is_stored(failure_reason(verdict.refusal))
        (self._stored if is_kept else self._refused).append(verdict)

    def break_off(self, reason: errors.BodyNotTaken) -> None:
        """The body was not taken to its end; what was stored before counts."""
        self._broken_off = reason

    @property
    def status(self) -> int:
        """HTTP status: 200 all stored, 202 some, 409 none; another one when none was for that one reason."""
        if self._stored:
            warns = any(verdict.refusal is not None for verdict in self._stored)
            return 202 if self._refused or self._broken_off or warns else 200
        kinds = {type(verdict.refusal) for verdict in self._refused}
        if kinds == {errors.OutOfResources}:
            return 503
        if self._broken_off is not None:
            return self._broken_off.http_status
        if kinds == {errors.InstanceTooLarge}:
            return 413
        return 409 if kinds else 400

    def dataset(self) -> dict[str, Any]:
        """The Store Instances Response Module in the DICOM JSON model; no Retrieve URLs: who stores does not read."""
        failed, other = [], []
        for verdict in self._refused:
            assert verdict.refusal is not None
            reason = _element("US", failure_reason(verdict.refusal))
            if verdict.sop_instance_uid:
                failed.append(_reference(verdict) | {"00081197": reason})
            else:
                other.append({"00081197": reason})
        if self._broken_off is not None:
            other.append({"00081197": _element("US", self._broken_off.failure_reason)})
        sequences = {
            _FAILED_SOP_SEQUENCE: failed,
            _REFERENCED_SOP_SEQUENCE: [_stored(verdict) for verdict in self._stored],
            _OTHER_FAILURES_SEQUENCE: other,
        }
        return {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}

    def encode(self, media_type: str) -> bytes:
        """The body: `JSON` or `XML`."""
        if media_type == XML:
            root = ElementTree.Element("NativeDicomModel", {"xml:space": "preserve"})
            _add_xml(root, self.dataset())
            return ElementTree.tostring(root, "unicode").encode()
        return json.dumps(self.dataset(), separators=(",", ":")).encode()


def choose_media_type(accept: str) -> str | None:
    """The type to answer in for an Accept header; None when the client takes neither."""
    wanted = _wanted(accept)
    json_quality = max(wanted.get(each, 0) for each in (JSON, "application/json", "application/*", "*/*"))
    xml_quality = max(wanted.get(each, 0) for each in (XML, "application/xml", "text/xml"))
    if max(json_quality, xml_quality) <= 0:
        return None
    return XML if xml_quality > json_quality else JSON


def _wanted(accept: str) -> dict[str, float]:
    """Media type → quality."""
    wanted: dict[str, float] = {}
    for part in accept.split(",") if accept.strip() else ["*/*"]:
        name, *parameters = (word.strip().lower() for word in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        wanted[name] = quality
    return wanted


def _element(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _reference(verdict: FileVerdict) -> dict[str, Any]:
    return {
        "00081150": _element("UI", verdict.sop_class_uid),
        "00081155": _element("UI", verdict.sop_instance_uid),
    }


def _stored(verdict: FileVerdict) -> dict[str, Any]:
    if verdict.refusal is None:
        return _reference(verdict)
    return _reference(verdict) | {"00081196": _element("US", failure_reason(verdict.refusal))}


def _add_xml(parent: ElementTree.Element, dataset: Mapping[str, Any]) -> None:
    """The Native DICOM Model (PS3.19 section A.1) of a data set in the JSON model."""
    for tag, element in dataset.items():
        attributes = {"tag": tag, "vr": element["vr"], "keyword": _KEYWORDS[tag]}
        node = ElementTree.SubElement(parent, "DicomAttribute", attributes)
        for number, value in _numbered(element["Value"]):
            if isinstance(value, dict):
                _add_xml(ElementTree.SubElement(node, "Item", {"number": number}), value)
            else:
                ElementTree.SubElement(node, "Value", {"number": number}).text = str(value)


def _numbered(values: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    return ((str(number), value) for number, value in enumerate(values, 1))
