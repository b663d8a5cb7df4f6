"""`radmeter usage` on a database of its own: files go in whole or not at all; a person voids, releases, dismisses."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from server.cli import app

PER_CASE = Path(__file__).resolve().parents[2] / "examples/contract_per_case.yaml"


@pytest.fixture
def installed(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("RADMETER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path))
    monkeypatch.setenv("RADMETER_DATABASE_URL", migrated_url)
    with psycopg.connect(migrated_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO tenant (tenant, name, called_ae_title) VALUES ('default', 'Clinic', 'RADMETER')"
        )
    assert run("contract", "add", PER_CASE).exit_code == 0


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_file_goes_in_whole_or_not_at_all_and_once(installed: None, tmp_path: Path) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
    head = "event_id,product,occurred_at,case_key,kind,quantity,site\n"
    good = (
        "a,lung_nodule_ct,2026-03-01T12:00:00+08:00,case-1,,2,=east\n"
        "b,lung_nodule_ct,2026-03-02T12:00:00+08:00,case-1,,,\n"
        f"c,lung_nodule_ct,{ahead},case-2,,,\n"
    )
    file = tmp_path / "usage.csv"
    file.write_text(
        head + good + "d,lung_nodule,2026-03-02T12:00Z,case-3,,,\ne,lung_nodule_ct,2026-03-02,x,,,\n"
    )
    result = run("usage", "import", file, "--source", "ris")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "row 5, event d: no contract prices" in result.stderr
    assert "row 6, event e:" in result.stderr
    file.write_text(head + good)
    told = [run("usage", "import", file, "--source", "ris").stdout for _ in range(2)]
    decided = "1 billable, 1 not_billable, 1 quarantined\n"
    assert told == [
        f"3 events recorded, 0 were known; {decided}",
        f"0 events recorded, 3 were known; {decided}",
    ]

    by = ("--by", "a.person", "--source", "ris")
    assert "void" in run("usage", "void", "a", "--reason", "counted twice", *by).stdout
    assert run("usage", "void", "a", "--reason", "counted twice", *by).exit_code == 1
    assert "first time" in run("usage", "release", "c", *by).stdout
    assert run("usage", "dismiss", "c", *by).exit_code == 1
    out = tmp_path / "out.csv"
    assert run("usage", "export", "--out", out).stdout.startswith("4 usage events")
    assert [line.split(",")[8] for line in out.read_text("utf-8-sig").splitlines()[1:]] == [
        "void", "first_delivery", "in_place", "voided"
    ]  # fmt: skip
    assert run("ledger", "check").exit_code == 0
