"""The chart lints, renders for every profile, and is what Kubernetes and its extensions take."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import helm_python
import pytest

from tests.helm_chart import (
    CHART,
    PROFILES,
    VARIANTS,
    chart,
    containers,
    leaves_of_schema,
    pods,
    rendered,
    selects,
    templates,
    values_of,
)

CUSTOM = ("keda.sh", "monitoring.coreos.com", "gateway.networking.k8s.io")
OLDEST = "1.29.0"


@functools.cache
def kubernetes() -> ModuleType:
    """The checker of objects; importing it costs seconds, which each process that collects tests would pay."""
    import kubernetes_validate
    from kubernetes_validate import utils

    # It reads megabytes of schema for each object otherwise.
    utils.schema_contents = functools.cache(utils.schema_contents)
    return kubernetes_validate


def newest() -> str:
    return str(kubernetes().latest_version())


@pytest.mark.parametrize("name", VARIANTS)
def test_helm_finds_nothing_to_complain_of(name: str) -> None:
    report = helm_python.lint(CHART, VARIANTS[name], strict=True, kube_version=f"v{newest()}")
    assert report["total_charts_linted"] == 1
    assert [message for message in report["messages"] if message["severity"] >= 2] == []
    assert report["errors"] == []


@pytest.mark.parametrize("which", ["oldest", "newest"])
@pytest.mark.parametrize("name", VARIANTS)
def test_kubernetes_takes_every_object(name: str, which: str) -> None:
    """From the chart's kubeVersion to the newest that can be checked."""
    version = OLDEST if which == "oldest" else newest()
    ours = [found for found in rendered(VARIANTS[name]) if not found["apiVersion"].startswith(CUSTOM)]
    assert len(ours) > 15
    for found in ours:
        validate_once(json.dumps(found), version)


@functools.cache
def validate_once(found: str, version: str) -> None:
    """Most objects are the same in several variants."""
    kubernetes().validate(json.loads(found), version, strict=True)


def test_the_check_of_objects_is_not_blind() -> None:
    broken = next(found for found in rendered(VARIANTS["region"]) if found["kind"] == "Deployment")
    broken["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    with pytest.raises(kubernetes().ValidationError, match="livenessProb"):
        kubernetes().validate(broken, newest(), strict=True)


def test_the_chart_says_the_oldest_kubernetes_that_is_checked() -> None:
    assert chart().metadata["kubeVersion"] == f">={OLDEST}-0"
    assert OLDEST in kubernetes().utils.all_versions()


def test_the_chart_has_the_version_of_the_software() -> None:
    pyproject = (CHART.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'(?m)^version = "(.+)"$', pyproject)
    assert version is not None
    assert chart().metadata["appVersion"] == version[1]


@pytest.mark.parametrize("name", VARIANTS)
def test_no_two_objects_share_a_name_and_two_releases_share_none(name: str) -> None:
    first, second = (
        [(found["kind"], found["metadata"]["name"]) for found in rendered(VARIANTS[name], release)]
        for release in ("radmeter", "other")
    )
    assert len(first) == len(set(first))
    assert set(first) & set(second) == set()


@pytest.mark.parametrize("profile", PROFILES)
def test_the_notes_name_three_commands_that_exist(profile: str) -> None:
    import typer.main

    from server.cli import app

    notes = templates(values_of(profile))["NOTES.txt"]
    commands = re.findall(r"kubectl -n imaging exec -it deploy/(radmeter-\w+) -- radmeter ([a-z]+)", notes)
    assert len(commands) == 3
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    deployments = {f["metadata"]["name"] for f in rendered(values_of(profile)) if f["kind"] == "Deployment"}
    assert [(where, what) for where, what in commands if where not in deployments or what not in known] == []


def test_the_notes_say_how_many_connections_the_database_must_allow() -> None:
    """The figures of each process are those of docs/operations.md."""
    page = (CHART.parents[1] / "docs" / "operations.md").read_text(encoding="utf-8")
    told = re.search(
        r"at most `RADMETER_WORKER_CONCURRENCY` \+ (\d+) for each worker, (\d+) for each receiver process of a gateway "
        r"and (\d+) beside, (\d+) for each portal, (\d+) for commands",
        page,
    )
    assert told is not None, "docs/operations.md says it in other words now"
    worker, receiver, gateway, portal, commands = map(int, told.groups())
    wanted = 30 * (8 + worker) + 6 * (2 * receiver + gateway) + 4 * portal + commands
    assert f"PostgreSQL must allow {wanted} connections" in templates(values_of("region"))["NOTES.txt"]


def test_no_process_counts_the_cores_of_its_node() -> None:
    """A container that may use two of sixty-four would start sixty-four processes, or threads."""
    objects = rendered(VARIANTS["hospital"])
    told = {v["name"] for _, t in pods(objects) for one in containers(t) for v in one.get("env", [])}
    assert {"RADMETER_RECEIVER_PROCESSES", "RADMETER_INFERENCE_THREADS", "OMP_NUM_THREADS"} <= told


class TestSchema:
    def test_every_default_passes_it_once_the_database_is_named(self) -> None:
        chart().validate_schema({})

    def test_every_value_that_it_names_has_a_default(self) -> None:
        schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
        from jsonschema import Draft202012Validator  # as slow to import

        Draft202012Validator.check_schema(schema)
        for leaf in leaves_of_schema():
            value = chart().values
            for name in leaf.split("."):
                value = value[name]

    def test_no_table_takes_a_name_that_it_does_not_know(self) -> None:
        schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
        open_tables = [path for path, table in tables(schema, "") if "additionalProperties" not in table]
        assert open_tables == []


def tables(node: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    if isinstance(node, list):
        return [found for part in node for found in tables(part, path)]
    if not isinstance(node, dict):
        return []
    own = [(path, node)] if node.get("type") == "object" else []
    return own + [found for key, part in node.items() for found in tables(part, f"{path}/{key}")]


class TestOwnKinds:
    """What the wheel has no schema for is looked at here."""

    def objects(self, kind: str) -> list[dict[str, Any]]:
        return [found for found in rendered(VARIANTS["region with everything"]) if found["kind"] == kind]

    def test_keda_scales_a_deployment_that_exists_and_sets_no_replicas(self) -> None:
        scaled = self.objects("ScaledObject")[0]["spec"]
        deployments = {found["metadata"]["name"]: found for found in self.objects("Deployment")}
        target = deployments[scaled["scaleTargetRef"]["name"]]
        assert "replicas" not in target["spec"], "Helm and KEDA would fight over it"
        assert 0 < scaled["minReplicaCount"] <= scaled["maxReplicaCount"]
        authentication = {found["metadata"]["name"] for found in self.objects("TriggerAuthentication")}
        for trigger in scaled["triggers"]:
            assert trigger["type"] == "postgresql"
            assert trigger["metricType"] in ("Value", "AverageValue")
            assert trigger["authenticationRef"]["name"] in authentication
            assert float(trigger["metadata"]["targetQueryValue"]) > 0
        assert len({trigger["name"] for trigger in scaled["triggers"]}) == 4

    def test_every_service_monitor_finds_a_port_of_a_service(self) -> None:
        services = self.objects("Service")
        monitors = self.objects("ServiceMonitor")
        assert {one["metadata"]["labels"]["app.kubernetes.io/component"] for one in monitors} == {
            "gateway", "worker", "portal", "triton", "backup",
        }  # fmt: skip
        for monitor in monitors:
            chosen = [s for s in services if selects(s["metadata"]["labels"], monitor["spec"]["selector"])]
            ports = {port["name"] for service in chosen for port in service["spec"]["ports"]}
            assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports

    def test_rules_and_dashboards_are_those_of_the_files(self) -> None:
        rules = {name.stem for name in (CHART / "files" / "rules").glob("*.yaml")}
        boards = {name.name for name in (CHART / "files" / "dashboards").glob("*.json")}
        assert len(self.objects("PrometheusRule")) == len(rules)
        for rule in self.objects("PrometheusRule"):
            assert rule["spec"]["groups"]
        shown = {
            name: json.loads(text)
            for found in self.objects("ConfigMap")
            for name, text in found["data"].items()
            if name.endswith(".json")
        }
        assert set(shown) == boards
        assert all(board.get("title") for board in shown.values())


def test_the_package_carries_no_tests_and_every_file_it_needs(tmp_path: Path) -> None:
    archive = helm_python.Chart.load(chart().save(tmp_path))
    names = {one["name"] for one in archive.files}
    assert {f"files/scaling/{one.name}" for one in (CHART / "files" / "scaling").glob("*.sql")} <= names
    assert archive.render(values_of("region"), name="radmeter", namespace="imaging") == chart().render(
        values_of("region"), name="radmeter", namespace="imaging"
    )
