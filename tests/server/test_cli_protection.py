"""`radmeter erase` and `radmeter export` on an installation whose objects lie in its data folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from psycopg.rows import dict_row
from typer.testing import CliRunner

from server.cli import app

STUDY = "00000000-0000-0000-0000-00000000000a"


@pytest.fixture
def owner(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    for name in list(os.environ):
        if name.startswith("RADMETER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RADMETER_DATABASE_URL", migrated_url)
    with psycopg.connect(migrated_url, autocommit=True, row_factory=dict_row) as conn:
        conn.execute(
            "INSERT INTO tenant (tenant, name, called_ae_title) VALUES ('default', 'Clinic', 'RADMETER')"
        )
        conn.execute(
            """INSERT INTO study (id, tenant, study_instance_uid, ae_title, status, header)
               VALUES (%s, 'default', '1.2.3', 'PACS', 'delivered', '{"patient_id": "PID-4711"}')""",
            (STUDY,),
        )
        report = tmp_path / "data" / "results" / STUDY / "1" / "report.json"
        report.parent.mkdir(parents=True)
        report.write_text("PID-4711")
        yield conn


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def failed(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    return result.stderr


def code_of(shown: str) -> str:
    found = re.search(r"--confirm (\w+)", shown)
    assert found
    return found.group(1)


def test_a_study_is_exported_and_erased_in_two_steps(owner: psycopg.Connection, tmp_path: Path) -> None:
    package = tmp_path / "default.zip"
    assert "1 objects" in done("export", "tenant", "default", "--to", package)
    assert "are as they were written" in done("export", "check", package)
    assert "already" in failed("export", "tenant", "default", "--to", package)

    shown = done("erase", "study", STUDY)
    assert "Nothing was erased" in shown
    assert (tmp_path / "data" / "results" / STUDY).exists()
    assert "say why" in failed("erase", "study", STUDY, "--confirm", code_of(shown))
    assert "is not the code" in failed("erase", "study", STUDY, "--confirm", "00000000", "--reason", "12")
    told = done("erase", "study", STUDY, "--confirm", code_of(shown), "--reason", "request 12")
    assert "its objects are gone" in told
    assert not (tmp_path / "data" / "results" / STUDY).exists()
    row = owner.execute("SELECT status, header FROM study").fetchone()
    assert row == {"status": "erased", "header": {}}
    assert "erased before" in failed("erase", "study", STUDY)
    actions = [
        one["action"] for one in owner.execute("SELECT action FROM audit_event ORDER BY sequence").fetchall()
    ]
    assert actions == ["tenant_exported", "study_erased"]
    assert len(list((tmp_path / "data" / "erasures").iterdir())) == 1


def test_a_tenant_is_erased_and_what_is_none_is_refused(owner: psycopg.Connection, tmp_path: Path) -> None:
    assert "no tenant nobody" in failed("erase", "tenant", "nobody")
    assert "no tenant nobody" in failed("export", "tenant", "nobody", "--to", tmp_path / "x")
    assert run("erase", "study", "x").exit_code == 2
    assert "radmeter: " in failed("erase", "study", STUDY.replace("a", "b"))
    code = code_of(done("erase", "tenant", "default"))
    done("erase", "tenant", "default", "--confirm", code, "--reason", "contract 3 has ended")
    assert not list((tmp_path / "data" / "results").glob("*"))
    assert owner.execute("SELECT name FROM tenant").fetchall() == [{"name": "erased"}]
    assert owner.execute("SELECT 1 FROM study").fetchall() == []
