"""`radmeter route`: check and test without a server; versions in a database of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from server.cli import app
from tests.conftest import ROOT
from tests.ct_files import ramp, write

CHEST = ROOT / "examples/rules_chest_ct.yaml"


@pytest.fixture
def installed(tmp_path: Path, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of an installation on a migrated database with the first tenant."""
    import psycopg

    monkeypatch.setenv("RADMETER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RADMETER_DATABASE_URL", migrated_url)
    with psycopg.connect(migrated_url) as conn:
        conn.execute(
            "INSERT INTO tenant (tenant, name, called_ae_title) VALUES ('default', 'Default', 'RADMETER')"
        )
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["route", *(str(argument) for argument in arguments)])


def test_a_mistake_is_one_line_with_its_place_on_stderr(installed: Path) -> None:
    file = installed / "bad.yaml"
    file.write_text("rules:\n  - name: a\n    when: Modalty == 'CT'\n    models: [lung_nodul_ct]\n")
    result = run("check", file)
    assert result.exit_code == 1
    assert "line 3: `when` column 1: Modalty" in result.stderr
    assert "line 4: `models` 'lung_nodul_ct': did you mean lung_nodule_ct?" in result.stderr


def test_the_tester_tells_of_each_rule_what_follows_or_why_not(installed: Path) -> None:
    write(installed / "ct", ramp((30, 8, 8)), spacing_mm=(1.5, 1.0, 1.0), study_description="Polytrauma")
    result = run("test", CHEST, installed / "ct", "--calling", "CT1")
    assert "no   phantoms and tests" not in result.stdout  # PatientID TEST-1 is one
    assert "YES  phantoms and tests" in result.stdout
    assert "kept in shadow" in result.stdout
    assert "no   chest CT: stop" in result.stdout


def test_versions_are_stored_listed_compared_and_put_in_force(installed: Path) -> None:
    changed = installed / "changed.yaml"
    changed.write_text(CHEST.read_text("utf-8").replace("SliceThickness <= 2", "SliceThickness <= 1"))
    assert run("add", CHEST, "--note", "first").stdout == "version 1\n"
    assert run("add", changed).stdout == "version 2\n"
    assert run("activate", "2").stdout == "version 2 is in force\n"
    assert "+      and SliceThickness <= 1" in run("diff", "1", "2").stdout
    assert run("export", "1").stdout == CHEST.read_text("utf-8")
    assert "first" in run("list").stdout
    assert "chest CT" in run("show", "2").stdout
    assert "0 studies" in run("replay", CHEST, "--days", "7").stdout
    assert run("deactivate").stdout == "no rules are in force\n"
    missing = run("activate", "9")
    assert missing.exit_code == 1
    assert "there is no version 9" in missing.stderr
