"""Which parts of the served graph become 8 bits, and how the file is pinned."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models.manifest import WeightsFile, load_manifest
from models.registry import get_model

pytestmark = pytest.mark.train


def test_the_convolutions_between_the_first_and_the_head_become_8_bits_and_nothing_of_the_peaks() -> None:
    onnx = pytest.importorskip("onnx")
    from models.lung_nodule_ct.quantise import quantised_nodes

    graph = onnx.load(get_model("lung_nodule_ct").manifest.weights_path).graph
    kinds = {node.name: node.op_type for node in graph.node}
    convolutions = [name for name, kind in kinds.items() if kind == "Conv"]
    chosen = quantised_nodes(graph)
    left = set(convolutions) - set(chosen)
    assert len(left) == 2
    assert {kinds[name] for name in chosen} == {"Conv", "Add"}
    order = list(kinds)
    assert max(order.index(name) for name in chosen) < max(order.index(name) for name in left)


def test_a_quantised_file_is_pinned_once_however_often_it_is_made(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from models.lung_nodule_ct.quantise import pin

    folder = get_model("lung_nodule_ct").manifest.folder
    manifest = tmp_path / "manifest.toml"
    shutil.copy(folder / "manifest.toml", manifest)
    for digit in "01":
        pin(manifest, "model.int8.onnx", digit * 64)
    found = load_manifest(tmp_path)
    assert found.precisions == {"int8": WeightsFile("model.int8.onnx", "1" * 64)}
    assert found.outputs == load_manifest(folder).outputs
