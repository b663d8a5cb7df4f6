"""What goes to the builder of the image: all that is copied, and nothing that only lies about."""

from __future__ import annotations

from pathlib import Path

import pathspec
import pytest

from tests.dockerfile import ROOT, Dockerfile, arguments

IGNORED = pathspec.PathSpec.from_lines(
    "gitignore", (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
)
COPIED = [
    part
    for argument in arguments(Dockerfile.of_the_project().stage("build"), "COPY")
    if "--from" not in argument
    for part in argument.split(" ")[:-1]
]


def goes(name: str) -> bool:
    """Docker's rule: the last pattern that matches the path or a folder above it decides."""
    said = False
    for pattern in IGNORED.patterns:
        if pattern.include is None:
            continue
        path = Path(name)
        if any(pattern.match_file(str(part)) for part in (path, *list(path.parents)[:-1])):
            said = bool(pattern.include)
    return not said


@pytest.mark.parametrize("source", COPIED)
def test_what_the_dockerfile_copies_goes_to_the_builder(source: str) -> None:
    path = ROOT / source
    files = (
        [path]
        if path.is_file()
        else [one for one in path.rglob("*") if one.suffix in {".py", ".sql", ".onnx", ".txt"}]
    )
    assert files
    assert [str(one.relative_to(ROOT)) for one in files if not goes(str(one.relative_to(ROOT)))] == []


@pytest.mark.parametrize(
    "name",
    [
        ".git/config", ".venv/bin/python", "demo-data/instances/1.dcm", "dist/radmeter.whl", "docs/limits.md",
        "server/.env", "portal/static/.secret/key.pem", "pipeline/__pycache__/route.cpython-312.pyc", "server/run.log",
        "benchmarks/results/1.json", "shared/data/1.dcm", "tests/conftest.py", "helm/radmeter/values.yaml",
    ],
)  # fmt: skip
def test_what_only_lies_about_does_not(name: str) -> None:
    assert not goes(name)
