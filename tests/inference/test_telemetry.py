"""Nothing leaves the machine that its settings do not name (invariant 8): the runtime's own telemetry is off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Telemetry is silent by itself where one of these says that it runs in CI or under a unit test.
SILENCERS = (
    "ORT_DISABLE_TELEMETRY",
    "ORT_RUNNING_UNIT_TESTS",
    "CI",
    "GITHUB_ACTIONS",
    "TF_BUILD",
    "GITLAB_CI",
)


@pytest.mark.parametrize(
    "statement",
    ["import inference.onnxruntime_endpoint", "import models.lung_nodule_ct.evaluate, onnxruntime"],
)
def test_onnx_runtime_leaves_no_identifier_behind(tmp_path: Path, statement: str) -> None:
    """Its reporter writes a session file as soon as it is loaded, and a device id and a cache later."""
    environment = {name: value for name, value in os.environ.items() if name not in SILENCERS}
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        environment[name] = str(home)
    environment["MPLCONFIGDIR"] = str(tmp_path / "matplotlib")  # its font cache is no report to anybody
    program = f"import os; {statement}; import onnxruntime as runtime; runtime.SessionOptions(); "
    program += "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
    assert [path.name for path in home.rglob("*")] == []


def test_openvino_reports_nothing(tmp_path: Path) -> None:
    """Its reporter is a Python package; as soon as it is imported, it writes an identifier below the home directory."""
    pytest.importorskip("openvino")
    environment = {name: value for name, value in os.environ.items() if name not in SILENCERS}
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        environment[name] = str(tmp_path)
    program = """
import sys, numpy
from inference.openvino_endpoint import OpenVINOEndpoint
from models.registry import get_model
OpenVINOEndpoint(1).run(get_model("lung_nodule_ct"), {"hounsfield": numpy.zeros((1, 48, 48, 48), numpy.int16)})
loaded = [name for name in sys.modules if name.startswith("openvino_telemetry.")]
print("reporter:", loaded, sys.modules["openvino_telemetry"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "reporter: [] None\n"
    assert [path.name for path in tmp_path.rglob("*")] == []
