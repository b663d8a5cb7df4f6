"""Whether the detector's network gains by several lungs' boxes in one run: what two cost stacked, and apart.

The served graph takes one box at a time, so its convolutions are run without the choice of candidates behind them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.registry import get_model
from models.weights import verified_weights

_REPEATS = 5
_HEAD_CHANNELS = 5


def stacking(box: Sequence[int]) -> dict[str, Any]:
    """Seconds on OpenVINO in fp32: two boxes one after the other, both in one run, and one that is padded to hold
    another whose rows are 32 mm longer."""
    run = _convolutions()
    one = np.random.default_rng(0).integers(-1000, 200, (1, *box), np.int16)
    two = np.concatenate([one, one])
    padded = np.pad(one, [(0, 0), (0, 0), (0, 0), (0, 32)], constant_values=-1000)
    seconds: dict[str, list[float]] = {"apart_s": [], "stacked_s": [], "padded_s": []}
    for _ in range(_REPEATS):  # in turns, so that what else runs here troubles all of them
        seconds["apart_s"].append(run(one) + run(one))
        seconds["stacked_s"].append(run(two))
        seconds["padded_s"].append(run(padded))
    return {name: round(statistics.median(values), 3) for name, values in seconds.items()}


def _convolutions() -> Any:
    """Seconds of one pass through both networks, from the image to their heads."""
    import openvino

    core = openvino.Core()
    graph = core.read_model(verified_weights(get_model("lung_nodule_ct").manifest))
    heads = [
        one.output(0)
        for one in graph.get_ordered_ops()
        if one.get_type_name() == "Convolution" and one.output(0).partial_shape[1] == _HEAD_CHANNELS
    ]
    trunk = openvino.Model(heads, graph.get_parameters())
    trunk.reshape(openvino.PartialShape([-1] * 4))
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": openvino.Type.f32}
    request = core.compile_model(trunk, "CPU", hints).create_infer_request()

    def run(images: NDArray[np.int16]) -> float:
        began = time.perf_counter()
        request.infer({0: openvino.Tensor(images, shared_memory=True)})
        return time.perf_counter() - began

    return run
