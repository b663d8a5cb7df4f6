"""A result as HL7 v2.5.1 ORU^R01 (chapter 7): one OBR, the conclusion, each item with its measurements, the report."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pydicom.sr.coding import Code

from dicom_gateway import result_codes
from dicom_gateway.result_context import device_uid
from pipeline.destinations import CHARACTER_SETS, DestinationRecord
from pipeline.ways_out.conclusion import conclusion
from pipeline.ways_out.items import Item, items_of
from pipeline.ways_out.plain import SENTENCES_MAX, iso_date, name_groups, plain
from pipeline.ways_out.told import Told

# DiagnosticReport.status → result status (table 0123) and observation status (table 0085).
_STATUS = {"preliminary": "P", "final": "F", "amended": "C", "corrected": "C", "cancelled": "X"}
_ESCAPES = {"|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\\": "\\E\\"}
# Table 0396 knows SCT, LN, DCM, UCUM; others are local under 99….
_LOCAL = {"RADELEMENT": "99RADELEMENT"}
_IMPRESSION = Code("19005-8", "LN", "Radiology Imaging study [Impression] (narrative)")
_STUDY = Code("113014", "DCM", "DICOM Study")
# Representations of a PN in the order of its groups (table 4000).
_REPRESENTATIONS = ("A", "I", "P")


@dataclass(frozen=True)
class OruMessage:
    """control_id: MSH-10, which the acknowledgement repeats. content: in the character set of MSH-18."""

    control_id: str
    content: bytes


def oru_message(told: Told, target: DestinationRecord, facility: str, pdf: bytes | None) -> OruMessage:
    """facility: MSH-4, who sends. pdf: the report, where it is to lie inside."""
    control_id = hashlib.sha256(told.message_uid.encode()).hexdigest()[:20]
    segments = [
        _header(told, target, facility, control_id),
        _patient(told, target),
        *_order(told),
        *_observations(told, pdf),
    ]
    text = "".join(f"{segment.rstrip('|')}\r" for segment in segments)
    return OruMessage(control_id, text.encode(CHARACTER_SETS[target.character_set], errors="replace"))


def escape(text: str, longest: int = 250) -> str:
    """Text of a field: without control characters, the five delimiters as escape sequences (chapter 2.7)."""
    return "".join(_ESCAPES.get(one, one) for one in plain(text, longest))


def _header(told: Told, target: DestinationRecord, facility: str, control_id: str) -> str:
    fields = [
        "MSH", "^~\\&", "RADMETER", escape(facility), escape(target.receiving_application or ""),
        escape(target.receiving_facility or ""), _moment(told.at), "", "ORU^R01^ORU_R01", control_id, "P", "2.5.1",
        "", "", "", "", "", target.character_set,
    ]  # fmt: skip
    return "|".join(fields)


def _patient(told: Told, target: DestinationRecord) -> str:
    number = escape(told.patient_id)
    authority = escape(target.patient_system or "")
    names = "~".join(
        f"{escape(family)}^{escape(given)}^^^^^L^{representation}"
        for (family, given), representation in zip(
            name_groups(told.patient_name), _REPRESENTATIONS, strict=False
        )
    )
    born = (iso_date(told.patient_birth_date) or "").replace("-", "")
    sex = told.patient_sex.strip().upper()
    identifier = f"{number}^^^{authority}^MR" if number else ""
    return "|".join(["PID", "1", "", identifier, "", names, "", born, sex if sex in ("M", "F", "O") else "U"])


def _order(told: Told) -> Iterator[str]:
    accession = escape(told.accession_number)
    filler = accession or told.study_id
    is_radiograph = told.report is not None and told.report.radiograph is not None
    procedure = result_codes.RADIOGRAPHY_PROCEDURE if is_radiograph else result_codes.CT_PROCEDURE
    studied = (iso_date(told.study_date) or "").replace("-", "")
    fields = ["OBR", "1", "", filler, _coded(procedure), "", "", studied, *[""] * 10, accession]
    fields += ["", "", "", _moment(told.at), "", "RAD", _STATUS[told.status]]
    yield "|".join(["ORC", "RE", "", filler])
    yield "|".join(fields)


def _observations(told: Told, pdf: bytes | None) -> Iterator[str]:
    rows: list[tuple[str, str, str, str, str]] = []  # type, what, sub-id, value, unit
    if told.study_instance_uid:
        rows.append(("HD", _coded(_STUDY), "", escape(told.study_instance_uid), ""))
    rows.append(("TX", _coded(_IMPRESSION), "", escape(conclusion(told), SENTENCES_MAX), ""))
    title = _coded(result_codes.DOCUMENT_TITLE_AI_REPORT)
    if pdf is not None:
        rows.append(("ED", title, "", f"RADMETER^AP^PDF^Base64^{base64.b64encode(pdf).decode('ascii')}", ""))
    elif told.report_url:
        rows.append(("RP", title, "", f"{escape(told.report_url, 1000)}^RADMETER^TEXT^HTML", ""))
    numbered = [(row, _STATUS[told.status]) for row in rows]
    for item in items_of(told):
        # A finding that the reviewer does not share is taken back (table 0085: D, delete).
        status = "D" if item.is_rejected else _STATUS[told.status]
        numbered += [(row, status) for row in _item_rows(item)]
    gone = range(len(items_of(told)) + 1, told.replaced_findings + 1)
    numbered += [
        (("CWE", _coded(result_codes.LESION), str(number), _coded(result_codes.NOT_DETECTED), ""), "D")
        for number in gone
    ]
    model = told.report.model if told.report is not None else None
    equipment = ""
    if model is not None:
        uid = device_uid(model.name, model.version, model.weights_sha256)
        equipment = f"{escape(f'{model.name} {model.version}')}^^{uid}^ISO"
    for number, ((kind, what, sub_id, value, unit), status) in enumerate(numbered, start=1):
        fields = ["OBX", str(number), kind, what, sub_id, value, unit, "", "", "", "", status]
        yield "|".join([*fields, "", "", _moment(told.at), "", "", "", equipment])


def _item_rows(item: Item) -> Iterator[tuple[str, str, str, str, str]]:
    sub_id = str(item.number)
    if item.answer is not None:
        yield "CWE", _coded(item.code), sub_id, _coded(item.answer), ""
    else:
        yield "CWE", _coded(result_codes.ANATOMICAL_STRUCTURE), sub_id, _coded(item.code), ""
    if item.site is not None:
        yield "CWE", _coded(Code("363698007", "SCT", "Finding site")), sub_id, _coded(item.site), ""
    for name, value, unit in item.measured:
        yield "NM", _coded(name), sub_id, f"{value:.10g}", f"{escape(unit.value)}^{escape(unit.meaning)}^UCUM"
    for name, answer in item.coded:
        yield "CWE", _coded(name), sub_id, _coded(answer), ""
    for name, text in item.texts:
        yield "ST", _coded(name), sub_id, escape(text), ""


def _coded(code: Code) -> str:
    scheme = _LOCAL.get(code.scheme_designator, code.scheme_designator)
    return f"{escape(code.value)}^{escape(code.meaning)}^{escape(scheme)}"


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000")
