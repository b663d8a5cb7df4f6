"""`radmeter serve --role triton` and `radmeter triton check`, as processes against a real server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

pytest.importorskip("tritonclient.grpc")

from inference.triton_shared_memory import FOLDER
from server.cli import app
from server.errors import SettingInvalid
from server.processes import notices, roles_of
from server.settings import Settings, load_settings
from server.triton import TritonMetrics, last_problem
from tests.conftest import ROOT
from tests.ports import free_port
from tests.triton_peer import environment


@dataclass
class Watch:
    process: subprocess.Popen[bytes]
    settings: Settings
    variables: dict[str, str]

    def tritonserver(self) -> psutil.Process:
        (server,) = psutil.Process(self.process.pid).children()
        return server

    def wait(self, claim: Callable[[], bool], timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not claim():
            assert self.process.poll() is None, "the watch has ended"
            assert time.monotonic() < deadline, last_problem(self.settings)
            time.sleep(0.1)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    port = free_port()
    variables = {
        "RADMETER_DATA": str(tmp_path / "data"),
        "RADMETER_INFERENCE_ENGINE": "triton",
        "RADMETER_INFERENCE_THREADS": "1",
        "RADMETER_TRITON_URL": f"grpc://127.0.0.1:{port}",
        "RADMETER_TRITON_SERVER": str(environment()),
        "RADMETER_TRITON_CANARY_S": "1",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RADMETER_")}
    variables = inherited | variables | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "serve", "--role", "triton"],
        cwd=tmp_path,
        env=variables,
        stderr=(tmp_path / "log").open("wb"),
    )
    yield Watch(process, load_settings(variables), variables)
    if process.poll() is None:
        process.terminate()
        process.wait(20)


def test_the_role_starts_the_server_mends_it_and_ends_with_it(watch: Watch, tmp_path: Path) -> None:
    watch.wait(lambda: last_problem(watch.settings) is None)
    checked = CliRunner().invoke(app, ["triton", "check"], env=watch.variables)
    assert checked.exit_code == 0, checked.output
    assert checked.stdout.startswith("ok      ")
    killed = watch.tritonserver()
    killed.kill()

    def another_serves() -> bool:
        with contextlib.suppress(ValueError):
            return watch.tritonserver() != killed and last_problem(watch.settings) is None
        return False

    watch.wait(another_serves)
    watch.wait(lambda: CliRunner().invoke(app, ["triton", "check"], env=watch.variables).exit_code == 0)
    watch.process.send_signal(signal.SIGTERM)
    assert watch.process.wait(20) == 0
    events = [
        json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines() if line[:1] == "{"
    ]
    assert events.count("triton_started") == 2
    assert "triton_model_recovered" in events
    port = watch.variables["RADMETER_TRITON_URL"].rpartition(":")[2]
    assert list(FOLDER.glob(f"radmeter_stub_{port}_*")) == []
    failed = CliRunner().invoke(app, ["triton", "check"], env=watch.variables)
    assert failed.exit_code == 1
    assert "cannot be reached" in failed.stdout


def test_a_watch_that_never_spoke_or_fell_silent_is_a_problem(tmp_path: Path) -> None:
    settings = Settings(data_directory=tmp_path)
    assert "nobody watches Triton" in str(last_problem(settings))
    settings.triton_directory.mkdir()
    state = settings.triton_directory / "health.json"
    state.write_text(json.dumps({"at": time.time(), "problem": None}))
    assert last_problem(settings) is None
    state.write_text(json.dumps({"at": time.time(), "problem": "the server has ended"}))
    assert last_problem(settings) == "the server has ended"
    state.write_text(json.dumps({"at": time.time() - 900, "problem": None}))
    assert "has said nothing for 900 s" in str(last_problem(settings))
    state.write_text("{")
    assert "nobody watches Triton" in str(last_problem(settings))


def test_the_watch_runs_and_is_asked_only_where_triton_runs_the_models(tmp_path: Path) -> None:
    without = Settings(data_directory=tmp_path)
    with_triton = Settings(data_directory=tmp_path, inference_engine="triton")
    assert "triton" not in roles_of(without)
    assert roles_of(with_triton) == ("gateway", "worker", "portal", "triton")
    assert set(notices(without, CollectorRegistry())) == {"inference"}
    asked = notices(with_triton, CollectorRegistry())
    assert "nobody watches Triton" in str(asked["triton"]())


def test_the_watch_measures_what_it_found() -> None:
    from inference.triton_supervisor import Health

    metrics = TritonMetrics()
    metrics.observe(Health({"a": None, "b": "it has died"}, {"a": 0.1, "b": 0.2}, 2))
    metrics.observe(Health({"a": None, "b": None}, {"a": 0.1, "b": 0.2}, 3))
    assert metrics.serves.labels("b")._value.get() == 1
    assert metrics.repairs._value.get() == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("triton_url", "http://host"), ("triton_shared_memory", "maybe"),
        ("triton_canary_s", 0.5),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(SettingInvalid, match=name):
        Settings(**{name: value})  # type: ignore[arg-type]
