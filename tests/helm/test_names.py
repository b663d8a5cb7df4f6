"""What the chart calls by name exists: settings, commands and their options, and the tables made of its values."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from dataclasses import fields
from typing import Any

import pytest
from typer.exceptions import TyperException

from server.cli import app
from server.command_groups import whole_program
from server.settings import Settings, load_settings
from tests.helm_chart import CHART, VARIANTS, containers, leaves_of_schema, of_kind, pods, rendered

ROOT = CHART.parents[1]
OURS = "ghcr.io/radmeter/radmeter"
SETTINGS = {setting.metadata["variable"]: setting for setting in fields(Settings)}


@pytest.fixture(scope="module")
def tables() -> Any:
    """scripts/chart_tables.py as a module."""
    spec = importlib.util.spec_from_file_location("chart_tables", ROOT / "scripts" / "chart_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestTables:
    """`python scripts/chart_tables.py` writes them."""

    def test_the_readme_has_every_value_with_its_default_and_its_sentence(self, tables: Any) -> None:
        assert (CHART / "README.md").read_text(encoding="utf-8") == tables.readme()

    def test_the_schema_takes_exactly_the_settings_that_the_chart_does_not_set_itself(
        self, tables: Any
    ) -> None:
        assert (CHART / "values.schema.json").read_text(encoding="utf-8") == tables.schema()

    def test_no_value_goes_without_a_sentence(self, tables: Any) -> None:
        assert {path for path, _, _ in tables.described_values()} == leaves_of_schema()


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variable_is_a_setting_and_every_process_takes_all_of_them(name: str) -> None:
    """The processes' own reader judges them: a wrong value would stop the start."""
    objects = rendered(VARIANTS[name])
    shared = of_kind(objects, "ConfigMap")["radmeter-settings"]["data"]
    for where, template in pods(objects):
        for one in containers(template):
            if not one["image"].startswith(OURS):
                continue
            given = {v["name"]: v.get("value", "postgresql://given.by/reference") for v in one.get("env", [])}
            if "envFrom" in one:
                given = shared | given
            ours = {key: value for key, value in given.items() if key.startswith("RADMETER_")}
            assert set(ours) <= set(SETTINGS), f"{where}: a setting that docs/settings.md does not have"
            load_settings(ours)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_command_of_a_container_exists_with_its_options(name: str) -> None:
    seen = set()
    for where, template in pods(rendered(VARIANTS[name])):
        for one in containers(template):
            if one["image"].startswith(OURS):
                arguments = [str(argument) for argument in one["args"]]
                if one.get("command"):  # a shell that ends in our command
                    arguments = shlex_of(arguments)
                seen.add(" ".join(arguments[:2]))
                parse(arguments, where)
    if name.endswith("everything"):
        assert {"migrate", "migrate --check", "ledger check", "backup", "backup prune"} <= seen


def shlex_of(arguments: list[str]) -> list[str]:
    """What the shell of a job runs in the end, with a day and a file that exists in place of its variables."""
    script, _, _, *options = arguments
    command = re.search(r'exec radmeter (.*) "\$@"$', script)
    assert command is not None
    words = command[1].replace('"$file"', str(CHART / "Chart.yaml")).replace('"$day"', "2026-01-31").split()
    return [*words, *options]


@functools.cache
def command_line() -> Any:
    return whole_program(app)


def parse(arguments: list[str], where: str) -> None:
    """Read the arguments as the command line would, down to the command, without running it."""
    command: Any = command_line()
    rest = arguments
    while rest and hasattr(command, "commands"):
        assert rest[0] in command.commands, f"{where}: no command {' '.join(arguments)}"
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(command.name, list(rest))


def test_the_reading_of_commands_is_not_blind() -> None:
    with pytest.raises(TyperException, match="No such option"):
        parse(["ledger", "check", "--tenants", "all"], "here")
    with pytest.raises(AssertionError, match="no command"):
        parse(["ledger", "chek"], "here")


def test_ports_folder_and_user_are_those_of_the_image() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    objects = rendered(VARIANTS["region"])
    shared = of_kind(objects, "ConfigMap")["radmeter-settings"]["data"]
    assert f"RADMETER_DATA={shared['RADMETER_DATA']}" in dockerfile
    ports = {p["containerPort"] for _, t in pods(objects) for c in containers(t) for p in c.get("ports", [])}
    exposed = set(map(int, re.search(r"(?m)^EXPOSE (.*)$", dockerfile)[1].split()))  # type: ignore[index]
    assert exposed <= ports
    for name in ("RADMETER_DICOM_PORT", "RADMETER_DICOM_TLS_PORT", "RADMETER_HTTP_PORT"):
        assert int(shared[name]) in ports
    users = {t["spec"]["securityContext"]["runAsUser"] for where, t in pods(objects) if "triton" not in where}
    assert {f"USER {user}:{user}" for user in users} == set(re.findall(r"(?m)^USER .*$", dockerfile))


def test_the_settings_page_and_the_chart_agree_on_what_may_be_set() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))["properties"]
    offered = set(schema["settings"]["properties"]) | set(schema["secretSettings"]["properties"])
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert offered <= set(re.findall(r"(?m)^\| `(RADMETER_\w+)` \|", page))
    assert "RADMETER_SMTP_PASSWORD" in schema["secretSettings"]["properties"]
    assert "RADMETER_DATABASE_URL" not in offered
