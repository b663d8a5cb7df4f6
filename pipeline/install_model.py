"""Install a model from a folder, a zip or a MONAI bundle: checked, tried, then there as a whole or not at all.

Knows no tenant: an installed version runs nowhere until a tenant switches it on (`deployments`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dicom_gateway.child_process import ChildError, ChildLimits, run_child
from models.errors import GraphRefused, ModelError, ModelExists, ModelVersionNotFound
from models.manifest import Manifest, load_manifest
from models.monai_bundle import convert_bundle
from models.monai_config import is_bundle
from models.package import check_folder, unpack
from models.registry import FAMILIES, INSTALLATION_FILE, find_models, installed_models, is_built_in
from pipeline.study_file import write_durably

TRIAL_LIMITS = ChildLimits(memory_bytes=12 << 30, cpu_s=600, wall_clock_s=420.0, file_bytes=1 << 20)
"""The largest graphs of the public zoo take 3 GiB and a minute on one window."""


@dataclass(frozen=True)
class Installed:
    """What was installed, or could be. checks: one sentence for each that passed. left_out: files not taken."""

    manifest: Manifest
    checks: tuple[str, ...]
    left_out: tuple[str, ...]


def install(
    source: Path,
    data_directory: Path,
    *,
    clock: Callable[[], datetime],
    by: str = "",
    name: str | None = None,
    operating_threshold: float | None = None,
    dry_run: bool = False,
) -> Installed:
    """Install the model of a folder or zip under `data_directory`/models/<name>/<version>.

    name, operating_threshold: of a MONAI bundle, which states neither. dry_run: check and install nothing.
    Raises a `ModelError` that says what to change.
    """
    root = installed_models(data_directory)
    root.mkdir(parents=True, exist_ok=True)
    # Beside the models' folder: on the same file system, and not where models are looked for.
    with tempfile.TemporaryDirectory(dir=data_directory, prefix="model-arriving-") as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        left_out: tuple[str, ...] = ()
        if is_bundle(source):
            convert_bundle(source, folder, name=name, operating_threshold=operating_threshold)
        else:
            left_out = unpack(source, folder)
        with _as_it_was_brought(folder):
            manifest = check_folder(folder, frozenset(FAMILIES))
        there = find_models(data_directory).versions_of(manifest.name)
        if any(one.version == manifest.version and one.name == manifest.name for one in there):
            raise ModelExists(manifest.name, manifest.version)
        checks = (
            f"manifest: {manifest.name} {manifest.version}, family {manifest.family}",
            f"weights: SHA-256 {manifest.weights_sha256[:12]}… as the manifest says",
            *(f"weights of {one}: SHA-256 as the manifest says" for one in manifest.precisions),
            *_try_graphs(manifest, Path(scratch)),
        )
        if dry_run:
            return Installed(manifest, checks, left_out)
        origin = {"at": clock().astimezone(UTC).isoformat(), "by": by, "from": source.name}
        write_durably(folder / INSTALLATION_FILE, json.dumps(origin).encode())
        target = root / manifest.name / manifest.version
        _put(folder, target)
    return Installed(load_manifest(target), checks, left_out)


@contextlib.contextmanager
def _as_it_was_brought(folder: Path) -> Iterator[None]:
    """Errors name files as the package does: nobody knows the folder that it was unpacked into."""
    try:
        yield
    except ModelError as error:
        error.args = (str(error).replace(f"{folder}/", ""),)
        raise


def _try_graphs(manifest: Manifest, scratch: Path) -> list[str]:
    """Open and ask each graph of the model. Raises `GraphRefused`."""
    files = [manifest.weights_file, *(one.file for one in manifest.precisions.values())]
    sentences = []
    for number, file in enumerate(dict.fromkeys(files)):
        # Alone in a folder: a graph whose weights lie in another file would not be pinned by its digest.
        alone = scratch / f"graph-{number}"
        alone.mkdir()
        try:
            os.link(manifest.folder / file, alone / "model.onnx")
        except OSError:  # a file system without hard links
            shutil.copyfile(manifest.folder / file, alone / "model.onnx")
        sentences.append(f"{file}: {try_graph(manifest, alone / 'model.onnx')}")
    return sentences


def try_graph(manifest: Manifest, path: Path, limits: ChildLimits = TRIAL_LIMITS) -> str:
    """What the graph takes, after it gave what the manifest says. Raises `GraphRefused`."""
    arguments = {
        "path": str(path),
        "inputs": {name: list(shape) for name, shape in manifest.inputs.items()},
        "outputs": {name: list(shape) for name, shape in manifest.outputs.items()},
        "max_batch": manifest.max_batch,
    }
    try:
        answer = run_child("try_graph", arguments, limits, main="pipeline.model_child")
    except ChildError as error:
        raise GraphRefused(f"the graph was tried in a process of its own, which gave up: {error}") from error
    if answer["problems"]:
        raise GraphRefused("the graph does not fit: " + "; ".join(answer["problems"]))
    inputs = ", ".join(f"{name} {kind}" for name, kind in answer["inputs"].items())
    return f"takes {inputs} and gave {', '.join(manifest.outputs)} as the manifest says"


def _put(folder: Path, target: Path) -> None:
    """Move the whole folder to its place in one step. Raises `ModelExists` when another was faster."""
    target.parent.mkdir(exist_ok=True)
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
        _sync(file)
    _sync(folder)
    try:
        os.rename(folder, target)
    except OSError as error:
        raise ModelExists(target.parent.name, target.name) from error
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def uninstall(data_directory: Path, name: str, version: str) -> None:
    """Remove an installed version; whether somebody uses it is asked before (`deployments.users_of`).

    Raises `ModelVersionNotFound`, also for what comes with the software.
    """
    versions = [
        one
        for one in find_models(data_directory).versions_of(name)
        if one.name == name and not is_built_in(one)
    ]
    manifest = next((one for one in versions if one.version == version), None)
    if manifest is None:
        raise ModelVersionNotFound(
            name, version, [one.version for one in versions] or ["none that was installed"]
        )
    with tempfile.TemporaryDirectory(dir=data_directory, prefix="model-leaving-") as scratch:
        if manifest.folder.parent == installed_models(data_directory) and any(
            path.is_dir() for path in manifest.folder.iterdir()
        ):
            # Of a release that knew one version of each: newer versions lie in the same folder.
            for path in manifest.folder.iterdir():
                if path.is_file():
                    shutil.move(path, scratch)
        else:
            os.rename(manifest.folder, Path(scratch) / "model")
