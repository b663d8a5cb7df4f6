"""The bill of materials: packages of Debian and Python, programs and weights; a wrong list is refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dockerfile import ROOT

STATUS = """Package: libpango-1.0-0
Status: install ok installed
Architecture: amd64
Version: 1:1.50.12+ds-1
Description: Layout and rendering
 of: text

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with one model's weights beside it."""
    folder = tmp_path_factory.mktemp("sbom") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python3.*/site-packages")
    (packages / "models" / "one").mkdir(parents=True)
    (packages / "models" / "one" / "weights.onnx").write_bytes(b"graph")
    return folder


def completed(environment: Path, components: list[dict[str, str]]) -> subprocess.CompletedProcess[str]:
    folder = environment.parent
    listed = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}
    (folder / "python.cdx.json").write_text(json.dumps(listed))
    (folder / "status").write_text(STATUS)
    return subprocess.run(
        [sys.executable, ROOT / "scripts/image/sbom.py", "--environment", environment,
         "--dpkg-status", folder / "status", "--output", folder / "all.json", folder / "python.cdx.json"],
        capture_output=True, text=True,
    )  # fmt: skip


def test_it_lists_packages_of_debian_programs_and_weights_beside_those_of_python(environment: Path) -> None:
    done = completed(environment, [{"type": "library", "name": "numpy", "version": "2", "bom-ref": "numpy"}])
    assert done.returncode == 0, done.stderr
    listed = json.loads((environment.parent / "all.json").read_text())["components"]
    assert [one["name"] for one in listed] == ["numpy", "libpango-1.0-0", "python", "models/one/weights.onnx"]
    assert listed[1]["purl"] == "pkg:deb/debian/libpango-1.0-0@1%3A1.50.12%2Bds-1?arch=amd64"
    assert listed[2]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert listed[3]["hashes"][0]["content"] == hashlib.sha256(b"graph").hexdigest()


def test_a_list_that_breaks_the_schema_is_not_written(environment: Path) -> None:
    (environment.parent / "all.json").unlink(missing_ok=True)
    done = completed(environment, [{"type": "library"}])
    assert done.returncode != 0
    assert "not a valid CycloneDX document" in done.stderr
    assert not (environment.parent / "all.json").exists()
