"""Which parts of the served graph become 8 bits, and how the file is pinned."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from models.manifest import WeightsFile, load_manifest
from models.registry import get_model

pytestmark = pytest.mark.train


def test_what_lies_between_the_first_convolution_and_the_head_of_each_network_becomes_8_bits() -> None:
    onnx = pytest.importorskip("onnx")
    from models.lung_nodule_ct.quantise import quantised_nodes

    graph = onnx.load(get_model("lung_nodule_ct").manifest.weights_path).graph
    weights = {node.name: node.input[1] for node in graph.node if node.op_type == "Conv"}
    chosen = quantised_nodes(graph)
    left = {weights[name] for name in set(weights) - set(chosen)}
    networks = ("nodules", "masses.0", "masses.1")
    assert left == {f"{network}.{part}" for network in networks for part in ("stem.0.weight", "head.weight")}
    kinds = Counter(node.op_type for node in graph.node if node.name in chosen)
    # 7 residual sums and 3 of the way up in the network for nodules, which looks twice; 5 and 1 in each for masses.
    assert kinds == {"Conv": 72, "Add": 2 * (7 + 3) + 2 * (5 + 1)}


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
