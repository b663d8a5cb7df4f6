"""OpenVINO in this process (extra `openvino`)."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from inference.endpoint import Outputs
from inference.engine import Engine
from inference.errors import EndpointFailed, ProviderUnavailable, RunCancelled
from inference.pool import SessionPool
from inference.wishes import breaking_off
from models.model import Model

# What the runtime is told. A quantised graph says itself where it computes in int8; the rest of it stays fp32.
_HINTS = {"fp32": openvino.Type.f32, "bf16": openvino.Type.bf16, "int8": openvino.Type.f32}


@dataclass(eq=False)
class _Opened:
    """A compiled model, None when a run on it was broken off: it is not used again. turn: whose run it is."""

    compiled: Any
    turn: threading.Lock = field(default_factory=threading.Lock)


class OpenVINOEndpoint:
    """Keeps one compiled model for each weights file. Weights are verified before they are read.

    A model is compiled with open shapes: on the CPU that costs nothing against a shape of its own, and a study of
    another size needs no compiling.

    threads: threads of one run; 0 leaves the choice to OpenVINO. precision: fp32, bf16, or int8 of the quantised file.
    pool: of compiled models, by default one without bounds.
    """

    def __init__(self, threads: int = 0, precision: str = "fp32", pool: SessionPool | None = None) -> None:
        self._core = openvino.Core()
        self._precision = precision
        self._config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
        }
        if threads:
            self._config["INFERENCE_NUM_THREADS"] = threads
        self._engine = Engine("openvino", "cpu", precision)
        self._pool = pool or SessionPool(sys.maxsize)

    def run(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> Outputs:
        """Run the model's graph once.

        One that nobody waits for any more ends after the operator under way, and `RunCancelled` is raised.
        """
        while True:
            # Runs of one compiled model go one after the other in any case; this way none of them meets what is left
            # of one that was broken off.
            with self._session(model) as opened, opened.turn:
                if opened.compiled is not None:
                    return Outputs(self._run(model, opened, inputs), self._engine)

    def _run(
        self, model: Model, opened: _Opened, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        request = opened.compiled.create_infer_request()
        try:
            with breaking_off(request.cancel) as is_broken_off:
                return _infer(opened.compiled, request, inputs, model.manifest.outputs)
        except Exception as error:  # RuntimeError, and TypeError for what OpenVINO cannot convert
            if not is_broken_off():
                raise EndpointFailed(f"OpenVINO could not run {model.manifest.name}: {error}") from error
        # 2026.4 leaves the shapes of the run behind: the next one with others would fail, or end the process. All of it
        # is let go here, since whoever keeps the error keeps this frame.
        self._pool.forget(opened)
        opened.compiled = request = None
        raise RunCancelled(model.manifest.name)

    def warm(self, model: Model) -> None:
        """Compile the model, so that the first run need not."""
        with self._session(model):
            pass

    def _session(self, model: Model) -> AbstractContextManager[_Opened]:
        return self._pool.opened(self._engine, model, lambda path: self._open(model, path), _give_back)

    def _open(self, model: Model, path: Path) -> _Opened:
        try:
            compiled = self._core.compile_model(self._core.read_model(path), "CPU", self._config)
            devices = compiled.get_property("EXECUTION_DEVICES")
            hint = compiled.get_property("INFERENCE_PRECISION_HINT")
        except Exception as error:  # as above
            raise EndpointFailed(f"OpenVINO could not open {model.manifest.name}: {error}") from error
        # On a processor without bfloat16 OpenVINO computes in another precision and says so only when it is asked.
        if devices != ["CPU"] or hint != _HINTS[self._precision]:
            raise ProviderUnavailable(f"cpu {self._precision}", f"{' '.join(devices)} {hint.to_string()}")
        return _Opened(compiled)


def _infer(
    compiled: Any, request: Any, inputs: Mapping[str, NDArray[Any]], outputs: Iterable[str]
) -> dict[str, NDArray[Any]]:
    if len(inputs) != len(compiled.inputs):  # one that is not given would be read as zeros
        raise ValueError(f"it has {len(compiled.inputs)} inputs, {len(inputs)} were given")
    for name, array in inputs.items():
        # Shared, not copied; a type or rank that is not the graph's is refused.
        request.set_tensor(name, openvino.Tensor(np.ascontiguousarray(array), shared_memory=True))
    # Not `infer`: with one thread that ends by itself only, whatever is cancelled meanwhile.
    request.start_async()
    request.wait()
    return {name: np.array(request.get_tensor(name).data) for name in outputs}


def _give_back(opened: _Opened) -> None:
    """Between two runs a compiled model holds the layers of the largest volume that it saw: without, it runs slower."""
    if opened.compiled is not None:
        opened.compiled.release_memory()
