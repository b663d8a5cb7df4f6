"""A study through gateway, worker and portal as processes of their own: what is measured, traced and logged of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dicom_gateway.deliver_dimse import send_instances
from dicom_gateway.scu_association import Destination
from pipeline.tracing import trace_id
from portal import auth
from server.installation import FIRST_TENANT, owner_connection
from tests.acceptance.conftest import MakeStudy
from tests.acceptance.pacs import Pacs
from tests.conftest import ROOT
from tests.otlp_collector import Collector, Received, collector
from tests.roles_apart import RolesApart
from tests.server_process import radmeter


@pytest.fixture
def apart(migrated_url: str) -> Iterator[tuple[RolesApart, Collector]]:
    with collector() as kept:
        roles = RolesApart(migrated_url, {"TRACES": kept.url, "INFERENCE_THREADS": "1"})
        yield roles, kept
        roles.stop()


def test_a_study_is_measured_at_each_step_and_its_spans_of_three_processes_are_one_tree(
    apart: tuple[RolesApart, Collector], make_study: MakeStudy
) -> None:
    roles, kept = apart
    study = make_study("observed")
    *first, late = study.files
    with Pacs.listening() as pacs:
        roles.add_peer("PACS", pacs.port, quiet_time_s=1.0)
        environment = {"RADMETER_DATABASE_URL": roles.database_url, "RADMETER_DATA": str(roles.folder)}
        contract = radmeter(("contract", "add", ROOT / "examples/contract_per_case.yaml"), _with(environment))
        assert contract.returncode == 0, contract.stderr
        with owner_connection(roles.database_url) as conn:
            key = auth.create_api_key(conn, FIRST_TENANT, "scanner", ae_title="PACS")
        roles.start("gateway", "worker", "portal")
        gateway = Destination("127.0.0.1", roles.dicom_port, "RADMETER", "PACS", dimse_timeout_s=60)
        assert all(one.acknowledged for one in send_instances(first, gateway))
        roles.wait(lambda: _status(roles) == ("delivered", 1), "the study is delivered", 120)
        _store_by_web(roles, key, late)
        roles.wait(lambda: _status(roles) == ("delivered", 2), "the late image was taken in", 120)
        # A step is counted when what it did is committed.
        ended = 'radmeter_study_seconds_count{outcome="delivered",priority="normal"} 2.0'
        roles.wait(lambda: ended in roles.get("worker", "/metrics").text, "both are counted", 30)
        scraped = {role: roles.get(role, "/metrics").text for role in roles.processes}
        roles.stop()

    with owner_connection(roles.database_url) as conn:
        row = conn.execute("SELECT id FROM study").fetchone()
    assert row is not None
    _check_tree([span for span in kept.spans if span.trace == f"{trace_id(row['id']):032x}"])
    for body in (*kept.raw, *(text.encode() for text in scraped.values())):
        assert study.study_instance_uid.encode() not in body
        assert b"MARKER" not in body.upper()
    _check_metrics(scraped)
    lines = [json.loads(line) for line in roles.log("worker").splitlines() if line.startswith("{")]
    of_steps = [line for line in lines if line["event"] in ("study_routed", "study_decoded", "study_encoded")]
    assert len(of_steps) >= 3
    assert {line["trace_id"] for line in of_steps} == {f"{trace_id(row['id']):032x}"}
    sent = {span.span for span in kept.spans}
    assert {line["span_id"] for line in of_steps} <= sent


def _check_tree(spans: list[Received]) -> None:
    by_id = {span.span: span for span in spans}
    assert len(by_id) == len(spans)
    (root,) = [span for span in spans if not span.parent]
    assert root.name == "study"
    assert [span for span in spans if span.parent and span.parent not in by_id] == []
    assert {span.role for span in spans} == {"gateway", "worker", "portal"}
    names = {span.name for span in spans}
    assert names >= {
        "study", "receive", "assemble", "route", "decode", "infer", "model", "encode", "deliver", "deliver_to", "meter",
    }  # fmt: skip
    of = {name: [span for span in spans if span.name == name] for name in names}
    assert {span.role for span in of["receive"]} == {"gateway", "portal"}
    assert by_id[of["model"][0].parent].name == "infer"
    assert {by_id[span.parent].name for span in of["meter"]} <= {"deliver_to", "deliver", "route"}
    assert any(span.attributes["radmeter.decision"].startswith("billable:") for span in of["meter"])
    assert sorted(span.attributes["radmeter.revision"] for span in of["study"]) == [1, 2]
    allowed = {"radmeter.tenant", "radmeter.study"}
    assert all(set(span.attributes) >= allowed for span in of["route"])
    # A step of a busy machine may be tried again; nothing else goes wrong, and no words of an error are told.
    assert {span.attributes["radmeter.error"] for span in spans if span.is_error} <= {
        "PoolTimeout",
        "StoreNotReady",
    }


def _check_metrics(scraped: dict[str, str]) -> None:
    gateway, worker, portal = scraped["gateway"], scraped["worker"], scraped["portal"]
    assert _value(gateway, 'radmeter_instances_total{outcome="stored"}') == 27
    assert _value(gateway, "radmeter_received_bytes_total") > 27 * 50_000
    assert _value(gateway, "radmeter_record_seconds_count") == 27
    assert _value(gateway, 'radmeter_associations_total{end="released"}') == 1
    assert _value(gateway, "radmeter_associations_open") == 0
    assert _value(portal, 'radmeter_instances_total{outcome="stored"}') == 1
    assert _value(worker, 'radmeter_assemble_wait_seconds_count{outcome="assembled"}') == 2
    for step, gives in (
        ("route", "routed"),
        ("decode", "decoded"),
        ("infer", "inferred"),
        ("encode", "encoded"),
    ):
        assert _value(worker, f'radmeter_step_seconds_count{{gives="{gives}",step="{step}"}}') == 2
    assert _value(worker, 'radmeter_study_seconds_count{outcome="delivered",priority="normal"}') == 2
    assert _value(worker, 'radmeter_studies_ended_total{outcome="delivered",reason=""}') == 2
    assert _value(worker, 'radmeter_delivery_attempts_total{kind="dimse",state="acknowledged"}') >= 3
    assert 'radmeter_usage_events_total{decision="billable",kind="result_delivered"' in worker
    assert _value(worker, 'radmeter_inference_run_seconds_count{model="lung_nodule_ct"}') >= 2
    assert _value(worker, 'radmeter_trace_spans_total{what="sent"}') > 10
    assert _value(portal, "radmeter_database_up") == 1
    assert _value(portal, "radmeter_schema_migrations_missing") == 0
    assert _value(portal, "radmeter_workers") >= 3
    assert _value(portal, 'radmeter_studies{status="delivered"}') >= 0  # counted once a minute
    assert _value(portal, "radmeter_usage_events_quarantined") == 0
    assert _value(portal, "radmeter_disk_free_bytes") > 0


def _value(text: str, name: str) -> float:
    found = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    assert found, f"{name} is not there"
    return float(found[0].rsplit(" ", 1)[1])


def _with(environment: dict[str, str]) -> dict[str, str]:
    return dict(os.environ) | environment


def _status(roles: RolesApart) -> tuple[str, int]:
    with owner_connection(roles.database_url) as conn:
        row = conn.execute("SELECT status, revision FROM study").fetchone()
    return (row["status"], row["revision"]) if row else ("", 0)


def _store_by_web(roles: RolesApart, key: str, path: Path) -> None:
    answer = httpx.post(
        f"http://127.0.0.1:{roles.http_port}/dicom-web/studies",
        content=path.read_bytes(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/dicom"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
