"""The Dockerfile is not built by the tests, so its rules are read off its text."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from server.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
    "root_packages"
]


def instructions() -> list[tuple[str, str]]:
    """(INSTRUCTION, argument) in order, continuation lines joined, comments dropped."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^\s*#.*\n", "", text).replace("\\\n", " ")
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines if line]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def arguments(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [argument for instruction, argument in stage if instruction == name]


class TestBase:
    def test_every_base_image_is_pinned_to_an_exact_version(self) -> None:
        images = [argument.split(" ")[0] for stage in stages() for argument in arguments(stage, "FROM")]
        assert images
        assert [image for image in images if not re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", image)] == []

    def test_all_stages_use_the_same_base_so_that_compiled_packages_fit(self) -> None:
        assert (
            len({argument.split(" ")[0] for stage in stages() for argument in arguments(stage, "FROM")}) == 1
        )

    def test_its_python_is_one_that_the_project_supports(self) -> None:
        version = re.search(r"python:3\.(\d+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
        assert version
        assert 11 <= int(version[1]) <= 14


class TestBuild:
    def test_every_install_takes_locked_files_or_no_index_at_all(self) -> None:
        installs = [
            command
            for stage in stages()
            for run in arguments(stage, "RUN")
            for command in run.split("&&")
            if "pip install" in command
        ]
        assert installs
        assert [c for c in installs if "--require-hashes" not in c and "--no-index" not in c] == []

    @pytest.mark.parametrize("profile", ["cpu", "gpu", "build"])
    def test_the_locks_it_installs_exist(self, profile: str) -> None:
        assert (ROOT / "requirements" / f"{profile}.txt").is_file()

    def test_it_copies_every_package_and_nothing_by_wildcard(self) -> None:
        copied = {
            part.rstrip("/")
            for argument in arguments(stages()[0], "COPY")
            for part in argument.split(" ")[:-1]
        }
        assert set(PACKAGES) <= copied
        assert "." not in copied
        assert "ADD" not in {name for name, _ in instructions()}

    def test_what_it_copies_passes_the_ignore_file(self) -> None:
        allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8")
        for package in PACKAGES:
            assert f"!{package}\n" in allowed
        assert re.search(r"(?m)^\*$", allowed), "everything else stays outside"

    def test_the_requirements_are_installed_before_the_sources_are_copied(self) -> None:
        """So that a change of code does not install everything again."""
        order = [f"{name} {argument}" for name, argument in stages()[0]]
        install = next(i for i, line in enumerate(order) if "--require-hashes" in line)
        assert install < next(i for i, line in enumerate(order) if line.startswith("COPY study/"))


class TestFinalStage:
    def test_no_build_tool_is_in_it(self) -> None:
        runs = " ".join(arguments(stages()[-1], "RUN"))
        assert not re.search(r"\b(?:gcc|g\+\+|make|build-essential|pip|curl|wget|git)\b", runs)

    def test_it_does_not_run_as_root(self) -> None:
        users = arguments(stages()[-1], "USER")
        assert users, "no USER"
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]), (
            "by number, so that an orchestrator can check it"
        )

    def test_package_lists_do_not_stay(self) -> None:
        for run in arguments(stages()[-1], "RUN"):
            if "apt-get install" in run:
                assert "--no-install-recommends" in run
                assert "rm -rf /var/lib/apt/lists/*" in run

    def test_it_has_the_libraries_that_the_scripts_install(self) -> None:
        script = (ROOT / "scripts" / "system_packages.sh").read_text(encoding="utf-8")
        runtime = script.split("runtime)")[1].split(";;")[0]
        wanted = set(re.findall(r"missing\+=\(([\w.-]+)\)", runtime))
        assert wanted
        assert wanted <= set(" ".join(arguments(stages()[-1], "RUN")).split(" "))

    def test_the_ports_of_the_settings_are_exposed(self) -> None:
        ports = {str(one.default) for one in fields(Settings) if one.name.endswith("_port") and one.default}
        assert ports == set(" ".join(arguments(stages()[-1], "EXPOSE")).split(" "))

    def test_it_sets_only_settings_that_exist(self) -> None:
        named = set(re.findall(r"\bRADMETER_[A-Z_]+", " ".join(arguments(stages()[-1], "ENV"))))
        assert named <= {setting.metadata["variable"] for setting in fields(Settings)}

    def test_its_command_gets_signals(self) -> None:
        """Exec form: with a shell in between, SIGTERM would not reach the server and it could not drain."""
        for name in ("ENTRYPOINT", "CMD"):
            assert isinstance(json.loads(arguments(stages()[-1], name)[-1]), list)

    def test_its_health_check_is_python_that_compiles(self) -> None:
        check = arguments(stages()[-1], "HEALTHCHECK")[-1]
        program = json.loads(check.split("CMD ", 1)[1])
        assert program[:2] == ["python", "-c"]
        compile(program[2], "healthcheck", "exec")
        assert "/healthz" in program[2]
