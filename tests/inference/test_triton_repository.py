"""What is written for a Triton server, and what cannot be."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tritonclient.grpc")

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from typer.testing import CliRunner

from inference import graph
from inference.triton_canary import Canary, CanaryAnsweredWrongly, canary_inputs
from inference.triton_repository import (
    RepositoryForm,
    RepositoryNotPossible,
    model_config,
    served_name,
    write_repository,
)
from models.errors import WeightsDigestMismatch
from models.lung_nodule_ct.model import LungNoduleCT
from models.registry import get_model
from server.cli import app
from tests.triton_peer import detector


def written(folder: Path, form: RepositoryForm) -> Any:
    """The configuration that Triton would read."""
    (name,) = write_repository(folder, [detector()], form)
    text = (folder / name / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_the_configuration_names_the_model_its_weights_and_its_tensors(tmp_path: Path) -> None:
    config = written(tmp_path, RepositoryForm())
    manifest = detector().manifest
    assert (
        config.name
        == served_name(manifest)
        == f"lung_nodule_ct-{manifest.version}-{manifest.weights_sha256[:12]}"
    )
    assert config.backend == "onnxruntime"
    assert config.parameters["weights_sha256"].string_value == manifest.weights_sha256
    (hounsfield,) = config.input
    assert (hounsfield.name, list(hounsfield.dims)) == ("hounsfield", [-1, -1, -1])
    assert model_config_pb2.DataType.Name(hounsfield.data_type) == "TYPE_INT16"
    assert {one.name: tuple(one.dims) for one in config.output} == {
        name: shape[1:] for name, shape in manifest.outputs.items()
    }
    assert config.max_batch_size == manifest.max_batch
    assert config.version_policy.latest.num_versions == 1


def test_urgent_requests_overtake_and_a_long_queue_is_refused(tmp_path: Path) -> None:
    batching = written(tmp_path, RepositoryForm()).dynamic_batching
    assert (batching.priority_levels, batching.default_priority_level) == (3, 2)
    policy = batching.default_queue_policy
    assert policy.timeout_action == policy.REJECT
    assert policy.allow_timeout_override
    assert policy.max_queue_size == 64


def test_the_weights_lie_in_the_repository_byte_for_byte(tmp_path: Path) -> None:
    written(tmp_path, RepositoryForm())
    folder = tmp_path / served_name(detector().manifest)
    assert (folder / "1" / "model.onnx").read_bytes() == detector().manifest.weights_path.read_bytes()
    assert not (folder / "1" / "model.py").exists()


def test_the_warm_up_is_the_canarys_input(tmp_path: Path) -> None:
    (warm_up,) = written(tmp_path, RepositoryForm()).model_warmup
    sent = canary_inputs(detector())["hounsfield"]
    assert list(warm_up.inputs["hounsfield"].dims) == list(sent.shape[1:])
    stored = (tmp_path / served_name(detector().manifest) / "warmup" / "hounsfield").read_bytes()
    assert stored == sent.tobytes()


def test_the_python_backend_brings_its_code_and_its_runtime(tmp_path: Path) -> None:
    config = written(tmp_path, RepositoryForm(backend="python", runtime="openvino", threads=3, instances=2))
    assert config.backend == "python"
    assert config.parameters["runtime"].string_value == "openvino"
    assert config.parameters["threads"].string_value == "3"
    (group,) = config.instance_group
    assert (group.count, group.kind) == (2, group.KIND_CPU)
    code = (tmp_path / config.name / "1" / "model.py").read_text()
    compile(code, "model.py", "exec")
    assert "import inference" not in code
    assert "from inference" not in code


def test_tensorrt_and_its_options_stand_in_the_configuration(tmp_path: Path) -> None:
    options = {"precision_mode": "FP16", "trt_engine_cache_path": "/engines"}
    config = written(tmp_path, RepositoryForm(accelerator="tensorrt", options=options, instances=2))
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert dict(accelerator.parameters) == options | {
        "trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1",
    }  # fmt: skip
    assert config.instance_group[0].kind == config.instance_group[0].KIND_GPU
    assert config.parameters["precision"].string_value == "fp16"


def test_cuda_does_not_search_anew_for_each_shape() -> None:
    config = model_config(detector(), RepositoryForm(accelerator="cuda"))
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.parameters["cudnn_conv_algo_search"] == "HEURISTIC"


@pytest.mark.parametrize(
    "form",
    [
        {"backend": "tensorflow"}, {"runtime": "torch"}, {"accelerator": "openvino"}, {"instances": 0},
        {"threads": -1}, {"backend": "python", "accelerator": "cuda"},
    ],
)  # fmt: skip
def test_a_form_that_cannot_be_is_refused(form: dict[str, Any]) -> None:
    with pytest.raises(RepositoryNotPossible):
        RepositoryForm(**form)


def test_a_graph_without_a_batch_axis_is_refused() -> None:
    several = LungNoduleCT(dataclasses.replace(detector().manifest, max_batch=4))
    with pytest.raises(RepositoryNotPossible, match="first axis must be the batch"):
        model_config(several, RepositoryForm())


def test_changed_weights_are_not_written(tmp_path: Path) -> None:
    changed = LungNoduleCT(dataclasses.replace(detector().manifest, weights_sha256="0" * 64))
    with pytest.raises(WeightsDigestMismatch):
        write_repository(tmp_path, [changed], RepositoryForm())
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_written_anew_over_what_was_there(tmp_path: Path) -> None:
    (name,) = write_repository(tmp_path, [detector()], RepositoryForm(backend="python"))
    assert (tmp_path / name / "1" / "model.py").exists()
    write_repository(tmp_path, [detector()], RepositoryForm())
    assert not (tmp_path / name / "1" / "model.py").exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]


class TestCanary:
    def answers(self, **changed: Any) -> Any:
        canary = Canary(detector())
        return canary, lambda model, inputs: canary._expected | changed

    def test_the_same_numbers_in_another_order_are_right(self) -> None:
        canary, run = self.answers()
        expected = run(None, None)
        canary.ask(lambda *_: {name: array[:, ::-1] for name, array in expected.items()})

    @pytest.mark.parametrize("change", [lambda a: a * 1.2, lambda a: np.zeros_like(a), lambda a: a + 0.05])
    def test_other_numbers_are_wrong(self, change: Any) -> None:
        canary, run = self.answers()
        answer = run(None, None)
        with pytest.raises(CanaryAnsweredWrongly):
            canary.ask(lambda *_: answer | {"scores": change(answer["scores"])})

    def test_every_model_of_the_project_has_one(self) -> None:
        from models.registry import list_models

        for manifest in list_models():
            model = get_model(manifest.name)
            assert all(np.isfinite(array).all() for array in Canary(model)._expected.values())
            assert model_config(model, RepositoryForm()).max_batch_size == manifest.max_batch


class TestCommand:
    def test_models_export_writes_the_repository_and_nothing_of_the_runtime(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        graph._read.cache_clear()
        words = ["models", "export", "--triton", str(tmp_path), "lung_nodule_ct", "--backend", "python"]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        assert (tmp_path / served_name(detector().manifest) / "1" / "model.py").is_file()
        assert capfd.readouterr().err == ""

    def test_an_option_that_cannot_be_is_explained(self, tmp_path: Path) -> None:
        words = ["models", "export", "--triton", str(tmp_path), "--backend", "pytorch"]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 1
        assert "the backend is onnxruntime or python" in result.output

    def test_without_it_the_models_own_export_is_asked(self) -> None:
        result = CliRunner().invoke(app, ["models", "export", "no_such_model", "--checkpoint", "x.pt"])
        assert result.exit_code != 0
        assert "has no command export" in result.output
