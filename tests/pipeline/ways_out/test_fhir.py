"""FHIR R4: what a result becomes on a server, in each of its states, and what a server's refusal says."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from pipeline.destinations import DestinationRecord
from pipeline.errors import NotReached
from pipeline.ways_out.fhir_bundle import fhir_bundle
from pipeline.ways_out.send_fhir import probe, send_bundle
from pipeline.ways_out.told import Told
from tests.pipeline.ways_out.builders import (
    HOSTILE_TEXTS,
    NEGATIVE,
    NODULES,
    RADIOGRAPH,
    VIEW,
    destination,
    told,
)
from tests.pipeline.ways_out.fhir_server import FhirServer
from tests.pipeline.ways_out.http_receiver import answer, http_receiver


def keep(server: FhirServer, one: Told, pdf: bytes | None = None, **changes: Any) -> dict[str, Any]:
    """Send it over the wire; returns the report as the server has it."""
    with http_receiver(server) as receiver:
        target = destination("fhir", url=f"{receiver.url}/fhir", **changes)
        send_bundle(fhir_bundle(one, target, pdf), target, "token-1", None)
        assert receiver.requests[0][2]["authorization"] == "Bearer token-1"
    (report,) = server.resources["DiagnosticReport"].values()
    return dict(report)


def observations(server: FhirServer, report: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that the report names, in its order."""
    names = [one["reference"].split("/")[1] for one in report.get("result", [])]
    return [server.resources["Observation"][name] for name in names]


def quantities(observation: dict[str, Any]) -> dict[str, tuple[float, str]]:
    return {
        one["code"]["coding"][0]["code"]: (float(one["valueQuantity"]["value"]), one["valueQuantity"]["code"])
        for one in observation["component"]
        if "valueQuantity" in one
    }


def test_a_result_is_a_preliminary_report_whose_observations_hold_what_was_measured() -> None:
    server = FhirServer()
    report = keep(server, told(report_url="https://portal.test/studies/1"), accession_system="urn:oid:1.2.9")
    assert report["status"] == "preliminary"
    assert report["category"][0]["coding"][0]["code"] == "RAD"
    assert report["imagingStudy"][0]["identifier"] == {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}
    assert report["basedOn"][0]["identifier"]["value"] == "A-1"
    assert report["basedOn"][0]["identifier"]["system"] == "urn:oid:1.2.9"
    assert report["effectiveDateTime"] == "2026-11-20"
    assert report["presentedForm"] == [{"contentType": "text/html", "url": "https://portal.test/studies/1"}]
    assert "AI result, not reviewed" in report["conclusion"]
    assert "2 findings marked" in report["conclusion"]
    first, second = observations(server, report)
    assert first["code"]["coding"][0] == {
        "system": "http://snomed.info/sct", "code": "786838002", "display": "Pulmonary nodule",
    }  # fmt: skip
    assert first["bodySite"]["coding"][0]["code"] == "44714003"
    assert first["valueCodeableConcept"]["coding"][0]["code"] == "260373001"
    assert quantities(first) == {
        "81827009": (11.0, "mm"), "103339001": (12.4, "mm"), "103340004": (9.6, "mm"), "118565006": (691.5, "mm3"),
        "RDE1303": (6.2, "mm"), "111012": (91.0, "%"), "VOLUME_CHANGE": (166.0, "%"), "VOLUME_DOUBLING": (180.0, "d"),
    }  # fmt: skip
    words = json.dumps(first["component"])
    assert "part-solid" in words
    assert "Increase in size" in words
    assert "4A" in words
    assert quantities(second)["111012"] == (55.0, "%")
    (device,) = server.resources["Device"]
    assert first["device"]["reference"] == second["device"]["reference"] == f"Device/{device}"
    kept = server.resources["Device"][device]
    assert kept["deviceName"][0]["name"] == "lung_nodule_ct"
    assert kept["version"][0]["value"] == "0.1.0"
    (patient,) = server.resources["Patient"].values()
    assert [one["family"] for one in patient["name"]] == ["Yamada", "山田"]
    assert (patient["gender"], patient["birthDate"]) == ("male", "1958-03-12")


def test_sent_twice_it_is_there_once_and_a_patient_whom_the_server_knows_stays_as_he_is() -> None:
    server = FhirServer()
    known = {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:oid:1.2", "value": "P-42"}],
        "active": True,
    }
    server.resources["Patient"] = {"7": known}
    for _ in range(2):
        report = keep(server, told(), patient_system="urn:oid:1.2")
    assert report["subject"] == {"reference": "Patient/7"}
    assert server.resources["Patient"] == {"7": known}
    assert {kind: len(found) for kind, found in server.resources.items()} == {
        "Patient": 1, "DiagnosticReport": 1, "Device": 1, "Observation": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "preliminary"),
        ({"event": "reviewed", "reviewer": "Dr. Wu"}, "final"),
        ({"was_final": True, "revision": 2}, "amended"),
        ({"was_final": True, "revision": 2, "reviewer": "Dr. Wu"}, "corrected"),
        ({"event": "refused", "report": None, "reason_text": "No axial series."}, "cancelled"),
    ],
)
def test_the_status_follows_the_review(changes: dict[str, Any], status: str) -> None:
    server = FhirServer()
    report = keep(server, told(**changes))
    assert report["status"] == status
    assert all(one["status"] == status for one in observations(server, report))
    assert ("resultsInterpreter" in report) == bool(changes.get("reviewer"))


def test_a_study_that_was_not_analysed_never_looks_like_one_without_a_finding() -> None:
    server = FhirServer()
    report = keep(server, told(event="refused", report=None, reason_text="No axial series."))
    assert report["conclusion"] == (
        "Not analysed: No axial series. This is not a negative result: there is no result for this study."
    )
    assert "result" not in report
    assert "Observation" not in server.resources
    negative = keep(FhirServer(), told(report=NEGATIVE))
    assert "marked no finding" in negative["conclusion"]
    assert "does not exclude disease" in negative["conclusion"]


def test_a_search_without_a_finding_is_an_observation_of_its_own() -> None:
    server = FhirServer()
    (one,) = observations(server, keep(server, told(report=NEGATIVE)))
    assert one["code"]["coding"][0]["code"] == "786838002"
    assert one["valueCodeableConcept"]["coding"][0]["code"] == "260415000"


def test_what_a_later_revision_does_not_find_any_more_is_withdrawn() -> None:
    server = FhirServer()
    keep(server, told())
    later = replace(VIEW, findings=NODULES[:1], revision=2)
    report = keep(server, told(revision=2, report=later, replaced_findings=2, message_uid="2.25.2"))
    assert len(report["result"]) == 1
    assert sorted(one["status"] for one in server.resources["Observation"].values()) == [
        "entered-in-error",
        "preliminary",
    ]


def test_a_finding_that_the_reviewer_rejects_is_withdrawn() -> None:
    server = FhirServer()
    keep(server, told())
    report = keep(server, told(event="reviewed", reviewer="Dr. Wu", rejected=(2,), message_uid="2.25.2"))
    assert [one["status"] for one in observations(server, report)] == ["final"]
    assert {one["status"] for one in server.resources["Observation"].values()} == {
        "final",
        "entered-in-error",
    }


def test_the_statements_of_a_radiograph_are_said_one_by_one() -> None:
    server = FhirServer()
    codes = {"pneumothorax": ("36118008", "SCT", "Pneumothorax")}
    found = observations(server, keep(server, told(report=RADIOGRAPH, codes=codes)))
    assert [
        (one["code"]["coding"][0]["code"], one["valueCodeableConcept"]["text"], quantities(one)["111012"])
        for one in found
    ] == [("36118008", "Detected", (91.0, "%")), ("404684003", "Not detected", (10.0, "%"))]


def test_the_report_itself_lies_inside_where_it_is_wanted() -> None:
    report = keep(FhirServer(), told(), pdf=b"%PDF-1.7 report")
    (form,) = report["presentedForm"]
    assert (form["contentType"], base64.b64decode(form["data"])) == ("application/pdf", b"%PDF-1.7 report")


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_texts_of_any_kind_leave_the_bundle_valid(text: str) -> None:
    server = FhirServer()
    hostile = told(
        patient_name=f"{text}^{text}=x", patient_id=text, accession_number=text, study_date=text,
        patient_birth_date=text, patient_sex=text, reviewer="Dr. X", missed=((text, 5.0, None),),
        report=replace(VIEW, findings=(replace(NODULES[0], label=text, lobe=text, category=text),)),
    )  # fmt: skip
    report = keep(server, hostile, patient_system="urn:oid:1.2")
    assert len(json.dumps(server.resources, ensure_ascii=False)) < 40_000
    assert not any(
        ord(one) < 32 or one in "\u202e\u2066\u200f" for one in json.dumps(report, ensure_ascii=False)
    )


def outcome(**issue: Any) -> bytes:
    return json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode()


@pytest.mark.parametrize(
    ("status", "body", "words", "is_refusal"),
    [
        (400, outcome(severity="error", code="invalid", diagnostics="no profile"), "HTTP 400: no profile", True),
        (412, outcome(severity="error", code="x", details={"text": "two patients"}), "two patients", True),
        (401, b"<html>", "HTTP 401", True),
        (503, b"", "HTTP 503", False),
        (302, b"", "redirects", True),
        (200, b"", "without saying what became", False),
        (200, b"[" * 100_000, "without saying what became", False),
        (200, b'{"resourceType": "Bundle", "type": "transaction-response", "entry": []}', "without saying", False),
        (200, outcome(severity="error", code="x" * 9000), "without saying", False),
        (500, outcome(severity="error", code="exception", diagnostics="\x1b[31m" + "y" * 9000), "y" * 290, False),
    ],
)  # fmt: skip
def test_what_a_server_says_of_a_refusal_is_a_short_sentence(
    status: int, body: bytes, words: str, is_refusal: bool
) -> None:
    with http_receiver(answer(status, body, Location="http://169.254.169.254/")) as receiver:
        target = destination("fhir", url=receiver.url)
        with pytest.raises(NotReached, match=words) as raised:
            send_bundle(fhir_bundle(told(), target, None), target, "", None)
        assert len(receiver.requests) == 1, "no other address is asked"
    assert raised.value.is_refusal == is_refusal
    assert len(str(raised.value)) < 400
    assert str(raised.value).isprintable()


def test_one_entry_that_was_not_taken_is_a_failure_of_all() -> None:
    def script(handler: Any, body: bytes) -> None:
        count = len(json.loads(body)["entry"])
        entries: list[Any] = [{"response": {"status": "200"}}] * (count - 1)
        entries.append(
            {
                "response": {
                    "status": "422",
                    "outcome": json.loads(outcome(severity="error", code="x", diagnostics="bad")),
                }
            }
        )
        answer(200, json.dumps({"type": "transaction-response", "entry": entries}).encode())(handler, body)

    with http_receiver(script) as receiver:
        target = destination("fhir", url=receiver.url)
        with pytest.raises(NotReached, match=r"did not take a resource \(422\) bad"):
            send_bundle(fhir_bundle(told(), target, None), target, "", None)


def test_a_server_is_asked_what_it_speaks() -> None:
    def ask(server: Any) -> None:
        with http_receiver(server) as receiver:
            target: DestinationRecord = destination("fhir", url=receiver.url)
            probe(target, "", None)

    ask(FhirServer())
    with pytest.raises(NotReached, match=r"FHIR 5\.0\.0, not R4"):
        ask(FhirServer(version="5.0.0"))
    with pytest.raises(NotReached, match="no FHIR server"):
        ask(answer(200, b"hello"))
