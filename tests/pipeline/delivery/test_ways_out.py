"""What is told of a study, when, to whom: as objects with deliveries of their own, which hold up nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pipeline import store
from pipeline.destinations import save_destination
from pipeline.report_file import save_report
from pipeline.store import StudyRecord
from pipeline.ways_out.announce import announce_end, insert_object, result_messages
from pipeline.ways_out.told import load_told
from study.answer import Answer
from tests.pipeline.conftest import ALPHA, BETA
from tests.pipeline.delivery.conftest import PRODUCT, Post
from tests.pipeline.ways_out.builders import NODULES, VIEW, destination
from tests.pipeline.ways_out.fhir_server import FhirServer
from tests.pipeline.ways_out.http_receiver import HttpReceiver, answer, http_receiver
from tests.pipeline.ways_out.test_hl7 import listening
from tests.pipeline.ways_out.test_webhook import OLD
from tests.scripted_pacs import ScriptedPacs

HEADER = {
    "patient_id": "P-42",
    "patient_name": "Doe^Jane",
    "accession_number": "A-1",
    "study_date": "20261120",
}


@pytest.fixture
def told(post: Post) -> Post:
    """The post with a patient in its study, and a secret."""
    post.clinic.owner.execute("UPDATE study SET header = %s", (json.dumps(HEADER),))
    folder = post.clinic.services.folders.secrets
    assert folder is not None
    folder.mkdir()
    (folder / "hook").write_text(OLD)
    with post.clinic.database.transaction(ALPHA) as conn:
        post.study = store.get_study(conn, ALPHA, post.study.id)
    return post


def add(post: Post, name: str, kind: str, receiver: HttpReceiver | None = None, **changes: Any) -> None:
    values = vars(destination(kind, **({"url": receiver.url} if receiver else {}) | changes))
    del values["tenant"], values["name"]
    post.add(name, **({"port": None, "ae_title": None, "host": None} | values))


def encode(post: Post, study: StudyRecord | None = None, view: Any = VIEW) -> list[str]:
    """As the encode step does it; returns the kinds."""
    study = study or post.study
    services = post.clinic.services
    save_report(services.folders.results_of(study), view, b"%PDF-1.7")
    with services.database.transaction(ALPHA) as conn:
        rows = result_messages(conn, services, study, PRODUCT, view, Answer(), "report.pdf")
        for row in rows:
            insert_object(conn, study, row)
    return [row["kind"] for row in rows]


def events(post: Post) -> list[tuple[str, str, str]]:
    """(kind, event, destination) of each message on its way, in order."""
    rows = post.clinic.rows(
        """SELECT o.kind, o.event, d.destination FROM result_object o JOIN delivery d USING (tenant, sop_instance_uid)
           WHERE o.kind IN ('FHIR', 'ORU', 'EVENT') ORDER BY 1, 2, 3"""
    )
    return [tuple(row.values()) for row in rows]  # type: ignore[misc]


def end(post: Post, status: str, code: str | None = None, products: list[str] | None = None) -> None:
    post.clinic.owner.execute(
        "UPDATE study SET status = %s, reason_code = %s, reason_text = %s", (status, code, code)
    )
    with post.clinic.database.transaction(ALPHA) as conn:
        study = store.lock_study(conn, ALPHA, post.study.id)
        announce_end(conn, post.clinic.services, study, products or [PRODUCT])


def test_nothing_is_made_where_nobody_wants_to_hear(told: Post) -> None:
    assert encode(told) == []
    end(told, "rejected", "NO_AXIAL_SERIES")
    assert events(told) == []


def test_a_result_goes_to_every_way_out_and_the_study_waits_for_those_that_are_required(
    told: Post, pacs: ScriptedPacs
) -> None:
    fhir = FhirServer()
    with http_receiver(fhir) as emr, http_receiver(answer()) as hook, listening() as ris:
        told.add("pacs", pacs.port)
        add(told, "emr", "fhir", emr, with_pdf=True)
        add(told, "ris", "hl7", host="127.0.0.1", port=ris.port, required=False)
        add(told, "hook", "webhook", hook, token_file="hook")
        told.route_to("pacs")
        assert encode(told) == ["FHIR", "ORU"]
        told.start()
        assert told.states("required") | {} == {
            ("pacs", "SR"): True, ("pacs", "SEG"): True, ("pacs", "PDF"): True,
            ("emr", "FHIR"): True, ("ris", "ORU"): False,
        }  # fmt: skip
        assert sorted(told.jobs()) == ["emr", "pacs", "ris"]
        told.run("pacs")
        assert told.row().status == "encoded"
        told.run("emr")
        assert told.row().status == "delivered"
        assert told.usage() == [("result_delivered", "first_delivery")]
        told.run("ris")
        assert events(told)[0] == ("EVENT", "result", "hook")
        assert hook.requests == []
        told.run("hook")
    assert set(told.states().values()) == {"acknowledged"}
    (report,) = fhir.resources["DiagnosticReport"].values()
    assert report["presentedForm"][0]["contentType"] == "application/pdf"
    assert len(ris.messages) == 1
    payload = json.loads(hook.requests[0][3])
    assert (payload["type"], payload["data"]["study_id"]) == ("study.result", str(told.study.id))
    assert not any(word in hook.requests[0][3].decode() for word in ("P-42", "Doe", "A-1"))


def test_one_that_does_not_answer_is_asked_again_with_the_same_message_and_given_up_visibly(
    told: Post, pacs: ScriptedPacs
) -> None:
    with http_receiver(answer(500)) as hook:
        told.add("pacs", pacs.port)
        add(told, "hook", "webhook", hook, token_file="hook", attempts_max=2)
        told.route_to("pacs")
        told.start()
        told.run("pacs")
        assert told.row().status == "delivered"
        told.run("hook")
        assert told.states()["hook", "EVENT"] == "waiting"
        assert told.states("last_error")["hook", "EVENT"] == "the server answers HTTP 500"
        told.run("hook")
        assert told.states()["hook", "EVENT"] == "dead"
        assert told.row().status == "delivered", "it holds up nothing"
        assert told.again("hook") == ["hook"]
        hook.script = answer()
        told.run("hook")
    assert told.states()["hook", "EVENT"] == "acknowledged"
    assert len({headers["webhook-id"] for _, _, headers, _ in hook.requests}) == 1


def test_one_that_refuses_fails_the_study_only_where_it_is_required(told: Post, pacs: ScriptedPacs) -> None:
    with http_receiver(answer(422)) as emr:
        told.add("pacs", pacs.port)
        add(told, "emr", "fhir", emr)
        told.route_to("pacs")
        encode(told)
        told.start()
        told.run("pacs")
        for _ in range(3):
            told.run("emr")
    failed = told.row()
    assert (failed.status, failed.reason_code) == ("failed", "DELIVERY_REFUSED")
    assert "emr does not take FHIR: the server answers HTTP 422" in str(failed.reason_text)


def test_a_refused_study_is_told_as_not_analysed_each_time_once(told: Post) -> None:
    with http_receiver(answer()) as hook:
        add(told, "hook", "webhook", hook, token_file="hook")
        add(told, "emr", "fhir", hook)
        add(told, "duty", "email", recipients=("duty@hospital.test",), events=("critical", "refused"))
        end(told, "rejected", "NO_AXIAL_SERIES")
        assert events(told) == [
            ("EVENT", "refused", "duty"), ("EVENT", "refused", "hook"), ("FHIR", "refused", "emr"),
        ]  # fmt: skip
        row = told.clinic.rows("SELECT location FROM result_object WHERE kind = 'EVENT'")[0]
        event = load_told(told.clinic.services.folders.results / row["location"])
        assert (event.reason_code, event.patient_name, event.report) == ("NO_AXIAL_SERIES", "", None)
        told.run("duty")
    assert "no mail server is set up" in told.states("last_error")["duty", "EVENT"]


def test_a_delivery_that_failed_is_no_study_without_a_result(told: Post) -> None:
    with http_receiver(answer()) as receiver:
        add(told, "hook", "webhook", receiver, token_file="hook")
        add(told, "emr", "fhir", receiver)
        told.clinic.owner.execute(
            """INSERT INTO result (tenant, study_id, revision, product, model_name, model_version, weights_sha256,
                 input_digest, findings, timing_s) VALUES ('alpha', %s, 1, %s, 'm', '1', 'x', 'x', '[]', '{}')""",
            (told.study.id, PRODUCT),
        )
        end(told, "failed", "DELIVERY_GAVE_UP")
        end(told, "failed", "DELIVERY_GAVE_UP")
    assert events(told) == [("EVENT", "failed", "hook")] * 2, "each time is an event of its own"


def test_only_what_is_wanted_goes_there(told: Post, pacs: ScriptedPacs) -> None:
    with http_receiver(answer()) as hook:
        told.add("pacs", pacs.port)
        add(told, "emr", "fhir", hook, events=("reviewed",))
        add(told, "hook", "webhook", hook, token_file="hook", events=("critical",))
        add(told, "off", "webhook", hook, token_file="hook", enabled=False)
        told.route_to("pacs")
        assert encode(told) == [], "only reviewed results go to the EMR"
        told.clinic.owner.execute(
            """INSERT INTO result (tenant, study_id, revision, product, model_name, model_version, weights_sha256,
                 input_digest, findings, timing_s, critical)
               VALUES ('alpha', %s, 1, %s, 'm', '1', 'x', 'x', '[]', '{}', '{pneumothorax}')""",
            (told.study.id, PRODUCT),
        )
        told.start()
        told.run("pacs")
    assert told.row().status == "delivered"
    assert events(told) == [("EVENT", "critical", "hook")]


def test_a_later_revision_supersedes_and_says_what_it_takes_back(told: Post, pacs: ScriptedPacs) -> None:
    fhir = FhirServer()
    with http_receiver(fhir) as emr, http_receiver(answer()) as hook:
        told.add("pacs", pacs.port)
        add(told, "emr", "fhir", emr)
        add(told, "hook", "webhook", hook, token_file="hook", events=("superseded",))
        told.route_to("pacs")
        encode(told)
        told.start()
        told.run("pacs")
        told.run("emr")
        told.clinic.owner.execute(
            """INSERT INTO result (tenant, study_id, revision, product, model_name, model_version, weights_sha256,
                 input_digest, findings, timing_s) VALUES ('alpha', %s, 1, %s, 'm', '1', 'x', 'x', '[]', '{}')""",
            (told.study.id, PRODUCT),
        )
        told.clinic.owner.execute("UPDATE study SET revision = 2, status = 'encoded'")
        told.study = told.row()
        told.clinic.add_result_object(told.study, "1.2.3.9", is_delivered=False, kind="SR", location="SR.dcm")
        encode(told, view=replace(VIEW, findings=NODULES[:1], revision=2))
        told.start()
        told.run("pacs")
        told.run("emr")
    assert told.row().status == "delivered"
    assert [row[:2] for row in events(told)] == [
        ("EVENT", "superseded"),
        ("FHIR", "result"),
        ("FHIR", "result"),
    ]
    (report,) = fhir.resources["DiagnosticReport"].values()
    assert len(report["result"]) == 1
    assert [one["status"] for one in fhir.resources["Observation"].values()] == [
        "preliminary",
        "entered-in-error",
    ]


def test_a_study_that_is_none_of_ours_is_told_to_nobody(told: Post) -> None:
    add(told, "ris", "hl7", host="127.0.0.1", port=1)
    add(told, "duty", "email", recipients=("duty@hospital.test",))
    end(told, "rejected", "NO_RULE_MATCHED")
    assert events(told) == []


def test_one_model_of_several_that_could_not_judge_is_told_beside_the_result_and_a_shadow_is_not(
    told: Post,
) -> None:
    add(told, "ris", "hl7", host="127.0.0.1", port=1)
    add(told, "duty", "email", recipients=("duty@hospital.test",))
    refused = {"code": "NO_AXIAL_SERIES", "text": "No axial series."}
    route = [
        {"product": PRODUCT},
        {"product": "lobes", "refused": refused},
        {"product": "trial", "shadow": True},
    ]
    told.clinic.owner.execute("UPDATE study SET route = %s", (json.dumps(route),))
    end(told, "delivered", products=[PRODUCT, "trial"])
    assert events(told) == [("EVENT", "result", "duty"), ("ORU", "refused", "ris")]
    rows = told.clinic.rows(
        "SELECT kind, product, location FROM result_object WHERE kind IN ('ORU', 'EVENT')"
    )
    assert {row["kind"]: row["product"] for row in rows} == {"ORU": "lobes", "EVENT": PRODUCT}
    (location,) = (row["location"] for row in rows if row["kind"] == "ORU")
    message = load_told(told.clinic.services.folders.results / location)
    assert (message.status, message.reason_text) == ("cancelled", "No axial series.")


def test_another_tenant_hears_nothing(told: Post) -> None:
    with http_receiver(answer()) as hook, told.clinic.database.transaction(BETA) as conn:
        save_destination(conn, replace(destination("webhook", url=hook.url, token_file="hook"), tenant=BETA))
    end(told, "rejected", "NO_AXIAL_SERIES")
    assert events(told) == []
