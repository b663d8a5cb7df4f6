"""The model.py of Triton's python backend: one ONNX graph in ONNX Runtime or OpenVINO.

`radmeter models export --triton` copies this file beside the weights, where Triton's own process runs it: it knows
nothing of this project.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# What runs in a hospital reports nothing to a vendor; must stand here before the runtime is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

Run = Callable[[dict[str, Any]], list[Any]]


class TritonPythonModel:
    """One instance of a model, in a process of its own."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the graph; weights with another digest than the configuration's are refused."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        weights = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        if digest != parameters["weights_sha256"]:
            raise RuntimeError(
                f"the weights of {config['name']} have SHA-256 {digest}: export the model again"
            )
        self._inputs = [one["name"] for one in config["input"]]
        self._outputs = [one["name"] for one in config["output"]]
        open_graph = _openvino if parameters["runtime"] == "openvino" else _onnxruntime
        self._run = open_graph(weights, self._outputs, int(parameters["threads"]))

    def execute(self, requests: list[Any]) -> list[Any]:
        """One answer for each request. Triton hands requests of one shape together: they run as one batch."""
        import triton_python_backend_utils as pb_utils

        arrays = [
            {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
            for request in requests
        ]
        try:
            batch = {name: np.concatenate([one[name] for one in arrays]) for name in self._inputs}
            values = self._run(batch)
            return self._split(values, [len(one[self._inputs[0]]) for one in arrays], pb_utils)
        except Exception as error:  # whatever the runtime raises is the answer to these requests
            refusal = pb_utils.TritonError(f"{type(error).__name__}: {error}")
            return [pb_utils.InferenceResponse(output_tensors=[], error=refusal) for _ in requests]

    def _split(self, values: list[Any], sizes: list[int], pb_utils: Any) -> list[Any]:
        ends = np.cumsum(sizes)
        parts = [np.split(np.ascontiguousarray(value), ends[:-1]) for value in values]
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor(name, part[i]) for name, part in zip(self._outputs, parts, strict=True)]
            )
            for i in range(len(sizes))
        ]


def _onnxruntime(weights: Path, outputs: list[str], threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
    return lambda inputs: list(session.run(outputs, inputs))


def _openvino(weights: Path, outputs: list[str], threads: int) -> Run:
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"} | ({"INFERENCE_NUM_THREADS": threads} if threads else {})
    compiled = core.compile_model(str(weights), "CPU", options)

    def run(inputs: dict[str, Any]) -> list[Any]:
        answers = compiled.create_infer_request().infer(inputs)
        return [answers[name] for name in outputs]

    return run
