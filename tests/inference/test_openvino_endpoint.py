import dataclasses
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from inference.engine import Engine
from inference.errors import EndpointFailed
from models.errors import NoQuantisedWeights, WeightsDigestMismatch
from models.lung_nodule_ct.model import LungNoduleCT
from models.manifest import WeightsFile
from models.registry import get_model

pytest.importorskip("openvino")

from inference.openvino_endpoint import OpenVINOEndpoint

EMPTY = {"hounsfield": np.full((1, 48, 48, 64), -850, np.int16)}


def model(**changes: object) -> LungNoduleCT:
    found = get_model("lung_nodule_ct")
    return LungNoduleCT(dataclasses.replace(found.manifest, **changes))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_graph_answers_with_the_outputs_of_the_manifest(precision: str) -> None:
    outputs = OpenVINOEndpoint(threads=1, precision=precision).run(model(), EMPTY)
    assert {name: array.shape for name, array in outputs.items()} == dict(model().manifest.outputs)
    assert (np.diff(outputs["scores"][0]) <= 0).all()
    assert outputs.engine == Engine("openvino", "cpu", precision)


def test_boxes_of_several_shapes_run_one_after_the_other() -> None:
    endpoint = OpenVINOEndpoint(threads=1)
    for shape in ((1, 48, 48, 48), (1, 48, 64, 80), (1, 48, 48, 48)):
        assert endpoint.run(model(), {"hounsfield": np.zeros(shape, np.int16)})["scores"].shape == (1, 56)


def test_an_answer_stays_what_it_was_when_the_next_run_begins() -> None:
    endpoint = OpenVINOEndpoint(threads=1)
    noise = np.random.default_rng(0).normal(-700, 300, (1, 48, 48, 64)).astype(np.int16)
    first = endpoint.run(model(), {"hounsfield": noise})
    kept = {name: array.copy() for name, array in first.items()}
    endpoint.run(model(), EMPTY)
    for name, array in kept.items():
        assert np.array_equal(first[name], array)


@pytest.mark.parametrize(
    "inputs",
    [
        {"hounsfield": np.zeros((1, 48, 48, 64), np.float32)},
        {"hounsfield": np.zeros((48, 48, 64), np.int16)},
        {"image": np.zeros((1, 48, 48, 64), np.int16)},
        {},
    ],
)
def test_inputs_that_the_graph_cannot_read_are_an_inference_error(inputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(EndpointFailed):
        OpenVINOEndpoint(threads=1).run(model(), inputs)


def test_changed_weights_never_run(tmp_path: Path) -> None:
    manifest = model().manifest
    content = bytearray(manifest.weights_path.read_bytes())
    content[-1] ^= 1
    (tmp_path / manifest.weights_file).write_bytes(content)
    with pytest.raises(WeightsDigestMismatch):
        OpenVINOEndpoint(1).run(model(folder=tmp_path), EMPTY)


def test_a_file_that_is_no_graph_is_an_inference_error(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    digest = hashlib.sha256(b"not a graph").hexdigest()
    with pytest.raises(EndpointFailed):
        OpenVINOEndpoint(1).run(model(folder=tmp_path, weights_sha256=digest), EMPTY)


def test_int8_needs_a_file_of_its_own_and_that_file_is_pinned_too(tmp_path: Path) -> None:
    endpoint = OpenVINOEndpoint(1, "int8")
    with pytest.raises(NoQuantisedWeights, match="RADMETER_INFERENCE_PRECISION"):
        endpoint.run(model(precisions={}), EMPTY)
    shutil.copy(model().manifest.weights_path, tmp_path / "int8.onnx")
    wrong = {"int8": WeightsFile("int8.onnx", "0" * 64)}
    with pytest.raises(WeightsDigestMismatch):
        endpoint.run(model(folder=tmp_path, precisions=wrong), EMPTY)
    digest = hashlib.sha256((tmp_path / "int8.onnx").read_bytes()).hexdigest()
    right = {"int8": WeightsFile("int8.onnx", digest)}
    answer = endpoint.run(model(folder=tmp_path, precisions=right), EMPTY)
    assert answer.engine == Engine("openvino", "cpu", "int8")
