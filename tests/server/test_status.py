"""`radmeter status` on one screen, and the support bundle, with patients and secrets in all that they are made from."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.server.commands import run

PATIENT, ACCESSION, UID = "MARKER^Jane", "ACN-MARKER-1", "1.2.826.0.1.3680043.8.498.777"


def plant(owner: psycopg.Connection) -> None:
    """A patient in every place that the bundle is made from."""
    owner.execute(
        """INSERT INTO study (tenant, study_instance_uid, ae_title, status, header, reason_code, reason_text)
           VALUES ('default', %s, 'PACS', 'failed', %s, 'STEP_GAVE_UP', %s)""",
        (UID, Jsonb({"patient_name": PATIENT, "accession_number": ACCESSION}), f"of {PATIENT} {UID}"),
    )


def test_one_screen_tells_first_what_needs_somebody_and_fits_80_columns(owner: psycopg.Connection) -> None:
    plant(owner)
    result = run("status")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert max(map(len, lines)) <= 80
    assert lines[0].endswith("need attention")
    assert lines[1].startswith("1. ")
    assert "   do:    " in lines[3] + lines[4]
    assert any(line.startswith("today       1 failed") for line in lines)
    assert any(line.startswith("refused     1 STEP_GAVE_UP") for line in lines)
    assert len(lines) <= 50
    state = json.loads(run("status", "--json").stdout)
    assert state["state"] == "needs attention"
    assert state["today"] == {"failed": 1}
    assert {"what", "means", "do"} == set(state["attention"][0])
    assert PATIENT not in result.output + json.dumps(state)


def test_the_support_bundle_holds_no_patient_and_no_secret(
    owner: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(owner)
    secrets = {"STRIPE_API_KEY": "sk_MARKER_1", "SMTP_PASSWORD": "pw-MARKER-2"}
    for name, value in secrets.items():
        monkeypatch.setenv(f"RADMETER_{name}", value)
    monkeypatch.setenv("RADMETER_SMTP_URL", "smtps://user:pw-MARKER-3@mail.test")
    log = tmp_path / "server.log"
    log.write_text(
        "\n".join(
            [
                json.dumps(
                    {
                        "at": "2026-01-01",
                        "level": "error",
                        "event": "job_failed",
                        "job": "7",
                        "patient": PATIENT,
                    }
                ),
                json.dumps({"at": "2026-01-01", "event": f"something about {PATIENT}", "study": "x"}),
                json.dumps({"at": "2026-01-01", "event": "step_gave_up", "reason": f"series {UID}"}),
                f"Traceback of somebody else: {PATIENT} {ACCESSION}",
                json.dumps([PATIENT]),
                '{"event": "x' + PATIENT * 4000 + '"}',
            ]
        )
    )
    bundle = tmp_path / "support.zip"
    result = run("doctor", "--bundle", bundle, "--log", log)
    assert result.exit_code == 0, result.output
    assert bundle.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(bundle) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(parts) == {"settings.json", "versions.json", "doctor.json", "status.json", "log-1.jsonl"}
    for name, text in parts.items():
        for planted in (PATIENT, "MARKER", ACCESSION, UID):
            assert planted not in text, (name, planted)
    assert json.loads(parts["settings.json"])["stripe_api_key"] == "(set)"
    assert json.loads(parts["settings.json"])["smtp_url"] == "smtps://mail.test"
    assert "STEP_GAVE_UP" in parts["status.json"]
    assert [json.loads(line)["event"] for line in parts["log-1.jsonl"].splitlines()] == [
        "job_failed",
        "step_gave_up",
    ]
    assert run("doctor", "--bundle", bundle).exit_code == 1  # nothing is overwritten
