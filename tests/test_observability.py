"""Metrics, rules, dashboards and their page belong together, and Prometheus' own tool accepts what it is given."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, missing
from tests.metric_names import defined_metrics
from tests.prometheus_alerts import CASES, Case

FILES = ROOT / "helm/radmeter/files"
RULES = sorted((FILES / "rules").glob("*.yaml"))
DASHBOARDS = sorted((FILES / "dashboards").glob("*.json"))
PAGE = (ROOT / "docs/observability.md").read_text(encoding="utf-8")
METRICS = defined_metrics()
SERIES = {series for metric in METRICS.values() for series in metric.series}
_NAME = re.compile(r"\bradmeter[_:][a-z0-9_:]+")


def promtool() -> str:
    """Where `scripts/system_packages.sh test` puts it when the system has none."""
    found = shutil.which("promtool", path=f"{Path.home()}/.cache/radmeter/bin:/usr/bin:/usr/local/bin")
    if found is None:
        missing(
            "not installed: promtool (scripts/system_packages.sh test brings it)", "RADMETER_REQUIRE_PEERS"
        )
    assert found is not None
    return found


def rules() -> Iterator[dict[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}


class TestPage:
    def test_every_metric_of_the_code_has_its_row_and_every_row_a_metric(self) -> None:
        rows = re.findall(r"^\| `(radmeter_[a-z0-9_]+)` \| (\w+) \| ([^|]*) \|", PAGE, re.MULTILINE)
        documented = {
            name: (kind, tuple(filter(None, re.split(r",\s*", labels.strip()))))
            for name, kind, labels in rows
        }
        assert len(documented) == len(rows), "a metric has two rows"
        assert documented == {name: (metric.kind, metric.labels) for name, metric in METRICS.items()}

    def test_every_alert_has_a_runbook_that_exists(self) -> None:
        titles = {title.strip().lower() for title in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)}
        for name, rule in ALERTS.items():
            assert rule["annotations"]["runbook"] == f"docs/observability.md#{name.lower()}"
            assert name.lower() in titles, f"{name} has no section in docs/observability.md"
        named = set(re.findall(r"^#+ (Radmeter\w+)$", PAGE, re.MULTILINE))
        assert named == set(ALERTS)

    def test_labels_name_no_patient_and_few_things(self) -> None:
        with_tenant = {name for name, metric in METRICS.items() if "tenant" in metric.labels}
        assert all(name.startswith("radmeter_model_") for name in with_tenant)
        forbidden = {
            "study",
            "patient",
            "uid",
            "peer",
            "ae_title",
            "destination",
            "user",
            "host",
            "accession",
        }
        assert [name for name, metric in METRICS.items() if forbidden & set(metric.labels)] == []


class TestQueries:
    @pytest.mark.parametrize("path", [*RULES, *DASHBOARDS], ids=lambda path: path.name)
    def test_they_name_only_metrics_that_exist(self, path: Path) -> None:
        for expr in _expressions(path):
            names = set(_NAME.findall(expr))
            assert names, expr
            assert names <= SERIES | RECORDED, f"{path.name}: {names - SERIES - RECORDED} in {expr}"

    @pytest.mark.parametrize("path", [*RULES, *DASHBOARDS], ids=lambda path: path.name)
    def test_they_name_only_labels_that_the_metric_has(self, path: Path) -> None:
        for expr in _expressions(path):
            for name, matchers in re.findall(r"\b(radmeter_[a-z0-9_]+)\{([^}]*)\}", expr):
                of = next(metric for metric in METRICS.values() if name in metric.series)
                asked = set(re.findall(r"(\w+)\s*[=!]~?", matchers))
                assert asked <= {*of.labels, "le"}, f"{path.name}: {name} has no {asked - set(of.labels)}"

    def test_each_metric_is_looked_at_somewhere(self) -> None:
        asked = {
            name
            for path in (*RULES, *DASHBOARDS)
            for expr in _expressions(path)
            for name in _NAME.findall(expr)
        }
        assert [name for name, metric in METRICS.items() if not metric.series & asked] == []


class TestRules:
    def test_prometheus_accepts_them(self) -> None:
        done = _run(promtool(), "check", "rules", *map(str, RULES))
        assert done.returncode == 0, done.stdout + done.stderr

    def test_each_alert_says_who_is_woken_and_for_how_long_it_has_to_hold(self) -> None:
        for name, rule in ALERTS.items():
            assert rule["labels"]["severity"] in ("page", "ticket"), name
            assert rule["for"], name
            assert rule["annotations"]["summary"], name

    def test_each_alert_fires_when_it_should_and_is_silent_when_it_should_be(self, tmp_path: Path) -> None:
        assert set(CASES) == set(ALERTS)
        # Cases over days are evaluated as seldom as they are sampled, and each only with the rules of its file.
        kinds = {(case.every, "objective" in case.labels) for case in CASES.values()}
        for every, is_objective in kinds:
            chosen = {
                name: case
                for name, case in CASES.items()
                if (case.every, "objective" in case.labels) == (every, is_objective)
            }
            document = {
                "rule_files": [str(FILES / "rules" / ("objectives.yaml" if is_objective else "alerts.yaml"))],
                "evaluation_interval": every,
                "group_eval_order": ["radmeter-objectives", "radmeter-budgets"] if is_objective else [],
                "tests": [test for name, case in chosen.items() for test in _as_tests(name, case)],
            }
            path = tmp_path / "alerts.yaml"
            path.write_text(yaml.safe_dump(document), encoding="utf-8")
            done = _run(promtool(), "test", "rules", str(path))
            assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]

    def test_a_case_that_is_wrong_would_be_seen(self, tmp_path: Path) -> None:
        fires, silent = _as_tests("RadmeterNoWorkers", CASES["RadmeterNoWorkers"])
        fires["input_series"], silent["input_series"] = silent["input_series"], fires["input_series"]
        document = {"rule_files": [str(path) for path in RULES], "tests": [fires, silent]}
        path = tmp_path / "alerts.yaml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        done = _run(promtool(), "test", "rules", str(path))
        assert done.returncode == 1
        assert (done.stdout + done.stderr).count("RadmeterNoWorkers") >= 2


class TestDashboards:
    @pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
    def test_it_is_one_that_grafana_reads(self, path: Path) -> None:
        board = json.loads(path.read_text(encoding="utf-8"))
        assert board["uid"] == f"radmeter-{path.stem}"
        assert board["schemaVersion"] >= 36
        assert [one["type"] for one in board["templating"]["list"]] == ["datasource"]
        panels = board["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            assert panel["type"] in ("row", "timeseries", "stat", "table")
            place = panel["gridPos"]
            squares = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert place["x"] + place["w"] <= 24
            assert not squares & taken, f"{panel['title']} covers another"
            taken |= squares
            if panel["type"] == "row":
                continue
            assert panel["description"], panel["title"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0

    def test_prometheus_accepts_every_query(self, tmp_path: Path) -> None:
        exprs = [expr for path in DASHBOARDS for expr in _expressions(path)]
        rules = [{"record": f"query:{index}", "expr": expr} for index, expr in enumerate(exprs)]
        path = tmp_path / "queries.yaml"
        path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}), encoding="utf-8")
        done = _run(promtool(), "check", "rules", str(path))
        assert done.returncode == 0, done.stdout + done.stderr


def _expressions(path: Path) -> list[str]:
    if path.suffix == ".json":
        panels = json.loads(path.read_text(encoding="utf-8"))["panels"]
        return [target["expr"] for panel in panels for target in panel.get("targets", ())]
    groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def _as_tests(name: str, case: Case) -> list[dict[str, Any]]:
    labels = {
        "alertname": name,
        "alertstate": "firing",
        "severity": ALERTS[name]["labels"]["severity"],
        **case.labels,
    }
    shown = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    fires = [{"labels": f"ALERTS{{{shown}}}", "value": 1}]
    asked = f'ALERTS{{alertname="{name}",alertstate="firing"}}'
    return [
        {
            "name": f"{name} {'fires' if samples else 'is silent'}",
            "interval": case.every,
            "input_series": [{"series": series, "values": values} for series, values in values_of.items()],
            "promql_expr_test": [{"expr": asked, "eval_time": case.at, "exp_samples": samples}],
        }
        for values_of, samples in ((case.bad, fires), (case.good, []))
    ]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
