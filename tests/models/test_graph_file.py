"""What is done to an exported graph before it is pinned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

pytestmark = pytest.mark.train


def _graph(path: Path, scales: tuple[float, ...], nearest_mode: str = "floor") -> None:
    onnx = pytest.importorskip("onnx")
    make, kinds = onnx.helper, onnx.TensorProto
    node = make.make_node(
        "Resize", ["volume", "", "scales"], ["doubled"], name="up", doc_string="from somebody.py",
        mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode=nearest_mode,
    )  # fmt: skip
    graph = make.make_graph(
        [node],
        "graph",
        [make.make_tensor_value_info("volume", kinds.FLOAT, ["n", "c", "d", "h", "w"])],
        [make.make_tensor_value_info("doubled", kinds.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.array(scales, np.float32), "scales")],
    )
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=9), path)


def _answer(path: Path, volume: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"volume": volume})[0])


def test_a_volume_doubled_plane_by_plane_is_the_same_and_the_file_stays_as_it_is_when_finished_again(
    tmp_path: Path,
) -> None:
    onnx = pytest.importorskip("onnx")
    from models.graph_file import finished

    path = tmp_path / "model.onnx"
    _graph(path, (1, 1, 2, 2, 2))
    volume = np.random.default_rng(0).standard_normal((2, 3, 4, 5, 7)).astype(np.float32)
    before = _answer(path, volume)
    digest = finished(path)
    assert b"somebody" not in path.read_bytes()
    (resize,) = (node for node in onnx.load(path).graph.node if node.op_type == "Resize")
    assert resize.input[2] == "double_planes"
    assert np.array_equal(_answer(path, volume), before)
    assert finished(path) == digest


@pytest.mark.parametrize(("scales", "mode"), [((1, 1, 1, 2, 2), "floor"), ((1, 1, 2, 2, 2), "ceil")])
def test_what_does_not_repeat_voxels_is_left_alone(
    tmp_path: Path, scales: tuple[float, ...], mode: str
) -> None:
    onnx = pytest.importorskip("onnx")
    from models.graph_file import finished

    path = tmp_path / "model.onnx"
    _graph(path, scales, mode)
    finished(path)
    assert [node.op_type for node in onnx.load(path).graph.node] == ["Resize"]
