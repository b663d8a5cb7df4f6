"""What a wheel carries beside code: migrations, templates, weights. Missing ones show only once installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("radmeter-*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_carries_every_file_of_every_package(wheel_names: set[str]) -> None:
    packages = {name.split("/")[0] for name in wheel_names if not name.split("/")[0].endswith(".dist-info")}
    tracked = subprocess.run(
        ["git", "ls-files", "-z", *sorted(packages)], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    present = {name for name in tracked if (ROOT / name).is_file()}
    assert {Path(name).suffix for name in present} >= {".py", ".sql", ".onnx", ".html", ".toml", ".pem"}
    assert present - wheel_names == set()


def test_the_wheel_carries_nothing_but_the_packages(wheel_names: set[str]) -> None:
    top = {name.split("/")[0] for name in wheel_names}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "study", "models", "inference", "dicom_gateway", "billing", "pipeline", "portal", "server", "storage",
    }  # fmt: skip
