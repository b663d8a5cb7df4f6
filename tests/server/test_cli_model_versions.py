"""`radmeter models` on a database of its own: added, tried on some studies, activated, taken back, removed."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from models.registry import get_model
from server.cli import app
from tests.model_packages import package_files, write_folder, write_zip


def models(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["models", *(str(argument) for argument in arguments)])


def done(*arguments: str | Path) -> str:
    result = models(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def failed(*arguments: str | Path) -> str:
    result = models(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


def test_the_life_of_a_version(owner: psycopg.Connection, tmp_path: Path) -> None:
    files = package_files() | {"network.py": b"import os"}
    first = write_folder(tmp_path / "first", files)
    assert "it can be added" in done("add", first, "--check")
    assert "means" not in done("list")
    added = done("add", first)
    assert "left out, for a model brings no code: network.py" in added
    assert "radmeter models enable means --version 1.0.0" in added
    done("add", write_zip(tmp_path / "second.zip", package_files(version="1.1.0"), top="means/"))
    assert "means 1.0.0 is there already" in failed("add", first)
    assert [line.count("means") for line in done("list").splitlines() if "1.1.0" in line] == [1]
    assert "licence      CC-BY-4.0" in done("show", "means@1.1.0")

    assert done("enable", "means", "--version", "1.0.0") == "means 1.0.0 reads the studies of default\n"
    assert done("canary", "means", "1.1.0", "--percent", "10").startswith(
        "means 1.1.0 gets 10 % of the studies"
    )
    assert "lung_nodule_ct" in done("deployed")
    assert "1.1.0 (10 %)" in done("deployed")
    assert done("rollback", "means").startswith("the canary 1.1.0 has ended, means 1.0.0 is active")
    done("shadow", "means", "1.1.0")
    assert done("shadow", "means", "--stop") == "means runs no version in shadow for default\n"
    done("activate", "means", "1.1.0")
    assert done("rollback", "means") == "means 1.0.0 is active for default\n"
    assert "0.35" in done("threshold", "means", "1.0.0", "0.35", "--site", "north")
    assert "0.35" not in done("threshold", "means", "1.0.0", "--site", "north", "--remove")
    told = done("history", "means")
    assert [told.count(word) for word in ("enabled", "canary", "rolled back", "shadow", "threshold")] == [
        1,
        1,
        2,
        2,
        2,
    ]

    assert "means 1.0.0 is in use: tenant default: active" in failed("remove", "means", "1.0.0")
    assert done("remove", "means", "1.1.0") == "removed means 1.1.0\n"
    assert "no version '1.1.0'; there is 1.0.0" in failed("activate", "means", "1.1.0")
    done("disable", "means")
    row = owner.execute("SELECT models FROM tenant").fetchone()
    assert row == (["lung_nodule_ct"],)


def test_what_makes_no_sense_is_told_in_one_line(owner: psycopg.Connection, tmp_path: Path) -> None:
    built_in = get_model("lung_nodule_ct").manifest.version
    assert "name a version, or give --stop" in failed("canary", "lung_nodule_ct")
    assert "no model is called 'nobody'" in failed("enable", "nobody")
    assert "1 to 99 percent" in failed("canary", "lung_nodule_ct", built_in, "--percent", "100")
    assert "so there is no way back" in failed("rollback", "lung_nodule_ct")
    (tmp_path / "a.zip").write_bytes(b"no zip")
    assert "is not a zip that can be read" in failed("add", tmp_path / "a.zip")


def test_names_and_versions_are_whole_on_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path))
    shown = done("list")
    for name in ("chest_radiograph", "lung_ct_segmentation", "lung_nodule_ct"):
        assert name in shown
        assert get_model(name).manifest.version in shown
