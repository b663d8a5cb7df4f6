import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from inference.errors import EndpointFailed, InferenceError, ProviderUnavailable
from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from models.errors import WeightsDigestMismatch
from models.lung_nodule_ct.model import LungNoduleCT
from models.registry import get_model

EMPTY = {"hounsfield": np.full((1, 48, 48, 64), -850, np.int16)}


def model() -> LungNoduleCT:
    found = get_model("lung_nodule_ct")
    assert isinstance(found, LungNoduleCT)
    return found


def test_the_graph_answers_with_the_outputs_of_the_manifest() -> None:
    outputs = OnnxRuntimeEndpoint(threads=1).run(model(), EMPTY)
    assert {name: array.shape for name, array in outputs.items()} == dict(model().manifest.outputs)
    assert (np.diff(outputs["scores"][0]) <= 0).all()
    assert 0 <= outputs["scores"].min() <= outputs["scores"].max() <= 1


def test_empty_lung_holds_no_nodule() -> None:
    outputs = OnnxRuntimeEndpoint(threads=1).run(model(), EMPTY)
    assert outputs["scores"].max() < model().manifest.operating_threshold


def test_inputs_that_the_graph_cannot_read_are_an_inference_error() -> None:
    with pytest.raises(EndpointFailed):
        OnnxRuntimeEndpoint(threads=1).run(model(), {"hounsfield": np.zeros((1, 48, 48, 64), np.float32)})
    with pytest.raises(EndpointFailed):
        OnnxRuntimeEndpoint(threads=1).run(model(), {})


def test_changed_weights_never_run(tmp_path: Path) -> None:
    manifest = model().manifest
    weights = tmp_path / manifest.weights_file
    shutil.copy(manifest.weights_path, weights)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    changed = LungNoduleCT(dataclasses.replace(manifest, folder=tmp_path))
    with pytest.raises(WeightsDigestMismatch):
        OnnxRuntimeEndpoint().run(changed, EMPTY)


def test_a_file_that_is_no_graph_is_an_inference_error(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    digest = hashlib.sha256(b"not a graph").hexdigest()
    manifest = dataclasses.replace(model().manifest, folder=tmp_path, weights_sha256=digest)
    with pytest.raises(EndpointFailed):
        OnnxRuntimeEndpoint().run(LungNoduleCT(manifest), EMPTY)


def test_another_provider_than_the_one_asked_for_is_refused() -> None:
    with pytest.raises(InferenceError) as caught:
        OnnxRuntimeEndpoint(provider="CUDAExecutionProvider").run(model(), EMPTY)
    assert isinstance(caught.value, ProviderUnavailable | EndpointFailed)
