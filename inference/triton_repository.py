"""A model repository for Triton: which name a model has there, its config.pbtxt, and the folder with its weights."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference import triton_python_model
from inference.graph import GraphTensor, graph_of
from inference.triton_canary import canary_inputs
from inference.triton_client import load_tritonclient
from models.errors import ModelError
from models.manifest import Manifest
from models.model import Model
from models.weights import verified_weights

WEIGHTS_FILE = "model.onnx"
# 1 is the most urgent. The middle one is what a request has that names none.
PRIORITY_LEVELS, PRIORITY_DEFAULT = 3, 2
# Beyond this a request is refused at once: work that waits longer is better kept in our own queue.
QUEUE_SIZE_MAX = 64
QUEUE_TIMEOUT_S = 600
# How long requests of one shape are waited for, where a model takes several at a time.
BATCH_DELAY_US = 2_000

# Every study is a box of another shape: see `inference/onnxruntime_endpoint.py` for why these two.
_CUDA = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
_TENSORRT = {"precision_mode": "FP32"}
# Building an engine takes minutes: it is kept where a folder for it is named.
_TENSORRT_CACHE = "trt_engine_cache_path"


class RepositoryNotPossible(ModelError):
    """A model cannot be written into a Triton repository in the form that was asked for."""

    code = "REPOSITORY_NOT_POSSIBLE"


@dataclass(frozen=True)
class RepositoryForm:
    """How the models of a repository are run.

    backend: onnxruntime (in NVIDIA's images) or python (also with the wheel). runtime: what the python backend opens
    the graph with, onnxruntime or openvino. accelerator: cuda or tensorrt on a GPU, "" on the CPU; options: further
    parameters of the accelerator, as ONNX Runtime's backend names them. threads: of one run, 0 = one for each core.
    """

    backend: str = "onnxruntime"
    runtime: str = "onnxruntime"
    accelerator: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    instances: int = 1
    threads: int = 0

    @property
    def precision(self) -> str:
        """What the graph is computed in."""
        return self.options.get("precision_mode", "FP32").lower()

    def __post_init__(self) -> None:
        if self.backend not in ("onnxruntime", "python") or self.runtime not in ("onnxruntime", "openvino"):
            raise RepositoryNotPossible(
                f"backend {self.backend!r} with runtime {self.runtime!r}: the backend is onnxruntime or python, "
                "the runtime onnxruntime or openvino"
            )
        if self.accelerator not in ("", "cuda", "tensorrt"):
            raise RepositoryNotPossible(f"the accelerator is cuda or tensorrt, not {self.accelerator!r}")
        if self.backend == "python" and self.accelerator:
            raise RepositoryNotPossible("the python backend runs on the CPU: leave the accelerator out")
        if not 1 <= self.instances <= 64 or not 0 <= self.threads <= 1024:
            raise RepositoryNotPossible("instances are 1 to 64, threads 0 to 1024")


def served_name(manifest: Manifest) -> str:
    """What a model is called on a Triton server. Other weights have another name, so they are never run by mistake."""
    return f"{manifest.name}-{manifest.version}-{manifest.weights_sha256[:12]}"


def write_repository(folder: Path, models: Iterable[Model], form: RepositoryForm) -> list[str]:
    """Write each model into `folder` and return their names there. A model's folder appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_write_model(folder, model, form) for model in models]


def model_config(model: Model, form: RepositoryForm) -> Any:
    """The model's `ModelConfig` message, as Triton reads it from config.pbtxt."""
    load_tritonclient()
    from google.protobuf import json_format
    from tritonclient.grpc import model_config_pb2

    return json_format.ParseDict(_config(model, form), model_config_pb2.ModelConfig())


def _write_model(folder: Path, model: Model, form: RepositoryForm) -> str:
    from google.protobuf import text_format

    name = served_name(model.manifest)
    config = model_config(model, form)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as scratch:
        draft = Path(scratch) / name
        (draft / "1").mkdir(parents=True)
        (draft / "warmup").mkdir()
        (draft / "config.pbtxt").write_text(text_format.MessageToString(config), "utf-8")
        weights = shutil.copyfile(verified_weights(model.manifest), draft / "1" / WEIGHTS_FILE)
        if hashlib.sha256(weights.read_bytes()).hexdigest() != model.manifest.weights_sha256:
            raise RepositoryNotPossible(f"the weights of {name} changed while they were copied: try again")
        if form.backend == "python":
            shutil.copyfile(triton_python_model.__file__, draft / "1" / "model.py")
        for tensor, array in canary_inputs(model).items():
            (draft / "warmup" / tensor).write_bytes(array.tobytes())
        shutil.rmtree(folder / name, ignore_errors=True)
        draft.chmod(0o755)
        draft.rename(folder / name)
    return name


def _config(model: Model, form: RepositoryForm) -> dict[str, Any]:
    manifest = model.manifest
    graph = graph_of(manifest)
    _check_batch_axis(model, (*graph.inputs, *graph.outputs))
    batch_size_max = _batch_size_max(manifest)
    config = {
        "name": served_name(manifest),
        "backend": form.backend,
        "max_batch_size": batch_size_max,
        "input": [_tensor(one) for one in graph.inputs],
        "output": [_tensor(one) for one in graph.outputs],
        "instance_group": [{"count": form.instances, "kind": "KIND_GPU" if form.accelerator else "KIND_CPU"}],
        # Queue policy and priorities live inside the dynamic batcher, so it is there for batches of one too.
        "dynamic_batching": {
            "max_queue_delay_microseconds": BATCH_DELAY_US if batch_size_max > 1 else 0,
            "priority_levels": PRIORITY_LEVELS,
            "default_priority_level": PRIORITY_DEFAULT,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": QUEUE_TIMEOUT_S * 1_000_000,
                "allow_timeout_override": True,
                "max_queue_size": QUEUE_SIZE_MAX,
            },
        },
        "version_policy": {"latest": {"num_versions": 1}},
        "model_warmup": [_warm_up(model)],
        "parameters": {
            key: {"string_value": value}
            for key, value in {
                "radmeter_name": manifest.name,
                "radmeter_version": manifest.version,
                "weights_sha256": manifest.weights_sha256,
                "provider": form.accelerator or "cpu",
                "precision": form.precision,
                **_backend_parameters(form),
            }.items()
        },
    }
    return config | _optimization(form)


def _backend_parameters(form: RepositoryForm) -> dict[str, str]:
    if form.backend == "python":
        return {"runtime": form.runtime, "threads": str(form.threads)}
    # As in process: volumes differ in size, and an arena would keep the largest one's memory for good.
    return {"intra_op_thread_count": str(form.threads), "enable_mem_arena": "0"}


def _optimization(form: RepositoryForm) -> dict[str, Any]:
    if not form.accelerator:
        return {}
    parameters = {**(_CUDA if form.accelerator == "cuda" else _TENSORRT), **form.options}
    if _TENSORRT_CACHE in parameters:
        parameters = {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1", **parameters}
    accelerator = {"name": form.accelerator, "parameters": parameters}
    return {"optimization": {"execution_accelerators": {"gpu_execution_accelerator": [accelerator]}}}


def _tensor(tensor: GraphTensor) -> dict[str, Any]:
    """A tensor as config.pbtxt names it: without the batch axis, -1 where a side varies."""
    return {"name": tensor.name, "data_type": f"TYPE_{tensor.datatype}", "dims": list(tensor.shape[1:])}


def _warm_up(model: Model) -> dict[str, Any]:
    """The canary's own inputs, so that the first patient does not wait for what an engine builds for itself."""
    return {
        "name": "canary",
        "batch_size": 1,
        "inputs": {
            name: {
                "data_type": f"TYPE_{GraphTensor.of_array(name, array).datatype}",
                "dims": list(array.shape[1:]),
                "input_data_file": name,
            }
            for name, array in canary_inputs(model).items()
        },
    }


def _batch_size_max(manifest: Manifest) -> int:
    return manifest.max_batch


def _check_batch_axis(model: Model, tensors: Iterable[GraphTensor]) -> None:
    """Triton adds the first axis by itself, so each tensor must have one for the batch."""
    wanted = (-1, 1) if _batch_size_max(model.manifest) == 1 else (-1,)
    for tensor in tensors:
        if not tensor.shape or tensor.shape[0] not in wanted:
            raise RepositoryNotPossible(
                f"{tensor.name} of {model.manifest.name} has shape {tensor.shape}: its first axis must be the batch"
            )
