"""The build stage of the Dockerfile, run step by step, and its result served as the image: / read-only, no root.

Debian's packages are this machine's, and its Python: what an image builder would fetch is not fetched here.
"""

from __future__ import annotations

import json
import logging
import re
import shlex
import shutil
import signal
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests import conftest
from tests.dockerfile import ROOT, Dockerfile, arguments
from tests.image.mini_root import MiniRoot, may_make_namespaces
from tests.ports import free_port
from tests.test_tidy import tracked_files

pytestmark = pytest.mark.soak

FILE = Dockerfile.of_the_project()
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
ABSENT = {"torch", "monai", "onnx", "onnxscript", "nncf", "triton_python_backend_utils"}
MIB_MAX = 1250
"""Of the whole environment of the cpu profile, byte code included. docs/image.md has the table."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> MiniRoot:
    """A root after every step of the build stage."""
    if not may_make_namespaces():
        conftest.missing("may not make namespaces here", "RADMETER_REQUIRE_PEERS")
    if shutil.which("tini") is None:
        conftest.missing("not installed: tini (make test installs it)", "RADMETER_REQUIRE_PEERS")
    parent = tmp_path_factory.mktemp("image")
    root = MiniRoot.new(parent / "root")
    for name, argument in FILE.stage("build"):
        if name == "COPY":
            copy(root, argument)
        elif name == "RUN":
            done = root.build(argument)
            assert done.returncode == 0, f"{argument}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return root


def copy(root: MiniRoot, argument: str) -> None:
    if argument.startswith("--from=base /var/lib/dpkg/status"):
        shutil.copy("/var/lib/dpkg/status", root.folder / "build" / "dpkg-status")
        return
    *sources, target = argument.split(" ")
    for source in sources:
        for path in tracked_files():
            if path.is_relative_to(ROOT / source):
                place = (
                    root.folder
                    / "build"
                    / target
                    / path.relative_to((ROOT / source) if (ROOT / source).is_dir() else ROOT)
                )
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)


def environment(**more: str) -> dict[str, str]:
    """What the image sets, with the ports of this run."""
    said = " ".join(arguments(FILE.final, "ENV"))
    given = dict(pair.split("=", 1) for pair in shlex.split(said))
    return (
        given
        | {
            "PATH": "/opt/radmeter/bin:/usr/bin:/bin:/usr/sbin",
            "HOME": "/var/lib/radmeter",
            "LANG": "C.UTF-8",
        }
        | more
    )


def run(image: MiniRoot, program: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = image.command(f"cd /var/lib/radmeter && {program}", read_only=True)
    return subprocess.run(command, env=environment(**more), capture_output=True, text=True, timeout=300)


@contextmanager
def serving(image: MiniRoot, role: str, **more: str) -> Iterator[psutil.Process]:
    """Process 1 of the running image, as its ENTRYPOINT starts it."""
    entry = shlex.join(json.loads(arguments(FILE.final, "ENTRYPOINT")[-1]))
    command = image.command(f"cd /var/lib/radmeter && exec {entry} serve --role {role}", read_only=True)
    with subprocess.Popen(command, env=environment(**more)) as outside:
        try:
            deadline = time.monotonic() + 30
            while not (children := psutil.Process(outside.pid).children()) or children[0].name() != "tini":
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield children[0]
        finally:  # the death of process 1 ends the others of its namespace
            for process in psutil.Process(outside.pid).children():
                process.kill()
            outside.wait(30)


def wait_until_healthy(image: MiniRoot, **more: str) -> None:
    """By the image's own HEALTHCHECK."""
    check = shlex.join(json.loads(arguments(FILE.final, "HEALTHCHECK")[-1].split("CMD ", 1)[1]))
    deadline = time.monotonic() + 300
    while (answer := run(image, check, **more)).returncode != 0:
        assert time.monotonic() < deadline, answer.stderr
        time.sleep(1)


def test_the_environment_is_as_small_as_the_page_says(image: MiniRoot) -> None:
    files = [
        path
        for path in (image.folder / "opt/radmeter").rglob("*")
        if path.is_file() and not path.is_symlink()
    ]
    sizes = {"byte code": 0, "all": 0}
    for path in files:
        size = path.lstat().st_size
        sizes["all"] += size
        sizes["byte code"] += size if path.suffix == ".pyc" else 0
    logging.getLogger(__name__).info("MiB: %s", {name: round(size / 2**20) for name, size in sizes.items()})
    assert sizes["all"] < MIB_MAX * 2**20


def test_every_module_of_the_product_can_be_imported_from_it(image: MiniRoot) -> None:
    """But those that need the packages of training, which are not in it."""
    program = f"""
import importlib, pkgutil
absent = {ABSENT}
for package in {PACKAGES}:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name.split(".")[0] not in absent:
                print(module.name, error)
"""
    done = run(image, f"python -c {shlex.quote(program)}")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_a_study_is_analyzed_by_both_engines(image: MiniRoot, shared_data: Path) -> None:
    study = shutil.copytree(shared_data / "ct_chest_lidc0314_1mm", image.folder.parent / "volume" / "study")
    for path in (study, *study.rglob("*")):
        path.chmod(0o755)
    for engine in ("onnxruntime", "openvino"):
        done = run(image, f"radmeter analyze study --out out-{engine}", RADMETER_INFERENCE_ENGINE=engine)
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_can_be_installed_or_built_in_it(image: MiniRoot) -> None:
    assert run(image, "python -m pip --version").returncode != 0
    (packages,) = (image.folder / "opt/radmeter").glob("lib/python3.*/site-packages")
    assert not list(packages.glob("hatchling*"))
    assert run(image, "touch /opt/radmeter/x").returncode != 0


def spelled(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_its_bill_of_materials_lists_every_package_in_it(image: MiniRoot) -> None:
    bom = json.loads((image.folder / "build/radmeter.cdx.json").read_text())
    listed = {spelled(one["name"]) for one in [bom["metadata"]["component"], *bom["components"]]}
    (packages,) = (image.folder / "opt/radmeter").glob("lib/python3.*/site-packages")
    there = {spelled(path.name.split("-")[0]) for path in packages.glob("*.dist-info")}
    assert len(there) > 50
    assert there - listed == set()
    assert "postgresql" in listed
    assert any(one["type"] == "machine-learning-model" for one in bom["components"])


def test_it_serves_with_a_read_only_root_and_drains_when_asked(image: MiniRoot) -> None:
    ports = {"RADMETER_HTTP_PORT": str(free_port()), "RADMETER_DICOM_PORT": str(free_port())}
    with serving(image, "all", **ports) as first:
        wait_until_healthy(image, **ports)
        family = first.children(recursive=True)
        assert {process.uids().real for process in family} == {10001}
        first.send_signal(signal.SIGTERM)
        psutil.wait_procs([first], timeout=60)
        assert not first.is_running()
        assert [process for process in family if process.is_running()] == []
