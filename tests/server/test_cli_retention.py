"""`radmeter retention`, `backup` and `objects scrub` as people type them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from server.cli import app
from server.installation import FIRST_TENANT, create_tenant, owner_connection
from study.identifiers import AETitle

Run = Callable[..., Result]


@pytest.fixture
def run(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("RADMETER_DATABASE_URL", migrated_url)
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "250")
    with owner_connection(migrated_url) as conn:
        create_tenant(conn, FIRST_TENANT, "Default", AETitle("RADMETER"))
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_a_policy_is_set_shown_and_tried_without_removing_anything(run: Run) -> None:
    assert run("retention", "policy").stdout == "images: for ever\nresults: for ever\nquarantine: for ever\n"
    changed = run("retention", "policy", "--images-days", "30", "--by", "lin")
    assert changed.stdout == "images: 30 days\nresults: for ever\nquarantine: for ever\n"
    assert run("retention", "policy", "--images-days", "ever", "--by", "lin").stdout.startswith(
        "images: for ever"
    )
    assert "say who changes it" in run("retention", "policy", "--images-days", "30").stderr
    assert "no number of days" in run("retention", "policy", "--images-days", "soon", "--by", "lin").stderr
    assert "may not stay longer" in run("retention", "policy", "--results-days", "9", "--by", "lin").stderr
    assert run("retention", "run", "--dry-run").stdout == "0 would go; nothing was removed\n"
    assert run("retention", "run").stdout == "0 removals, 0 files, 0 MiB\n"


def test_a_hold_is_placed_listed_and_released(run: Run) -> None:
    assert (
        run("retention", "hold", "--all", "--reason", "audit", "--by", "lin").stdout == "hold 1 is in force\n"
    )
    listed = run("retention", "hold").stdout
    assert all(words in listed for words in ("everything", "audit", "lin", "in force"))
    assert run("retention", "release", "1", "--reason", "over", "--by", "bo").exit_code == 0
    assert "bo: over" in run("retention", "hold").stdout
    assert "no hold 1 in force" in run("retention", "release", "1", "--reason", "x", "--by", "bo").stderr
    assert "say one of --study" in run("retention", "hold", "--reason", "x", "--by", "lin").stderr
    unknown = run("retention", "hold", "--study", "nobody", "--reason", "x", "--by", "lin")
    assert unknown.exit_code == 1


def test_what_is_stored_is_read_again(run: Run) -> None:
    assert run("objects", "scrub").stdout == "0 files read (0 MiB), 0 are not what their rows say\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("backup",), "say where backups lie"),
        (("backup", "list"), "say where backups lie"),
        (("restore",), "say where backups lie"),
        (("restore", "--from", "{data}/backups"), "lies in the data directory"),
        (("restore", "--from", "/nowhere", "--to-time", "yesterday"), "is not an instant"),
        (("restore", "--from", "/nowhere", "--to-time", "2026-03-01T10:00:00"), "does not say its zone"),
        (("restore", "--from", "/nowhere"), "there is no folder /nowhere"),
        (("backup", "--to", "/nowhere", "list"), "say where backups lie"),
    ],
)
def test_a_backup_command_that_cannot_be_done_says_why(
    run: Run, tmp_path: Path, command: tuple[str, ...], words: str
) -> None:
    done = run(*(one.format(data=tmp_path / "data") for one in command))
    assert done.exit_code == 1
    assert words in done.stderr
