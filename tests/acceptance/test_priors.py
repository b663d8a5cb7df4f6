"""A real server with Orthanc as its PACS: counts asked back, a prior fetched by rule, and what becomes of the prior."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from dicom_gateway.write_ct import write_ct_series
from models.lung_nodule_ct.phantom import Phantom
from server.installation import owner_connection
from study.study import Patient
from tests import archive_peers
from tests.server_process import RunningServer

pytestmark = pytest.mark.peer

RULES = """rules:
  - name: chest CT
    models: [lung_nodule_ct]
    priors: {newest: 1}
"""
PATIENT = Patient(patient_id="MARKER-ID", name="Marker^Ada", birth_date="19700101", sex="F")


def write_phantom(phantom: Phantom, folder: Path, date: str) -> tuple[list[Path], str]:
    files = write_ct_series(
        phantom.voxels, phantom.spacing_mm, folder, patient=PATIENT, seed=date, study_date=date,
        study_description="CT Thorax",
    )  # fmt: skip
    return files, str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)


def usage(server: RunningServer) -> list[tuple[str, str]]:
    rows = server.rows("SELECT study_ref, kind FROM billing.usage_event ORDER BY occurred_at")
    return [(row["study_ref"], row["kind"]) for row in rows]


def test_a_prior_comes_by_rule_costs_nothing_and_is_analysed_only_when_the_pacs_sends_it(
    start_server: Callable[..., RunningServer], phantom: Phantom, tmp_path: Path
) -> None:
    server = start_server(INFERENCE_THREADS="1")
    current_files, current_uid = write_phantom(phantom, tmp_path / "current", "20260101")
    prior_files, prior_uid = write_phantom(phantom, tmp_path / "prior", "20250601")
    (tmp_path / "rules.yaml").write_text(RULES)
    known = {"DicomModalities": {"gateway": ["RADMETER", "127.0.0.1", server.dicom_port]}}
    with archive_peers.orthanc(tmp_path, more=known) as pacs:
        pacs.store([*current_files, *prior_files])
        address = f"ORTHANC@127.0.0.1:{pacs.port}"
        for arguments in (
            (
                "peer",
                "add",
                address,
                "--archive",
                address,
                "--quiet-time-s",
                "1",
                "--archive-habit",
                "complete",
            ),
            ("route", "add", tmp_path / "rules.yaml"),
            ("route", "activate", "1"),
        ):
            done = server.command(*arguments)
            assert done.returncode == 0, done.stderr

        pacs.push(current_uid)
        current = server.wait_for_end(current_uid)
        assert (current["status"], current["reason_code"]) == ("delivered", None)
        prior = server.wait_for_end(prior_uid)
        assert (prior["status"], prior["purpose"]) == ("prior", "prior")
        assert server.rows("SELECT study_id, prior_study_id FROM prior_of") == [
            {"study_id": current["id"], "prior_study_id": prior["id"]}
        ]
        (here,) = server.rows("SELECT count(*) AS n FROM instance WHERE study_id = %s", prior["id"])
        assert here["n"] == len(prior_files)
        (question,) = server.rows(
            "SELECT state, source FROM archive_question WHERE study_id = %s", current["id"]
        )
        assert question == {"state": "answered", "source": "c-find"}
        (count,) = server.rows(
            "SELECT sum(instance_count) AS n FROM archive_count WHERE study_id = %s", current["id"]
        )
        assert count["n"] == len(current_files)
        assert usage(server) == [(str(current["id"]), "result_delivered")]
        with server.signed_in() as client:
            assert f"/studies/{prior['id']}" in client.get(f"/studies/{current['id']}").text
            assert "fetched for comparison" in client.get(f"/studies/{prior['id']}").text

        with owner_connection(server.database_url) as conn:  # the retrieval lies an hour back
            conn.execute(
                """UPDATE expected_prior SET until_at = until_at - interval '1 hour',
                     from_at = from_at - interval '1 hour'"""
            )
        pacs.push(prior_uid)
        server.wait(
            lambda: server.study(prior_uid)["purpose"] == "clinical", 60, "the prior is a study of its own"
        )
        promoted = server.wait_for_end(prior_uid)
        assert (promoted["status"], promoted["revision"]) == ("delivered", 1)
        assert usage(server)[1:] == [(str(prior["id"]), "result_delivered")]
    assert "MARKER" not in server.log_path.read_text().upper()
