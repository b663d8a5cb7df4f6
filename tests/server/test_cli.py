"""The command line: every command explains itself; errors are one line on stderr with an exit code other than 0."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from server.cli import app
from server.command_groups import whole_program
from tests.conftest import ROOT
from tests.server_process import radmeter

PER_CASE = ROOT / "examples/contract_per_case.yaml"


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if path:
        yield path
    for name, sub in getattr(command, "commands", {}).items():
        yield from _commands(sub, (*path, name))


COMMANDS = list(_commands(whole_program(app)))
# These hand --help on to the model's own command, which knows its options.
FORWARDED = {("models", name) for name in ("train", "export")}
# Architecture page, “Interfaces that stay stable”.
STABLE = [
    "serve", "send", "analyze", "models list", "models show", "models add", "models train", "models evaluate",
    "models export", "contract check", "contract simulate", "contract diff", "usage export",
    "statement draft", "statement issue", "statement show", "statement export", "ledger check", "tenant add",
    "peer add", "key add", "doctor", "migrate", "status",
]  # fmt: skip


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory that does not exist yet, and no setting from the developer's own environment."""
    for name in list(os.environ):
        if name.startswith("RADMETER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.mark.parametrize("group", ["server.cli", "server.cli_admin", "server.cli_peers", "server.cli_ledger"])
def test_a_command_starts_without_what_it_does_not_need(group: str) -> None:
    """Each of these takes a tenth of a second and more to import, and a schedule calls commands by the minute."""
    slow = ("scipy", "pydicom", "rule_engine", "jinja2", "fastapi", "models.registry", "portal.auth")
    said = subprocess.run(
        [sys.executable, "-c", f"import sys, server.cli, {group}; print([m for m in {slow} if m in sys.modules])"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert said.stdout == "[]\n"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def require_error(result: Result, *words: str) -> None:
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("path", [path for path in COMMANDS if path not in FORWARDED], ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    result = run(*path, "--help")
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.stdout
    # A sentence about what it does, not the bare list of options.
    about = result.stdout.split("Usage:")[1].split("Options")[0]
    assert len(about.split()) > 6, about


def test_the_stable_commands_are_there() -> None:
    assert {" ".join(path) for path in COMMANDS} >= set(STABLE)


class TestErrors:
    def test_a_bad_setting_is_named(self, installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RADMETER_DICOM_PORT", "many")
        require_error(run("serve"), "dicom_port", "many")

    def test_an_unknown_role_is_named(self, installation: Path) -> None:
        require_error(run("serve", "--role", "cook"), "cook", "gateway, worker, portal")

    def test_a_single_role_needs_a_database(self, installation: Path) -> None:
        require_error(run("serve", "--role", "gateway"), "RADMETER_DATABASE_URL")

    @pytest.mark.parametrize(
        "address", ["nowhere", "AE@host", "AE@host:99999", "@host:1", "TOO_LONG_AE_TITLE_X@h:1"]
    )
    def test_an_address_that_is_none_is_quoted(self, installation: Path, address: str) -> None:
        require_error(run("send", PER_CASE, "--to", address), address.split("@")[0])

    def test_nobody_listening_is_said_for_each_file(
        self, installation: Path, free_port: int, tmp_path: Path
    ) -> None:
        from tests.ct_files import ramp, write

        (path,) = write(tmp_path, ramp((1, 4, 4)))
        result = run("send", path, "--to", f"AE@127.0.0.1:{free_port}")
        assert result.exit_code == 1
        assert "no connection to the peer" in result.stdout
        assert "0 of 1 accepted" in result.stdout

    def test_a_model_that_does_not_exist_is_named(self, installation: Path) -> None:
        require_error(run("models", "show", "no_such_model"), "no_such_model")

    def test_a_folder_without_dicom_is_rejected_with_its_own_exit_code(
        self, installation: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "readme.txt").write_text("not DICOM")
        result = run("analyze", tmp_path / "in", "--out", tmp_path / "out")
        assert result.exit_code == 3, result.output
        assert "HEADERS_UNREADABLE" in result.stderr

    def test_status_of_nothing_is_an_error(self, installation: Path) -> None:
        require_error(run("status"), str(installation))


class TestContracts:
    def test_a_good_contract_is_well_formed(self, installation: Path) -> None:
        result = run("contract", "check", PER_CASE)
        assert (result.exit_code, result.stderr) == (0, "")
        assert "per-case-2026" in result.stdout

    def test_each_problem_is_named_with_its_line(self, installation: Path, tmp_path: Path) -> None:
        text = PER_CASE.read_text()
        lines = text.splitlines()
        currency = next(number for number, line in enumerate(lines, 1) if line.startswith("currency:"))
        price = next(number for number, line in enumerate(lines, 1) if "unit_price:" in line)
        broken = tmp_path / "broken.yaml"
        broken.write_text(text.replace("currency: CNY", "currency: YEN").replace("100.00", "-5"))
        result = run("contract", "check", broken)
        require_error(result, f"line {currency}", f"line {price}")

    @pytest.mark.parametrize(
        "text", ["", "[]", "contract: [", "\x00", "a: &a [*a]", "contract: x\ncontract: y\n"]
    )
    def test_what_is_no_contract_is_an_error_without_a_traceback(
        self, installation: Path, tmp_path: Path, text: str
    ) -> None:
        file = tmp_path / "contract.yaml"
        file.write_text(text)
        require_error(run("contract", "check", file), "radmeter:")

    def test_a_file_that_is_no_text_is_an_error_without_a_traceback(
        self, installation: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "contract.yaml"
        file.write_bytes(b"\xff\xfe\x00")
        require_error(run("contract", "check", file), "radmeter:")

    def test_versions_and_contracts_are_checked_against_each_other(self, tmp_path: Path) -> None:
        later, other = tmp_path / "later.yaml", tmp_path / "other.yaml"
        text = PER_CASE.read_text()
        later.write_text(text.replace("effective_from: 2026-01-01", "effective_from: 2026-03-01"))
        other.write_text(text.replace("contract: per-case-2026", "contract: other-2026"))
        result = run("contract", "check", PER_CASE, later)
        assert result.exit_code == 0, result.output
        assert result.stdout.count("well formed") == 2
        require_error(
            run("contract", "check", later, PER_CASE), "effective_from must be later than 2026-03-01"
        )
        require_error(
            run("contract", "check", PER_CASE, other), "lung_nodule_ct: priced by per-case-2026 and"
        )

    def test_a_simulation_stores_nothing(self, installation: Path, tmp_path: Path) -> None:
        usage = tmp_path / "usage.csv"
        usage.write_text(
            "product,occurred_at,case_key,kind\n"
            "lung_nodule_ct,2026-03-01T12:00:00+08:00,a,result_delivered\n"
            "lung_nodule_ct,2026-03-02T12:00:00+08:00,b,result_delivered\n"
            "lung_nodule_ct,2026-03-03T12:00:00+08:00,b,result_delivered\n"
            "lung_nodule_ct,2026-03-04T12:00:00+08:00,c,refused\n"
        )
        result = run("contract", "simulate", PER_CASE, usage)
        assert result.exit_code == 0, result.output
        assert re.search(r"Subtotal, tax excluded +200\.00\n", result.stdout)
        assert "Not charged: 1 × The same clinical question was charged before" in result.stdout
        assert not installation.exists()


@pytest.mark.filterwarnings("ignore")
def test_an_installation_is_administered_without_a_running_server(tmp_path: Path) -> None:
    """Each command starts the embedded database for its own while and stops it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RADMETER_")}
    environment["RADMETER_DATA"] = str(tmp_path / "data")

    def done(*arguments: str | Path) -> str:
        result = radmeter(arguments, environment, ROOT)
        assert result.returncode == 0, result.stderr
        return result.stdout

    unprepared = radmeter(["peer", "list"], environment, ROOT)
    assert unprepared.returncode == 1
    assert unprepared.stderr == "radmeter: the database has no tables yet: run `radmeter migrate`\n"
    assert "migrations applied" in done("migrate")
    assert done("migrate").startswith("0 ")
    done("tenant", "add", "clinic", "--ae-title", "CLINIC")
    assert "late images: ask" in done("tenant", "set", "clinic", "--late-policy", "ask")
    assert "leaves a report in the PACS" in done("tenant", "set", "clinic", "--refusal-object")
    assert "leaves a report" not in done("tenant", "set", "clinic", "--no-refusal-object")
    chosen = done("tenant", "set", "clinic", "--guideline", "lung_rads_2022", "--setting", "screening")
    assert chosen.splitlines()[1] == "reports apply lung_rads_2022, setting: screening"
    assert "late images: ask" in chosen, "what is not named stays"
    assert len(done("tenant", "set", "clinic", "--guideline", "none").splitlines()) == 1
    done("peer", "add", "PACS@10.1.2.3:104", "--tenant", "clinic")
    assert "10.1.2.3:104" in done("peer", "list", "--tenant", "clinic")
    failed = radmeter(["peer", "add", "PACS@10.1.2.3:104", "--tenant", "nobody"], environment, ROOT)
    assert (failed.returncode, failed.stdout, failed.stderr) == (1, "", "radmeter: no tenant nobody\n")
    assert not (tmp_path / "data/postgres/postmaster.pid").exists()
