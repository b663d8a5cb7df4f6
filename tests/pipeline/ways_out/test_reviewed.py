"""A finished review reaches the programs that were told of the result."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path

from pipeline.deliver_to import deliver_to
from pipeline.destinations import save_destination
from study.nodule import NoduleKind
from tests.pipeline.conftest import ALPHA, Clinic
from tests.pipeline.review_desk import AT, Desk
from tests.pipeline.ways_out.builders import destination
from tests.pipeline.ways_out.fhir_server import FhirServer
from tests.pipeline.ways_out.http_receiver import http_receiver
from tests.pipeline.ways_out.test_hl7 import listening
from tests.review_seed import seed_result


def test_a_finished_review_makes_the_report_final_and_a_second_one_corrects_it(
    clinic: Clinic, tmp_path: Path
) -> None:
    desk = Desk(clinic, seed_result(clinic.owner, tmp_path, ALPHA), tmp_path)
    services = clinic.services
    server = FhirServer()
    with http_receiver(server) as emr, listening() as ris:
        with clinic.database.transaction(ALPHA) as conn:
            at_emr = destination("fhir", name="emr", url=emr.url, with_pdf=True, events=("reviewed",))
            save_destination(conn, at_emr)
            save_destination(conn, destination("hl7", name="ris", host="127.0.0.1", port=ris.port))
        desk.say(1, "edit", size_mm=7.0)
        desk.say(2, "reject")
        desk.miss(size_mm=6.0, nodule_kind=NoduleKind.SOLID)
        desk.finish()
        desk.issue()
        for name in ("emr", "ris"):
            deliver_to(services, ALPHA, desk.seeded.study_id, name)
        (report,) = server.resources["DiagnosticReport"].values()
        assert report["status"] == "final"
        assert report["resultsInterpreter"][0]["display"] == "dr chen"
        assert base64.b64decode(report["presentedForm"][0]["data"])[:5] == b"%PDF-"
        assert "1 of them rejected on review. 1 changed on review. 1 added on review." in report["conclusion"]
        found = {one["identifier"][0]["value"]: one for one in server.resources["Observation"].values()}
        assert [one["status"] for one in found.values()] == ["final", "entered-in-error", "final"]
        first, _, missed = found.values()
        assert [
            float(one["valueQuantity"]["value"]) for one in first["component"] if "valueQuantity" in one
        ] == [7.0]
        assert [one.get("valueQuantity", {}).get("value") for one in missed["component"]] == [6.0, None]
        assert {str(one[11]) for one in ris.messages[0].segments("OBX")} == {"F", "D"}
        desk.say(2, "accept")
        desk.take_back("2.25.77")
        desk.finish(at=AT + timedelta(hours=1))
        desk.issue()
        deliver_to(services, ALPHA, desk.seeded.study_id, "emr")
    (report,) = server.resources["DiagnosticReport"].values()
    assert report["status"] == "corrected"
    assert len(report["result"]) == 2
    assert sorted(one["status"] for one in server.resources["Observation"].values()) == [
        "corrected", "corrected", "entered-in-error",
    ]  # fmt: skip
    sent = clinic.rows(
        """SELECT detail->>'destination' AS name FROM audit_event
           WHERE action = 'instances_sent' AND detail->>'destination' IN ('emr', 'ris') ORDER BY sequence"""
    )
    assert [row["name"] for row in sent] == ["emr", "ris", "emr"], "each leaves a line in the audit trail"
    assert not clinic.rows("SELECT 1 FROM delivery d WHERE d.required AND d.destination IN ('emr', 'ris')")
