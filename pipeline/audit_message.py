"""Events of the audit trail as messages of PS3.15 annex A.5, the schema of its section A.5.1.

The trail holds no patient data. A message names the study by its Study Instance UID, which is looked up when the
message is made, and the patient by the Patient ID only where that is asked for; a patient's name is in none.
"""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from lxml import etree

from pipeline.database import Connection
from pipeline.store import Row, study_key

Code = tuple[str, str, str]
"""(value, coding scheme, meaning)"""

EVENT_CODES = {
    "Application Activity": "110100",
    "Audit Log Used": "110101",
    "DICOM Instances Accessed": "110103",
    "DICOM Instances Transferred": "110104",
    "Export": "110106",
    "Import": "110107",
    "Patient Record": "110110",
    "Procedure Record": "110111",
    "Query": "110112",
    "Security Alert": "110113",
    "User Authentication": "110114",
}
_ACTION_CODES = {
    "Audit Log Used": "R",
    "DICOM Instances Accessed": "R",
    "DICOM Instances Transferred": "C",
    "Export": "R",
    "Import": "C",
    "Patient Record": "R",
    "Procedure Record": "U",
}  # the others execute something: E
_NODE = ("110126", "DCM", "Node Authentication")
_NETWORK = ("110128", "DCM", "Network Configuration")
_SOFTWARE = ("110131", "DCM", "Software Configuration")
_RESTRICTED = ("110132", "DCM", "Use of Restricted Function")
_OBJECT = ("110135", "DCM", "Object Security Attributes Changed")
_USER = ("110137", "DCM", "User Security Attributes Changed")
TYPE_CODES: dict[str, Code] = {
    "application_started": ("110120", "DCM", "Application Start"),
    "application_stopped": ("110121", "DCM", "Application Stop"),
    "signed_in": ("110122", "DCM", "Login"),
    "sign_in_failed": ("110122", "DCM", "Login"),
    "signed_out": ("110123", "DCM", "Logout"),
    "association_rejected": _NODE,
    "tls_failed": _NODE,
    "peer_added": _NETWORK,
    "peer_changed": _NETWORK,
    "peer_removed": _NETWORK,
    "destination_changed": _NETWORK,
    "destination_removed": _NETWORK,
    "model_changed": _SOFTWARE,
    "model_rule_changed": _SOFTWARE,
    "link_changed": _OBJECT,
    "user_changed": _USER,
    "key_changed": _USER,
}
_APPLICATION = ("110150", "DCM", "Application")
_SOURCE = ("110153", "DCM", "Source Role ID")
_DESTINATION = ("110152", "DCM", "Destination Role ID")
# event → what the person's side is, what ours is
_ROLES: dict[str, tuple[Code, Code]] = {
    "Query": (_SOURCE, _DESTINATION),
    "Import": (_SOURCE, _DESTINATION),
    "Export": (_DESTINATION, _SOURCE),
    "DICOM Instances Accessed": (_DESTINATION, _SOURCE),
}
_STUDY_UID = ("110180", "DCM", "Study Instance UID")
_NODE_ID = ("110182", "DCM", "Node ID")
_PATIENT_NUMBER = ("2", "RFC-3881", "Patient Number")
_USER_IDENTIFIER = ("11", "RFC-3881", "User Identifier")
_URI = ("12", "RFC-3881", "URI")


@dataclass(frozen=True)
class AuditSource:
    """Who reports. name: of this installation among others."""

    name: str = "radmeter"


@dataclass(frozen=True)
class StudyNames:
    """What a message calls a study and its patient. patient_id: empty where it is not told."""

    study_instance_uid: str
    patient_id: str = ""


def studies_of(conn: Connection, rows: list[Row], *, with_patients: bool) -> dict[str, StudyNames]:
    """The names of the studies in these events, for the schema's owner; a study that is gone is missing."""
    ids = sorted({study for row in rows if (study := detail_of(row).get("study"))})
    found = conn.execute(
        """SELECT id::text AS id, study_instance_uid, header->>'patient_id' AS patient_id FROM study
           WHERE id = ANY(%s)""",
        ([key for one in ids if (key := study_key(one))],),
    ).fetchall()
    return {
        row["id"]: StudyNames(row["study_instance_uid"], (row["patient_id"] or "") if with_patients else "")
        for row in found
    }


def detail_of(row: Row) -> dict[str, Any]:
    """The detail of an event, whether the row holds its text or what it says."""
    detail = row["detail"]
    found = json.loads(detail) if isinstance(detail, str) else detail
    assert isinstance(found, dict)
    return found


def audit_message(row: Row, source: AuditSource, studies: dict[str, StudyNames]) -> bytes:
    """One event as an AuditMessage in UTF-8. row: as `pipeline.audit.every` gives it."""
    detail = detail_of(row)
    message = etree.Element("AuditMessage")
    _identify_event(message, row, detail)
    user_role, own_role = _ROLES.get(row["event"], (None, _APPLICATION))
    _participant(message, *_requestor(detail, source), role=user_role, is_requestor=True)
    if row["event"] != "Application Activity":
        _participant(message, source.name, "", role=own_role, is_requestor=False)
    etree.SubElement(
        message,
        "AuditSourceIdentification",
        {"AuditSourceID": source.name} | ({"AuditEnterpriseSiteID": row["tenant"]} if row["tenant"] else {}),
    ).append(etree.Element("AuditSourceTypeCode", {"csd-code": "4"}))
    for part in _objects(row, detail, source, studies):
        message.append(part)
    text: bytes = etree.tostring(message, encoding="UTF-8", xml_declaration=True)
    return text


def _identify_event(message: etree._Element, row: Row, detail: dict[str, Any]) -> None:
    event = etree.SubElement(
        message,
        "EventIdentification",
        {
            "EventActionCode": _ACTION_CODES.get(row["event"], "E"),
            "EventDateTime": row["at"].astimezone(UTC).isoformat(timespec="microseconds"),
            "EventOutcomeIndicator": str(row["outcome"]),
        },
    )
    event.append(_coded("EventID", (EVENT_CODES[row["event"]], "DCM", row["event"])))
    kind = TYPE_CODES.get(row["action"], _RESTRICTED if row["event"] == "Security Alert" else None)
    if kind is not None:
        event.append(_coded("EventTypeCode", kind))
    if reason := detail.get("reason"):
        etree.SubElement(event, "EventOutcomeDescription").text = _clean(reason)


def _requestor(detail: dict[str, Any], source: AuditSource) -> tuple[str, str]:
    """(who, from which address) did it: a person, a peer, or we ourselves."""
    who = detail.get("by") or detail.get("user") or detail.get("peer") or detail.get("calling") or source.name
    return str(who), str(detail.get("host") or "")


def _participant(
    message: etree._Element, who: str, host: str, *, role: Code | None, is_requestor: bool
) -> None:
    values = {"UserID": _clean(who), "UserIsRequestor": "true" if is_requestor else "false"}
    if host:
        values |= {"NetworkAccessPointID": _clean(host), "NetworkAccessPointTypeCode": _access_point(host)}
    one = etree.SubElement(message, "ActiveParticipant", values)
    if role is not None:
        one.append(_coded("RoleIDCode", role))


def _access_point(host: str) -> str:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "1"
    return "2"


def _objects(
    row: Row, detail: dict[str, Any], source: AuditSource, studies: dict[str, StudyNames]
) -> Iterator[etree._Element]:
    """What it was done to; the first one carries what our trail says and its place in the chain."""
    facts = {
        "action": row["action"],
        "detail": json.dumps(detail, sort_keys=True, ensure_ascii=False),
        "sequence": str(row["sequence"]),
        "hash": bytes(row["hash"]).hex(),
    }
    study = detail.get("study")
    if study:
        names = studies.get(study)
        uid = names.study_instance_uid if names else study
        yield _object(uid, _STUDY_UID if names else _NODE_ID, "2", "3", study, facts)
        if names and names.patient_id:
            yield _object(names.patient_id, _PATIENT_NUMBER, "1", "1", "", {})
    elif row["event"] == "Query":
        query = base64.b64encode(str(detail.get("route", "")).encode()).decode()
        yield _object(str(detail.get("route", "")), _URI, "2", "24", None, facts, query)
    elif row["event"] == "Audit Log Used":
        yield _object("audit_event", _URI, "2", "13", "Security Audit Log", facts)
    elif row["action"] in ("user_changed", "signed_in", "signed_out", "sign_in_failed"):
        yield _object(str(detail.get("user") or ""), _USER_IDENTIFIER, "1", "11", "", facts)
    else:
        about = detail.get("peer") or detail.get("destination") or detail.get("key") or source.name
        yield _object(str(about), _NODE_ID, "2", "13", "", facts)


def _object(
    identifier: str,
    kind: Code,
    type_code: str,
    role: str,
    name: str | None,
    facts: dict[str, str],
    query: str = "",
) -> etree._Element:
    one = etree.Element(
        "ParticipantObjectIdentification",
        {
            "ParticipantObjectID": _clean(identifier),
            "ParticipantObjectTypeCode": type_code,
            "ParticipantObjectTypeCodeRole": role,
        },
    )
    one.append(_coded("ParticipantObjectIDTypeCode", kind))
    if name is None:
        etree.SubElement(one, "ParticipantObjectQuery").text = query
    else:
        etree.SubElement(one, "ParticipantObjectName").text = _clean(name)
    for fact, value in facts.items():
        # Whatever it is, as base64: nothing from outside becomes XML.
        coded = base64.b64encode(value.encode()).decode()
        etree.SubElement(one, "ParticipantObjectDetail", {"type": f"radmeter {fact}", "value": coded})
    return one


def _coded(name: str, code: Code) -> etree._Element:
    value, scheme, meaning = code
    return etree.Element(name, {"csd-code": value, "codeSystemName": scheme, "originalText": meaning})


def _clean(text: object) -> str:
    """XML has no control characters and no lone surrogates."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))
