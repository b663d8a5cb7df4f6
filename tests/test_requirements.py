"""The locks: hashes on everything, one version of a package everywhere, nothing in pyproject unlocked."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = ("build", "cpu", "dev", "gpu", "sbom", "train", "train-cuda", "triton-server")
EXTRAS_OF = {
    "cpu": ("cpu",), "dev": ("cpu", "dev"), "gpu": ("gpu",), "train": ("train",), "train-cuda": ("train",),
}  # fmt: skip


def pins(lock: str) -> dict[str, list[tuple[Requirement, list[str]]]]:
    """Name → its pins, each with its hashes; markers may give one package several pins."""
    text = (FOLDER / f"{lock}.txt").read_text(encoding="utf-8")
    found: dict[str, list[tuple[Requirement, list[str]]]] = {}
    for block in re.split(r"(?m)^(?=[a-z0-9])", text)[1:]:
        requirement = Requirement(block.split("\n", 1)[0].rstrip(" \\"))
        hashes = re.findall(r"--hash=(sha256:[0-9a-f]{64})", block)
        found.setdefault(canonicalize_name(requirement.name), []).append((requirement, hashes))
    return found


def versions(lock: str) -> dict[str, set[str]]:
    return {
        name: {str(requirement.specifier) for requirement, _ in entries}
        for name, entries in pins(lock).items()
    }


def test_every_lock_is_known_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(LOCKS)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_and_has_hashes(lock: str) -> None:
    loose = [
        str(requirement)
        for entries in pins(lock).values()
        for requirement, hashes in entries
        if not re.fullmatch(r"==[\w.]+", str(requirement.specifier)) or not hashes
    ]
    assert loose == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_says_where_packages_come_from(lock: str) -> None:
    text = (FOLDER / f"{lock}.txt").read_text(encoding="utf-8")
    assert not re.search(
        r"(?m)^\s*--?(?:index-url|extra-index-url|find-links|trusted-host|[if])\b|https?://", text
    )


@pytest.mark.parametrize("lock", EXTRAS_OF)
def test_every_dependency_of_the_project_is_locked_at_a_version_it_allows(lock: str) -> None:
    wanted = [*PROJECT["dependencies"]]
    for extra in EXTRAS_OF[lock]:
        wanted += PROJECT["optional-dependencies"][extra]
    locked = pins(lock)
    for requirement in map(Requirement, wanted):
        entries = locked.get(canonicalize_name(requirement.name))
        assert entries, f"{requirement.name} is not in requirements/{lock}.txt; run make lock"
        for pin, _ in entries:
            version = str(pin.specifier).removeprefix("==")
            assert requirement.specifier.contains(version), f"{requirement} but {lock}.txt has {version}"


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock not in ("dev", "triton-server")])
def test_a_package_has_the_same_version_in_every_lock(lock: str) -> None:
    """So that any lock can be installed on top of dev.txt."""
    dev = versions("dev")
    assert {name: pinned for name, pinned in versions(lock).items() if dev.get(name, pinned) != pinned} == {}


def test_the_gpu_lock_differs_from_the_cpu_lock_in_the_runtimes_alone() -> None:
    cpu, gpu = set(pins("cpu")), set(pins("gpu"))
    assert cpu - gpu == {"onnxruntime", "openvino", "openvino-telemetry"}
    assert {name for name in gpu - cpu if not name.startswith(("nvidia-", "cuda-"))} == {"onnxruntime-gpu"}


def test_the_two_training_locks_differ_in_torch_alone() -> None:
    cpu, cuda = pins("train"), pins("train-cuda")
    assert {
        name for name in cuda.keys() - cpu.keys() if not name.startswith(("nvidia-", "cuda-", "triton"))
    } == set()
    assert cpu.keys() <= cuda.keys()
    (cpu_torch,), (cuda_torch,) = cpu.pop("torch"), cuda["torch"]
    assert cpu_torch[0] == cuda_torch[0]
    assert not set(cpu_torch[1]) & set(cuda_torch[1]), "pip would prefer the wheel whose hash the index tells"
    assert all(cuda[name] == entries for name, entries in cpu.items())


def test_serving_installs_no_torch() -> None:
    assert not {"torch", "monai", "onnx"} & (pins("cpu").keys() | pins("gpu").keys())


def test_triton_runs_the_graphs_with_the_same_runtimes() -> None:
    dev, triton = versions("dev"), versions("triton-server")
    for runtime in ("onnxruntime", "openvino", "tritonclient"):
        assert triton[runtime] == dev[runtime]
    assert all(version.startswith("==1.") for version in triton["numpy"]), "its Python backend needs numpy 1"
