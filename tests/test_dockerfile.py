"""The Dockerfile is not built by the tests, so its rules are read off its text."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from dataclasses import fields

import pytest

from server.settings import Settings
from tests.dockerfile import ROOT, Dockerfile, arguments, commands
from tests.dockerfile_rules import RULES, WAIVED, Rule

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
PACKAGES = PYPROJECT["tool"]["importlinter"]["root_packages"]


FILE = Dockerfile.of_the_project()


class TestRules:
    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.number)
    def test_the_file_keeps_the_rule(self, rule: Rule) -> None:
        assert rule.breaks(FILE) == [], rule.reason

    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.number)
    def test_what_breaks_the_rule_is_seen(self, rule: Rule) -> None:
        assert rule.breaks(Dockerfile.parse(rule.bad)) != []

    def test_no_rule_is_both_kept_and_waived(self) -> None:
        assert not {rule.number for rule in RULES} & set(WAIVED)
        waived_in_place = re.findall(
            r"hadolint ignore=(\w+)", (ROOT / "Dockerfile").read_text(encoding="utf-8")
        )
        assert set(waived_in_place) <= set(WAIVED)

    def test_every_command_is_one_that_a_shell_can_read(self) -> None:
        for stage in FILE.stages:
            for run in arguments(stage, "RUN"):
                subprocess.run(["sh", "-n", "-c", run], check=True)


class TestBase:
    def test_the_base_image_is_an_exact_version_that_a_release_can_pin_by_digest(self) -> None:
        assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", FILE.argument_defaults()["PYTHON_IMAGE"])

    def test_all_stages_stand_on_it_so_that_compiled_packages_fit(self) -> None:
        named = {stage[0][1].split(" AS ")[-1] for stage in FILE.stages if " AS " in stage[0][1]}
        images = {stage[0][1].split(" ")[0] for stage in FILE.stages}
        assert images - named == {"${PYTHON_IMAGE}", "scratch"}

    def test_its_python_is_one_that_the_project_supports(self) -> None:
        version = re.search(r"python:3\.(\d+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
        assert version
        assert 11 <= int(version[1]) <= 14


class TestBuild:
    def test_every_install_takes_locked_files_or_no_index_at_all(self) -> None:
        installs = [c for stage in FILE.stages for c in commands(stage) if "pip install" in c]
        assert installs
        assert [c for c in installs if "--require-hashes" not in c and "--no-index" not in c] == []

    @pytest.mark.parametrize("profile", ["cpu", "gpu", "build", "sbom"])
    def test_the_locks_it_installs_exist(self, profile: str) -> None:
        assert (ROOT / "requirements" / f"{profile}.txt").is_file()

    def test_it_copies_every_package_and_nothing_by_wildcard(self) -> None:
        copied = {
            part.rstrip("/")
            for argument in arguments(FILE.stage("build"), "COPY")
            if "--from" not in argument
            for part in argument.split(" ")[:-1]
        }
        assert set(PACKAGES) <= copied
        assert "." not in copied

    def test_the_requirements_are_installed_before_the_sources_are_copied(self) -> None:
        """So that a change of code does not install everything again."""
        order = [f"{name} {argument}" for name, argument in FILE.stage("build")]
        install = next(i for i, line in enumerate(order) if "--require-hashes" in line)
        assert install < next(i for i, line in enumerate(order) if line.startswith("COPY study/"))


class TestFinalStage:
    def test_no_build_tool_is_in_it(self) -> None:
        runs = " ".join(arguments(FILE.final, "RUN"))
        assert "pip uninstall --yes" in runs, "the base image brings pip"
        runs = re.sub(r"-m pip uninstall\b.*? pip\b", "", runs)
        assert not re.search(r"\b(?:gcc|g\+\+|make|build-essential|pip|curl|wget|git)\b", runs)

    def test_no_program_of_it_changes_its_user(self) -> None:
        assert "find / -xdev -type f -perm /6000 -exec chmod a-s {} +" in commands(FILE.final)

    def test_it_does_not_run_as_root(self) -> None:
        users = arguments(FILE.final, "USER")
        assert users, "no USER"
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]), (
            "by number, so that an orchestrator can check it"
        )

    def test_it_has_the_libraries_that_the_scripts_install(self) -> None:
        script = (ROOT / "scripts" / "system_packages.sh").read_text(encoding="utf-8")
        runtime = script.split("runtime)")[1].split(";;")[0]
        wanted = set(re.findall(r"missing\+=\(([\w.-]+)\)", runtime))
        assert wanted
        assert wanted <= set(" ".join(arguments(FILE.final, "RUN")).split(" "))

    def test_the_ports_of_the_settings_are_exposed(self) -> None:
        ports = {str(one.default) for one in fields(Settings) if one.name.endswith("_port") and one.default}
        assert ports == set(" ".join(arguments(FILE.final, "EXPOSE")).split(" "))

    def test_it_sets_only_settings_that_exist(self) -> None:
        named = set(re.findall(r"\bRADMETER_[A-Z_]+", " ".join(arguments(FILE.final, "ENV"))))
        assert named <= {setting.metadata["variable"] for setting in fields(Settings)}

    def test_process_1_passes_signals_on_to_the_server(self) -> None:
        """Without a handler process 1 ignores SIGTERM, which Python has none for until it has started."""
        assert json.loads(arguments(FILE.final, "ENTRYPOINT")[-1]) == ["tini", "--", "radmeter"]
        assert "tini" in " ".join(arguments(FILE.final, "RUN")).split(" ")

    def test_its_labels_are_those_of_the_open_container_initiative(self) -> None:
        keys = set(
            re.findall(r"org\.opencontainers\.image\.(\w+)=", " ".join(arguments(FILE.final, "LABEL")))
        )
        assert keys >= {"title", "description", "licenses", "version", "revision", "created"}

    def test_its_version_is_that_of_the_project(self) -> None:
        assert f"VERSION={PROJECT['version']}" in arguments(FILE.final, "ARG")

    def test_its_bill_of_materials_lies_beside_what_it_lists(self) -> None:
        assert any(a.endswith("/radmeter.cdx.json") for a in arguments(FILE.final, "COPY"))
        assert arguments(FILE.stage("sbom"), "COPY") == ["--from=build /build/radmeter.cdx.json /"]

    def test_its_health_check_is_python_that_compiles(self) -> None:
        check = arguments(FILE.final, "HEALTHCHECK")[-1]
        program = json.loads(check.split("CMD ", 1)[1])
        assert program[:2] == ["python", "-c"]
        compile(program[2], "healthcheck", "exec")
        assert "/healthz" in program[2]
