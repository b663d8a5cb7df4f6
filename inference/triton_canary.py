"""A canary: one small input whose answer is known, asked of a server again and again.

A server may call a model ready although every request to it fails (a killed process of Triton's python backend), or
run it with other weights than its folder's name says. Only an answer tells.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import InferenceError
from inference.graph import GraphTensor, graph_of
from inference.infer import check_outputs
from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from models.model import Model

# A side that the graph leaves open; every model so far takes multiples of 16 or 32.
OPEN_SIDE = 64
# Share of an output's mean size by which an answer may differ. Engines in fp32 differ by 1e-4, bf16 and fp16 by about
# 1e-2; other weights by far more.
TOLERANCE = 0.05
# And of its largest value, for outputs that are nearly all zero: a label map may differ in a voxel of a thousand.
SMALL = 0.001


class CanaryAnsweredWrongly(InferenceError):
    """A server answered the canary with other numbers than the model gives."""

    code = "CANARY_ANSWERED_WRONGLY"


class Canary:
    """The known answer of one model, computed in this process from verified weights."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._inputs = canary_inputs(model)
        self._expected = OnnxRuntimeEndpoint(threads=1).run(model, self._inputs)

    def ask(self, run: Callable[[Model, Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]) -> None:
        """Ask an endpoint's `run` once. Raises `InferenceError`: it does not answer, or with something else."""
        answer = run(self.model, self._inputs)
        check_outputs(answer, self.model.manifest)
        for name, expected in self._expected.items():
            difference, allowed = distance(answer[name], expected), allowance(expected)
            if difference > allowed:
                raise CanaryAnsweredWrongly(
                    f"{self.model.manifest.name}: {name} of the canary is off by {difference:.3g}, "
                    f"{allowed:.3g} is allowed: the server runs other weights or computes wrongly"
                )


def canary_inputs(model: Model) -> Mapping[str, NDArray[Any]]:
    """Inputs of the smallest usual size, the same at every call: smooth noise over a CT's or a picture's range."""
    return {tensor.name: _array(tensor) for tensor in graph_of(model.manifest).inputs}


def distance(answer: NDArray[Any], expected: NDArray[Any]) -> float:
    """Mean difference of the sorted values (earth mover's distance).

    Candidates of nearly equal score may stand in another order, which is no error, and do not change it.
    """
    if answer.size != expected.size:
        return float("inf")
    return float(np.abs(np.sort(answer, axis=None).astype(float) - np.sort(expected, axis=None)).mean())


def allowance(expected: NDArray[Any]) -> float:
    """The distance up to which an answer counts as the expected one."""
    size = np.abs(expected.astype(float))
    return TOLERANCE * float(size.mean()) + SMALL * max(1.0, float(size.max()))


def _array(tensor: GraphTensor) -> NDArray[Any]:
    shape = tuple(
        side if side > 0 else (1 if axis == 0 else OPEN_SIDE) for axis, side in enumerate(tensor.shape)
    )
    rng = np.random.default_rng(zlib.crc32(tensor.name.encode()))
    noise: NDArray[Any] = rng.random(shape)
    for axis in range(1, len(shape)):  # neighbours are alike, as in a picture
        noise = (noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis)) / 3
    noise = (noise - noise.min()) / max(float(np.ptp(noise)), 1e-6)
    if not np.issubdtype(tensor.dtype, np.integer):
        return np.asarray(noise, tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    low, high = max(limits.min, -1000), min(limits.max, 400)
    return np.asarray(low + noise * (high - low), tensor.dtype)
