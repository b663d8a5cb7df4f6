"""What a graph takes and gives: names, types and shapes, read from its ONNX file."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.errors import EndpointFailed
from models.manifest import Manifest
from models.weights import verified_weights

# ONNX Runtime's word, numpy's type, KServe's word (Open Inference Protocol v2).
_TYPES = (
    ("float", np.float32, "FP32"), ("float16", np.float16, "FP16"), ("double", np.float64, "FP64"),
    ("uint8", np.uint8, "UINT8"), ("uint16", np.uint16, "UINT16"), ("uint32", np.uint32, "UINT32"),
    ("int8", np.int8, "INT8"), ("int16", np.int16, "INT16"), ("int32", np.int32, "INT32"),
    ("int64", np.int64, "INT64"), ("bool", np.bool_, "BOOL"),
)  # fmt: skip
_BY_ONNX_WORD = {f"tensor({word})": (np.dtype(kind), datatype) for word, kind, datatype in _TYPES}
_BY_DTYPE = {np.dtype(kind): datatype for _, kind, datatype in _TYPES}


@dataclass(frozen=True)
class GraphTensor:
    """An input or output. shape: -1 where a side varies. datatype: as the Open Inference Protocol names it."""

    name: str
    dtype: np.dtype[Any]
    datatype: str
    shape: tuple[int, ...]

    @classmethod
    def of_array(cls, name: str, array: NDArray[Any]) -> GraphTensor:
        """An array as the protocol would describe it."""
        if array.dtype not in _BY_DTYPE:
            raise EndpointFailed(f"{name} is of type {array.dtype}, which no server takes")
        return cls(name, array.dtype, _BY_DTYPE[array.dtype], array.shape)


@dataclass(frozen=True)
class Graph:
    """Inputs and outputs in the order of the file."""

    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]


def graph_of(manifest: Manifest) -> Graph:
    """The graph of a model's weights, which are verified first."""
    return _read(str(verified_weights(manifest)), manifest.weights_sha256)


@functools.lru_cache(maxsize=64)
def _read(path: str, _digest: str) -> Graph:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises classes of its binary module
        raise EndpointFailed(f"{path} is no graph that ONNX Runtime can read: {error}") from error
    return Graph(
        tuple(_tensor(one) for one in session.get_inputs()),
        tuple(_tensor(one) for one in session.get_outputs()),
    )


def _tensor(node: Any) -> GraphTensor:
    if node.type not in _BY_ONNX_WORD:
        raise EndpointFailed(f"{node.name} of the graph is a {node.type}, which no server takes")
    dtype, datatype = _BY_ONNX_WORD[node.type]
    return GraphTensor(
        node.name, dtype, datatype, tuple(side if isinstance(side, int) else -1 for side in node.shape)
    )
