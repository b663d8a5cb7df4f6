"""Models from somebody: folders, zips and hostile zips. What is refused leaves nothing behind."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dicom_gateway.child_process import ChildLimits
from models.errors import (
    GraphRefused,
    InvalidManifest,
    InvalidPackage,
    ModelError,
    ModelExists,
    ModelVersionNotFound,
    WeightsDigestMismatch,
)
from models.manifest import load_manifest
from models.registry import find_models, get_model, list_models
from pipeline.install_model import Installed, install, try_graph, uninstall
from tests.model_packages import package_files, write_folder, write_zip
from tests.onnx_builder import FLOAT, Graph, elsewhere, mean_graph, node

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def add(source: Path, data: Path, **options: Any) -> Installed:
    return install(source, data, clock=lambda: NOW, by="operator", **options)


def nothing_is_left(data: Path) -> bool:
    return sorted(path.name for path in data.rglob("*")) == ["models"]


def test_a_folder_and_a_zip_of_it_install_alike(tmp_path: Path, data: Path) -> None:
    files = package_files()
    first = add(write_folder(tmp_path / "folder", files), data)
    second = add(write_zip(tmp_path / "b.zip", package_files(version="1.1.0"), top="means-1.1/"), data)
    assert (first.manifest.version, second.manifest.version) == ("1.0.0", "1.1.0")
    assert first.manifest.folder == data / "models/means/1.0.0"
    assert {path.name for path in first.manifest.folder.iterdir()} == {*files, "installed.json"}
    assert json.loads((first.manifest.folder / "installed.json").read_text()) == {
        "at": "2026-05-04T12:00:00+00:00", "by": "operator", "from": "folder",
    }  # fmt: skip
    assert any("hounsfield tensor(int16) [varies, varies, varies, varies]" in one for one in first.checks)
    assert stat.S_IMODE((first.manifest.folder / "model.onnx").stat().st_mode) == 0o644


def test_versions_stand_side_by_side_and_a_new_one_does_not_become_the_default(
    tmp_path: Path, data: Path
) -> None:
    for version in ("2.0.0", "1.0.0"):
        source = write_folder(tmp_path / version, package_files(version=version))
        install(source, data, clock=lambda v=version: NOW.replace(year=2028 - int(v[0])))  # type: ignore[misc]
    assert get_model("means", data).manifest.version == "2.0.0", "it was there first"
    assert get_model("means", data, version="1.0.0").manifest.version == "1.0.0"
    assert get_model("means@1.0.0", data).manifest.version == "1.0.0"
    assert [one.version for one in find_models(data).versions_of("means")] == ["2.0.0", "1.0.0"]
    with pytest.raises(ModelVersionNotFound, match=r"means has no version '3'; there is 2\.0\.0, 1\.0\.0"):
        get_model("means", data, version="3")


def test_an_installed_version_of_a_built_in_model_stands_beside_it(tmp_path: Path, data: Path) -> None:
    built_in = get_model("lung_nodule_ct").manifest
    add(write_folder(tmp_path / "a", package_files(name="lung_nodule_ct", version="9.0")), data)
    assert get_model("lung_nodule_ct", data).manifest == built_in
    assert get_model("lung_nodule_ct", data, version="9.0").manifest.publisher == "Test works"
    assert [one.version for one in list_models(data) if one.name == "lung_nodule_ct"] == [built_in.version]


def test_a_threshold_of_a_site_is_what_the_model_states(tmp_path: Path, data: Path) -> None:
    assert get_model("lung_nodule_ct", threshold=0.25).manifest.operating_threshold == 0.25


def test_the_same_version_twice_is_refused(tmp_path: Path, data: Path) -> None:
    folder = write_folder(tmp_path / "a", package_files())
    add(folder, data)
    with pytest.raises(
        ModelExists, match=r"means 1\.0\.0 is there already: give the new one another version"
    ):
        add(folder, data)


def test_a_dry_run_checks_all_and_installs_nothing(tmp_path: Path, data: Path) -> None:
    assert add(write_folder(tmp_path / "a", package_files()), data, dry_run=True).checks
    assert nothing_is_left(data)


def test_code_and_folders_are_left_out_and_named(tmp_path: Path, data: Path) -> None:
    files = package_files() | {"network.py": b"import os", "run.sh": b"rm", "plots/a.png": b"x"}
    added = add(write_zip(tmp_path / "a.zip", files), data)
    assert added.left_out == ("network.py", "run.sh", "plots/a.png")
    assert not list(data.rglob("*.py"))


REFUSALS: dict[str, tuple[type[ModelError], str, Callable[[], dict[str, bytes]]]] = {
    "no manifest": (InvalidPackage, "no manifest.toml directly", lambda: {"model.onnx": b""}),
    "a key misspelled": (InvalidManifest, "did you mean max_batch", lambda: package_files(max_bach=4)),
    "an unknown family": (
        InvalidManifest,
        "known are .*lung_nodule_ct",
        lambda: package_files(family="pickle"),
    ),
    "other weights": (
        WeightsDigestMismatch,
        "is refused",
        lambda: package_files() | {"model.onnx": b"other"},
    ),
    "no card": (InvalidPackage, "MODEL_CARD.md is missing", lambda: _without("MODEL_CARD.md")),
    "an empty card": (
        InvalidPackage,
        "MODEL_CARD.md is empty",
        lambda: package_files() | {"MODEL_CARD.md": b" "},
    ),
    "no licence": (InvalidPackage, "LICENSE.txt is missing .licence_file", lambda: _without("LICENSE.txt")),
    "broken figures": (InvalidPackage, "is not JSON", lambda: package_files() | {"evaluation.json": b"{"}),
    "no graph": (GraphRefused, "ONNX Runtime cannot open it", lambda: package_files(b"not a graph")),
    "another output": (
        GraphRefused,
        r"names an output mean, the graph has other \[varies, 1, 1, 1\]",
        lambda: package_files(mean_graph(output="other")),
    ),
    "another shape": (
        GraphRefused,
        r"output mean is \[varies, 1, 1, 1\] in the graph and \[1, 256\] in the manifest",
        lambda: package_files(tables={"outputs": {"mean": [1, 256]}}),
    ),
    "another input": (
        GraphRefused,
        "names an input image, the graph has hounsfield",
        lambda: package_files(tables={"inputs": {"image": [1, 64, 64, 64]}}),
    ),
    "NaN": (
        GraphRefused,
        "on noise it answers with NaN or infinity in mean",
        lambda: package_files(mean_graph(after=["Abs", "Neg", "Sqrt"])),
    ),
    "no batches": (
        GraphRefused,
        r"max_batch says that inputs may be stacked, but the graph takes hounsfield \[1,",
        lambda: package_files(mean_graph(batch=1), max_batch=4),
    ),
    "operations of its own": (
        GraphRefused,
        "ONNX Runtime cannot open it",
        lambda: package_files(mean_graph(after=["RunAProgram"])),
    ),
    "weights in another file": (
        GraphRefused,
        "ONNX Runtime cannot open it",
        lambda: package_files(_with_weights_in("more.onnx")) | {"more.onnx": bytes(4096)},
    ),
    "weights outside": (
        GraphRefused,
        "ONNX Runtime cannot open it",
        lambda: package_files(_with_weights_in("../model/model.onnx")),
    ),
    "weights at a place of the system": (
        GraphRefused,
        "ONNX Runtime cannot open it",
        lambda: package_files(_with_weights_in("/etc/services")),
    ),
}


def _without(name: str) -> dict[str, bytes]:
    return {key: content for key, content in package_files().items() if key != name}


def _with_weights_in(path: str) -> bytes:
    nodes = [node("Add", ["x", "w"], ["mean"])]
    return Graph([("x", FLOAT, [4])], [("mean", FLOAT, [4])], nodes, [elsewhere("w", path, 4)]).to_bytes()


@pytest.mark.parametrize("name", REFUSALS)
def test_a_model_that_cannot_be_served_is_refused_with_what_to_change(
    tmp_path: Path, data: Path, name: str
) -> None:
    error, sentence, files = REFUSALS[name]
    with pytest.raises(error, match=sentence):
        add(write_folder(tmp_path / "a", files()), data)
    assert nothing_is_left(data)


def test_errors_name_files_as_they_were_brought(tmp_path: Path, data: Path) -> None:
    files = package_files(weights_sha256="0" * 64)
    with pytest.raises(WeightsDigestMismatch, match=r"^model\.onnx has SHA-256 "):
        add(write_zip(tmp_path / "a.zip", files), data)
    with pytest.raises(InvalidManifest, match=r"^manifest\.toml: line \d+: version = "):
        add(write_zip(tmp_path / "b.zip", package_files(version="1 0")), data)


def test_a_graph_that_takes_too_much_costs_its_own_process(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", package_files())
    limits = ChildLimits(memory_bytes=64 << 20, cpu_s=20, wall_clock_s=30)
    with pytest.raises(GraphRefused, match="a process of its own, which gave up"):
        try_graph(load_manifest(folder), folder / "model.onnx", limits)


def test_further_weights_are_pinned_and_tried_too(tmp_path: Path, data: Path) -> None:
    graph = mean_graph(after=["Identity"])
    import hashlib

    int8 = {"file": "int8.onnx", "sha256": hashlib.sha256(graph).hexdigest()}
    files = package_files(tables={"precisions": {"int8": int8}}, max_batch=2) | {"int8.onnx": graph}
    added = add(write_folder(tmp_path / "a", files), data)
    assert sum("gave mean" in one for one in added.checks) == 2
    broken = package_files(version="2", tables={"precisions": {"int8": int8}}) | {"int8.onnx": b"x"}
    with pytest.raises(WeightsDigestMismatch, match=r"int8\.onnx"):
        add(write_folder(tmp_path / "b", broken), data)


def test_an_uninstalled_version_is_gone_and_what_comes_with_the_software_stays(
    tmp_path: Path, data: Path
) -> None:
    add(write_folder(tmp_path / "a", package_files()), data)
    add(write_folder(tmp_path / "b", package_files(version="1.1.0")), data)
    uninstall(data, "means", "1.0.0")
    assert [one.version for one in find_models(data).versions_of("means")] == ["1.1.0"]
    built_in = get_model("lung_nodule_ct").manifest
    with pytest.raises(ModelVersionNotFound, match="none that was installed"):
        uninstall(data, "lung_nodule_ct", built_in.version)
    with pytest.raises(ModelVersionNotFound):
        uninstall(data, "../data", "1")


def test_a_version_that_an_older_release_installed_is_found_and_removed_without_the_newer_ones(
    tmp_path: Path, data: Path
) -> None:
    write_folder(data / "models/means", package_files(version="0.9"))
    add(write_folder(tmp_path / "a", package_files()), data)
    assert get_model("means", data).manifest.version == "0.9"
    uninstall(data, "means", "0.9")
    assert [one.version for one in find_models(data).versions_of("means")] == ["1.0.0"]


def test_a_model_that_cannot_be_read_hides_no_other(tmp_path: Path, data: Path) -> None:
    write_folder(data / "models/broken/1", {"manifest.toml": b"name = ["})
    assert get_model("lung_nodule_ct", data).manifest.name == "lung_nodule_ct"
    assert len(find_models(data).problems) == 1
    with pytest.raises(InvalidManifest):
        list_models(data)
