"""What a Triton server costs beside the same graph in process: sending a CT by shared memory and by gRPC, and a run.

Needs `scripts/setup.sh triton`. Everything is on the CPU and on one machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from inference.triton_repository import RepositoryForm
from tests import triton_misbehaviour
from tests.triton_peer import RunningTriton, detector, misbehaving, replacement, running

_REPEATS = 5
# A CT of 300 slices as it is decoded, and the lungs' box of one at 1 mm.
_CT, _BOX = (1, 300, 512, 512), (1, 240, 272, 288)


def run() -> dict[str, Any]:
    """Medians of five: milliseconds to send a CT and get an answer, seconds to run the detector on a lungs' box."""
    form = RepositoryForm(backend="python")
    with running([detector(), misbehaving()], replacement(), form) as triton:
        return {"send_157_mb": _sending(triton), "detector": _detecting(triton)}


def _sending(triton: RunningTriton) -> dict[str, float]:
    voxels = np.full(_CT, -1000, np.int16)
    voxels[0, 0, 0, 0] = triton_misbehaviour.ECHOES_FROM
    found = {}
    for way, shared_memory in (("shared_memory_ms", "on"), ("grpc_ms", "off")):
        endpoint = triton.endpoint(shared_memory=shared_memory)
        seconds = _median(lambda one=endpoint: one.run(misbehaving(), {"hounsfield": voxels}))  # type: ignore[misc]
        found[way] = round(seconds * 1e3, 1)
        endpoint.close()
    return found


def _detecting(triton: RunningTriton) -> dict[str, float]:
    noise = np.random.default_rng(0).normal(-700, 200, _BOX).astype(np.int16)
    inputs: Mapping[str, NDArray[Any]] = {"hounsfield": noise}
    here, there = OnnxRuntimeEndpoint(), triton.endpoint(timeout_s=120.0)
    found = {
        "in_process_s": round(_median(lambda: here.run(detector(), inputs)), 3),
        "triton_s": round(_median(lambda: there.run(detector(), inputs)), 3),
    }
    there.close()
    return found


def _median(work: Callable[[], object]) -> float:
    work()  # opens the graph, makes the region
    seconds = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)
