"""A result as FHIR R4 transaction: DiagnosticReport, one Observation for each item, the Device that made them.

Every resource goes under an identifier of its own by conditional update, so that a transaction that is sent again
changes nothing, and a later state of the result takes the place of the earlier one. The patient is found by identifier
and made only where the server has none. Orders and studies are named by their identifiers; they are not ours to make.
"""

from __future__ import annotations

import base64
import uuid
from typing import Any
from urllib.parse import quote

from fhir.resources.R4B.bundle import Bundle
from pydicom.sr.coding import Code

from dicom_gateway import result_codes
from dicom_gateway.result_context import device_uid
from pipeline.destinations import DestinationRecord
from pipeline.report_view import ReportModel
from pipeline.ways_out.conclusion import conclusion
from pipeline.ways_out.items import Item, items_of
from pipeline.ways_out.plain import SENTENCES_MAX, iso_date, name_groups, plain
from pipeline.ways_out.told import Told

Json = dict[str, Any]

_URI = "urn:ietf:rfc3986"
_SYSTEMS = {
    "SCT": "http://snomed.info/sct",
    "LN": "http://loinc.org",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "UCUM": "http://unitsofmeasure.org",
    "RADELEMENT": "http://radelement.org",
}
_GENDERS = {"M": "male", "F": "female", "O": "other"}
_IDENTIFIER_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
# Names our resources (RFC 4122 version 5); drawn once.
_NAMESPACE = uuid.UUID("0f2f2b0e-8f43-4b6e-9a77-0d1a0c6a5e11")


def fhir_bundle(told: Told, target: DestinationRecord, pdf: bytes | None) -> bytes:
    """The transaction as JSON, checked against the definitions of R4. pdf: the report, where it is to lie inside."""
    entries = [_report_entry(told, target, pdf)]
    model = told.report.model if told.report is not None else None
    entries += [_device_entry(model)] if model is not None else []
    entries += [_observation_entry(told, target, item) for item in items_of(told)]
    # What the revision before had said under higher numbers stands no longer.
    gone = range(len(items_of(told)) + 1, told.replaced_findings + 1)
    entries += [_withdrawn_entry(told, target, number) for number in gone]
    entries += [_patient_entry(told, target)] if _patient_identifier(told, target) else []
    record = _pruned({"resourceType": "Bundle", "type": "transaction", "entry": entries})
    return Bundle.model_validate(record).model_dump_json().encode()


def _pruned(value: Any) -> Any:
    """Without what is empty, which FHIR does not allow."""
    if isinstance(value, dict):
        pruned = {name: _pruned(one) for name, one in value.items()}
        return {name: one for name, one in pruned.items() if one not in ("", None, [], {})}
    if isinstance(value, list):
        return [one for one in map(_pruned, value) if one not in ("", None, [], {})]
    return value


def _report_entry(told: Told, target: DestinationRecord, pdf: bytes | None) -> Json:
    resource: Json = {
        "resourceType": "DiagnosticReport",
        "identifier": [_own_identifier(told, "report")],
        "status": told.status,
        "category": [_concept("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD", "Radiology")],
        "code": _coded(Code("18748-4", "LN", "Diagnostic imaging study")),
        "issued": told.at.isoformat(),
        "conclusion": plain(conclusion(told), SENTENCES_MAX),
    }
    resource |= _about(told, target)
    resource["result"] = [
        {"reference": _full_url(told, f"item {one.number}")} for one in items_of(told) if not one.is_rejected
    ]
    if told.study_instance_uid:
        study = {"system": "urn:dicom:uid", "value": f"urn:oid:{told.study_instance_uid}"}
        resource["imagingStudy"] = [{"type": "ImagingStudy", "identifier": study}]
    if told.reviewer:
        resource["resultsInterpreter"] = [{"type": "Practitioner", "display": plain(told.reviewer)}]
    resource["presentedForm"] = _presented_forms(told, pdf)
    return _put(told, "report", resource)


def _presented_forms(told: Told, pdf: bytes | None) -> list[Json]:
    if pdf is not None:
        data = base64.b64encode(pdf).decode("ascii")
        return [{"contentType": "application/pdf", "data": data, "creation": told.at.isoformat()}]
    return [{"contentType": "text/html", "url": told.report_url}] if told.report_url else []


def _about(told: Told, target: DestinationRecord) -> Json:
    """Of whom, of which order and when: the same in report and observations."""
    about: Json = {}
    if _patient_identifier(told, target):
        about["subject"] = {"reference": _full_url(told, "patient")}
    accession = plain(told.accession_number)
    if accession:
        identifier: Json = {"type": _concept(_IDENTIFIER_TYPES, "ACSN", "Accession ID"), "value": accession}
        if target.accession_system:
            identifier["system"] = target.accession_system
        about["basedOn"] = [{"type": "ServiceRequest", "identifier": identifier}]
    return about | {"effectiveDateTime": iso_date(told.study_date)}


def _observation_entry(told: Told, target: DestinationRecord, item: Item) -> Json:
    status = told.status if told.status != "cancelled" else "final"
    components: list[Json] = [
        {
            "code": _coded(name),
            "valueQuantity": {
                "value": value, "unit": unit.value, "system": _SYSTEMS["UCUM"], "code": unit.value,
            },
        }
        for name, value, unit in item.measured
    ]  # fmt: skip
    components += [
        {"code": _coded(name), "valueCodeableConcept": _coded(answer)} for name, answer in item.coded
    ]
    components += [
        {"code": _coded(name), "valueString": plain(text)} for name, text in item.texts if plain(text)
    ]
    resource: Json = {
        "resourceType": "Observation",
        "identifier": [_own_identifier(told, f"item {item.number}")],
        "status": "entered-in-error" if item.is_rejected else status,
        "category": [
            _concept("http://terminology.hl7.org/CodeSystem/observation-category", "imaging", "Imaging")
        ],
        "code": _coded(item.code),
        "issued": told.at.isoformat(),
        "valueCodeableConcept": _coded(item.answer) if item.answer is not None else None,
        "bodySite": _coded(item.site) if item.site is not None else None,
        "device": {"reference": _full_url(told, "device")} if told.report and told.report.model else None,
        "component": components,
    }
    resource |= _about(told, target)
    return _put(told, f"item {item.number}", resource)


def _withdrawn_entry(told: Told, target: DestinationRecord, number: int) -> Json:
    resource: Json = {
        "resourceType": "Observation",
        "identifier": [_own_identifier(told, f"item {number}")],
        "status": "entered-in-error",
        "code": _coded(result_codes.LESION),
    }
    return _put(told, f"item {number}", resource | _about(told, target))


def _device_entry(model: ReportModel) -> Json:
    """The model in its version: one Device for all its results."""
    uid = device_uid(model.name, model.version, model.weights_sha256)
    identifier: Json = {"system": _URI, "value": f"urn:oid:{uid}"}
    resource: Json = {
        "resourceType": "Device",
        "identifier": [identifier],
        "manufacturer": plain(model.publisher),
        "deviceName": [{"name": plain(model.name), "type": "model-name"}],
        "version": [{"value": plain(model.version)}, {"value": f"weights sha256 {model.weights_sha256}"}],
        "type": _coded(result_codes.ARTIFICIAL_INTELLIGENCE),
        "note": [{"text": plain(model.clearance_status)}, {"text": plain(model.intended_use, 1000)}],
    }
    request = {"method": "PUT", "url": f"Device?identifier={_token(_URI, identifier['value'])}"}
    return {"fullUrl": _device_url(model), "resource": resource, "request": request}


def _patient_entry(told: Told, target: DestinationRecord) -> Json:
    identifier = _patient_identifier(told, target)
    names = [{"family": family, "given": [given]} for family, given in name_groups(told.patient_name)]
    resource: Json = {
        "resourceType": "Patient",
        "identifier": [identifier],
        "name": names,
        "birthDate": iso_date(told.patient_birth_date),
        "gender": _GENDERS.get(told.patient_sex.strip().upper()),
    }
    token = _token(identifier.get("system"), identifier["value"])
    return {
        "fullUrl": _full_url(told, "patient"),
        "resource": resource,
        "request": {"method": "POST", "url": "Patient", "ifNoneExist": f"identifier={token}"},
    }


def _patient_identifier(told: Told, target: DestinationRecord) -> Json:
    value = plain(told.patient_id)
    if not value:
        return {}
    return {"value": value} | ({"system": target.patient_system} if target.patient_system else {})


def _put(told: Told, role: str, resource: Json) -> Json:
    token = _token(_URI, _own_identifier(told, role)["value"])
    request = {"method": "PUT", "url": f"{resource['resourceType']}?identifier={token}"}
    return {"fullUrl": _full_url(told, role), "resource": resource, "request": request}


def _own_identifier(told: Told, role: str) -> dict[str, str]:
    """Of the report of a product on a study, whatever its state and revision, and of its items by number."""
    name = uuid.uuid5(_NAMESPACE, chr(31).join((told.study_id, told.product, role)))
    return {"system": _URI, "value": f"urn:uuid:{name}"}


def _full_url(told: Told, role: str) -> str:
    """What entries of the same transaction call one another."""
    if role == "device" and told.report is not None and told.report.model is not None:
        return _device_url(told.report.model)
    return f"urn:uuid:{uuid.uuid5(_NAMESPACE, chr(31).join((told.message_uid, role)))}"


def _device_url(model: ReportModel) -> str:
    return (
        f"urn:uuid:{uuid.uuid5(_NAMESPACE, chr(31).join((model.name, model.version, model.weights_sha256)))}"
    )


def _token(system: str | None, value: str) -> str:
    """A token of a search (FHIR R4 3.1.1.4.1), its own signs escaped, for a URL."""
    escaped = [
        "".join(f"\\{one}" if one in "\\,$|" else one for one in part) for part in (system, value) if part
    ]
    return quote("|".join(escaped), safe=":")


def _coded(code: Code) -> Json:
    system = _SYSTEMS.get(code.scheme_designator, f"urn:radmeter:{code.scheme_designator}")
    return _concept(system, code.value, plain(code.meaning))


def _concept(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}
