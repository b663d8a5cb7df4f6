"""Logs and metrics: one JSON object a line, an allow-list of fields, no values in a traceback."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import generate_latest

from inference.engine import Engine
from pipeline.store import StudyRecord
from server.metrics import Metrics, collected_metrics, measured_in, open_circuits
from server.step_metrics import StepMetrics
from server.telemetry import LOG_FIELDS, JsonLines, configure_logging
from tests.conftest import ROOT

PACKAGES = (
    "study",
    "models",
    "inference",
    "dicom_gateway",
    "billing",
    "pipeline",
    "portal",
    "server",
    "storage",
)
CANARY = "CANARY^MARY"


def logged(message: str, level: int = logging.INFO, **options: Any) -> dict[str, Any]:
    """What one record becomes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("radmeter.test")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        logger.log(level, message, **options)
    finally:
        logger.removeHandler(handler)
    (line,) = stream.getvalue().splitlines()
    record: dict[str, Any] = json.loads(line)
    return record


def test_a_record_is_one_json_object_with_instant_level_and_event() -> None:
    line = logged("study_routed", extra={"tenant": "default", "study": "abc", "duration_ms": 12})
    assert set(line) == {"at", "level", "logger", "event", "tenant", "study", "duration_ms"} | set(line)
    assert (line["level"], line["event"], line["study"], line["duration_ms"]) == (
        "info",
        "study_routed",
        "abc",
        "12",
    )
    assert line["at"].endswith("+00:00")


@pytest.mark.parametrize(
    "name",
    ["patient_name", "patient_id", "study_instance_uid", "accession_number", "path", "args_text", "uid"],
)
def test_a_field_outside_the_allow_list_is_left_out(name: str) -> None:
    assert name not in LOG_FIELDS
    line = logged("event", extra={name: CANARY})
    assert CANARY not in json.dumps(line)


def test_a_traceback_says_where_and_what_kind_and_quotes_nothing() -> None:
    def fail(patient_name: str) -> None:
        raise ValueError(f"cannot read {patient_name}")

    try:
        fail(CANARY)
    except ValueError:
        line = logged("step_gave_up", logging.ERROR, exc_info=True)
    assert CANARY not in json.dumps(line)
    assert line["exception"].startswith("ValueError at test_telemetry.py:")
    assert "fail" in line["exception"]


def test_the_cause_of_an_error_is_not_quoted_either() -> None:
    try:
        try:
            raise KeyError(CANARY)
        except KeyError as cause:
            raise RuntimeError(CANARY) from cause
    except RuntimeError:
        line = logged("step_gave_up", logging.ERROR, exc_info=True, stack_info=True)
    assert CANARY not in json.dumps(line)


def test_a_line_break_does_not_begin_a_second_record() -> None:
    line = logged('event\n{"level": "error", "event": "forged"}\x1b[2J')
    assert line["event"].startswith("event\n")


def test_libraries_that_quote_what_they_handle_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        configure_logging("DEBUG")
        for name in ("pydicom", "pynetdicom", "pynetdicom.acse", "highdicom", "weasyprint", "procrastinate"):
            logging.getLogger(name).error(CANARY)
        logging.getLogger("radmeter.x").info("kept")
    finally:
        root.handlers[:], root.level = before
    written = capsys.readouterr().err
    assert "kept" in written
    assert CANARY not in written


def _extra_fields() -> Iterator[tuple[str, str]]:
    """(place, field) of every `extra={"field": …}` of the product."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                for keyword in node.keywords if isinstance(node, ast.Call) else ():
                    if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
                        for key in keyword.value.keys:
                            assert isinstance(key, ast.Constant)
                            yield f"{path.relative_to(ROOT)}:{node.lineno}", str(key.value)


def test_every_field_that_is_logged_is_allowed_and_free() -> None:
    """A name that logging itself uses raises at the first record: the supervisor once ended of its own log line."""
    taken = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
    logged_fields = list(_extra_fields())
    assert len(logged_fields) > 10
    assert [(place, name) for place, name in logged_fields if name in taken or name not in LOG_FIELDS] == []


def test_metrics_count_steps_by_name_and_outcome() -> None:
    metrics = Metrics()
    StepMetrics(metrics).step_ended("infer", "inferred", 3.0)
    StepMetrics(metrics).step_ended("infer", "failed", 0.2)
    text = generate_latest(metrics.registry).decode()
    assert 'radmeter_step_seconds_count{gives="inferred",step="infer"} 1.0' in text
    assert 'radmeter_step_seconds_bucket{gives="inferred",le="2.5",step="infer"} 0.0' in text
    assert 'radmeter_step_seconds_count{gives="failed",step="infer"} 1.0' in text


def test_studies_are_counted_by_the_rules_that_chose_their_models() -> None:
    metrics = Metrics()
    routed = StepMetrics(metrics).routed
    for choices in (
        [{"rule": "chest"}, {"rule": "chest"}, {"rule": "stroke"}],
        [{"rule": "chest"}],
        [{"product": "x"}],
    ):
        routed(cast("StudyRecord", SimpleNamespace(route=choices)))
    for number in range(600):
        routed(cast("StudyRecord", SimpleNamespace(route=[{"rule": f"rule {number}"}])))
    text = generate_latest(metrics.registry).decode()
    assert 'radmeter_rule_studies_total{rule="chest"} 2.0' in text
    assert 'radmeter_rule_studies_total{rule="OTHER"} 102.0' in text


def test_alone_a_process_shows_its_own_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    assert generate_latest(collected_metrics()) == b""


def test_a_circuit_that_a_worker_opened_is_seen_until_it_closes() -> None:
    metrics, engine = Metrics(), Engine("triton", "cuda", "fp16")
    assert open_circuits(metrics.registry) == []
    metrics.ran(engine, "timed_out", 600.0)
    metrics.happened(engine, "circuit_opened")
    assert open_circuits(metrics.registry) == ["triton cuda fp16"]
    metrics.happened(engine, "circuit_closed")
    assert open_circuits(metrics.registry) == []
    text = generate_latest(metrics.registry).decode()
    assert 'radmeter_inference_events_total{engine="triton cuda fp16",event="circuit_opened"} 1.0' in text
    assert 'radmeter_inference_seconds_count{engine="triton cuda fp16",outcome="timed_out"} 1.0' in text


def test_a_circuit_does_not_stay_open_when_its_worker_dies(tmp_path: Path) -> None:
    worker = """
import os
from inference.engine import Engine
from server.metrics import Metrics
Metrics().happened(Engine("triton", "cuda", "fp16"), "circuit_opened")
print(os.getpid())
"""
    portal = """
import sys
from server.processes import _forget_the_present_of
from server.metrics import collected_metrics, open_circuits
print(open_circuits(collected_metrics()))
_forget_the_present_of(int(sys.argv[1]))
print(open_circuits(collected_metrics()))
"""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def run(program: str, *arguments: str) -> str:
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert run(portal, run(worker).strip()).split("\n")[:2] == ["['triton cuda fp16']", "[]"]


def test_a_process_that_has_served_keeps_its_own_metrics_again(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    with measured_in(folder):
        Metrics()
        assert list(folder.iterdir())
    shutil.rmtree(folder)
    Metrics()
    assert not folder.exists()
