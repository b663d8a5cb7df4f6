"""docs/operations.md is typed at night: each command parses, each sentence is one of the program, the unit is valid."""

from __future__ import annotations

import functools
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.heartbeat import STAGES
from server.cli import app
from server.command_groups import whole_program

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
UNIT = ROOT / "examples" / "radmeter.service"
# What the sentences of the table hold in place of values.
_VALUES = re.compile(r"…|\bN\b|\bM\b|\b\d+\b|'many'|dicom_port")


def typed_lines() -> list[str]:
    """Commands of ours that stand on a line of their own."""
    lines = [line.strip() for line in PAGE.splitlines() if line.startswith("    ")]
    return [line for line in lines if re.search(r"(^|/|\d )radmeter [a-z]", line) and line[0].islower()]


def mentioned() -> list[str]:
    """Commands within sentences and tables."""
    return [one for one in re.findall(r"`([^`]+)`", PAGE) if re.match(r"radmeter [a-z]", one)]


def arguments(line: str) -> list[str]:
    """What follows the name of the program."""
    words = shlex.split(line)
    at = max(number for number, word in enumerate(words) if word.rpartition("/")[2] == "radmeter")
    return words[at + 1 :]


@functools.cache
def program() -> Any:
    """`radmeter` with all its commands."""
    return whole_program(app)


def parse(line: str) -> tuple[Any, dict[str, Any], list[str]]:
    """The command that a line names, its options and its further words. Raises a usage error for unknown options."""
    command = program()
    words = arguments(line)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert getattr(command, "invoke_without_command", True), f"{line}: {command.name} has no such command"
    options, rest, _ = command.make_parser(command.context_class(command)).parse_args(words)
    return command, options, rest


@pytest.mark.parametrize("line", typed_lines())
def test_every_line_to_type_is_a_command_with_what_it_needs(line: str) -> None:
    command, options, _ = parse(line)
    missing = [one.name for one in command.params if one.required and not options.get(one.name)]
    assert missing == []


@pytest.mark.parametrize("line", sorted(set(mentioned())))
def test_every_command_that_a_sentence_names_exists_with_its_options(line: str) -> None:
    parse(line)


def rows(heading: str) -> Iterator[list[str]]:
    """The rows of the table below a heading, without its head."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def sources() -> str:
    """What the program can say: its texts, those that are written in pieces joined."""
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("server", "pipeline", "portal", "storage", "models", "dicom_gateway")
        for path in (ROOT / folder).rglob("*.py")
    )
    return re.sub(r'"\s*\n\s*f?"', "", text)


def test_every_sentence_of_the_table_is_said_by_the_program() -> None:
    said, unknown = sources(), []
    for row in rows("When something is said"):
        assert len(row) == 4, row
        for sentence in re.findall(r"`([^`]+)`", row[1]):
            if sentence.startswith(("/", "password authentication")):  # a path; PostgreSQL's own words
                continue
            pieces = [piece.strip(" :;,") for piece in _VALUES.split(sentence)]
            unknown += [piece for piece in pieces if len(piece) > 6 and piece not in said]
    assert unknown == []


def test_every_stage_of_the_heartbeat_is_told_with_what_to_do() -> None:
    assert [row[0].strip("`") for row in rows("Heartbeat")] == list(STAGES)


def test_every_alert_has_its_row() -> None:
    rules = sorted((ROOT / "helm/radmeter/files").glob("rules/*.yaml"))
    alerts = {
        name for path in rules for name in re.findall(r"alert: (\w+)", path.read_text(encoding="utf-8"))
    }
    told = {name for row in rows("When an alert fires") for name in row[0].split(", ")}
    assert alerts - told == set()
    assert told
    assert not rules or told - alerts == set()


def test_the_unit_of_systemd_is_valid(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("not installed: systemd-analyze")
    text = UNIT.read_text(encoding="utf-8").replace("/opt/radmeter/bin/radmeter", "/usr/bin/true")
    (tmp_path / "radmeter.service").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "radmeter.service")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if "radmeter.service" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr
