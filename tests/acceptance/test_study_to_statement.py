"""The main job with real processes: a study in, a result back, a statement out; then the same study again."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pypdf
import pytest

from tests.acceptance.conftest import MadeStudy, MakeStudy
from tests.conftest import ROOT
from tests.dicom_peers import wait_until
from tests.server_process import RunningServer, end, listens, two_free_ports

PACS = "PACS"


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """DCMTK's storescp takes the results: its port and its folder."""
    folder = tmp_path / "pacs"
    folder.mkdir()
    port, _ = two_free_ports()
    process = subprocess.Popen(
        ["storescp", "--accept-all", "-aet", PACS, "-od", str(folder), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: listens(port), 20)
    yield port, folder
    end(process)


def send(study: MadeStudy, server: RunningServer) -> None:
    """As a PACS would, with DCMTK."""
    command = ["storescu", "-aet", PACS, "-aec", "RADMETER", "+sd", "127.0.0.1", str(server.dicom_port)]
    sent = subprocess.run(
        [*command, str(study.folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert sent.returncode == 0, sent.stderr


def command(server: RunningServer, *arguments: str | Path) -> str:
    done = server.command(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def usage(client: httpx.Client, study_id: Any) -> list[tuple[str, str, str]]:
    """(kind, outcome, reason) of each usage event of the study, in the order of recording."""
    recorded = client.get("/api/v1/usage").json()["usage"]
    return [
        (one["kind"], one["outcome"], one["reason_code"])
        for one in reversed(recorded)
        if one["study_id"] == str(study_id)
    ]


@pytest.mark.peer
def test_a_study_is_delivered_and_billed_once_and_sent_again_it_is_not_charged(
    start_server: Callable[..., RunningServer], make_study: MakeStudy, pacs: tuple[int, Path]
) -> None:
    port, received = pacs
    server = start_server()
    command(server, "peer", "add", f"{PACS}@127.0.0.1:{port}", "--quiet-time-s", "1")
    contract_id = command(server, "contract", "add", ROOT / "examples/contract_per_case.yaml").split()[-1]
    study = make_study("statement")

    send(study, server)
    row = server.wait_for_end(study.study_instance_uid)

    assert (row["status"], row["reason_code"]) == ("delivered", None)
    objects = {str(path): pydicom.dcmread(path) for path in received.iterdir()}
    kinds = sorted(str(one.Modality) for one in objects.values())
    assert kinds in (["DOC", "SEG", "SR"], ["DOC", "SR"])  # without a finding there is nothing to outline
    assert {str(one.StudyInstanceUID) for one in objects.values()} == {study.study_instance_uid}
    assert {str(one.PatientID) for one in objects.values()} == {study.patient.patient_id}

    with server.signed_in() as client:
        _pages_show_it(client, str(row["id"]))
        assert usage(client, row["id"]) == [("result_delivered", "billable", "first_delivery")]
        statement = command(server, "statement", "draft", contract_id)
        assert "100.00" in statement
        assert "106.00" in statement  # with 6 % tax

        send(study, server)
        server.wait(lambda: len(usage(client, row["id"])) == 2, 30, "the study is seen again")

        assert usage(client, row["id"])[1] == ("seen_again", "not_billable", "seen_again")
        _leaves_no_patient_data(server, client, study)
    again = server.study(study.study_instance_uid)
    assert (again["status"], again["revision"]) == ("delivered", 1)
    assert {str(path) for path in received.iterdir()} == set(objects)
    second = command(server, "statement", "draft", contract_id)
    assert "106.00" in second
    assert "212.00" not in second
    assert command(server, "ledger", "check").strip() == "the books are sound"
    _model_health_follows(server, again)
    assert server.stop() == 0


def _pages_show_it(client: httpx.Client, study_id: str) -> None:
    """The report as a page and as PDF, to somebody who signed in and to nobody else."""
    page = client.get(f"/studies/{study_id}")
    pdf = client.get(f"/studies/{study_id}/report.pdf")
    statements = client.get("/statements")
    assert page.status_code == 200
    assert "not reviewed" in page.text
    assert pdf.headers["content-type"] == "application/pdf"
    text = "".join(sheet.extract_text() for sheet in pypdf.PdfReader(io.BytesIO(pdf.content)).pages)
    assert "not reviewed" in text
    assert "106.00" in statements.text
    with httpx.Client(base_url=client.base_url) as stranger:
        assert stranger.get(f"/studies/{study_id}").status_code == 303
        assert stranger.get(f"/api/v1/studies/{study_id}/result").status_code == 401


def _model_health_follows(server: RunningServer, study: dict[str, Any]) -> None:
    """What the reader says of the result is counted by the worker at once, and stands beside it for everybody."""
    with server.signed_in() as client:
        for say in (*(f"accept {number + 1}" for number in range(study["finding_count"])), "finish"):
            form = {"say": say, "revision": "1", "seen": "1000000"}
            assert client.post(f"/studies/{study['id']}/verdicts", data=form).status_code == 303

        def counted() -> set[tuple[str, str, int]]:
            rows = server.rows("SELECT dimension, value, count FROM model_health_day")
            return {(row["dimension"], row["value"], row["count"]) for row in rows}

        expected = {("status", "completed", 1), ("verdict", "accepted", 1)}
        server.wait(lambda: expected <= counted(), 30, "the model's day is counted")
        assert "lung_nodule_ct" in client.get("/models/health").text
        assert "radmeter_model_accepted_share" in client.get("/metrics").text


def _leaves_no_patient_data(server: RunningServer, client: httpx.Client, study: MadeStudy) -> None:
    """Neither log nor metrics nor the audit trail name the patient or the study (invariant 5)."""
    trail = command(server, "audit", "export")
    assert trail.count('"instances_received"') == 2
    assert trail.count('"instances_sent"') == 1
    assert command(server, "audit", "verify").split(":")[0] == str(len(trail.splitlines()))
    kept = server.log_path.read_text() + client.get("/metrics").text + trail
    for marker in (study.patient.patient_id, study.patient.name, "Marker", study.study_instance_uid):
        assert marker not in kept
