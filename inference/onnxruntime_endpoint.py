"""ONNX Runtime in this process."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.endpoint import Outputs
from inference.engine import Engine
from inference.errors import EndpointFailed, ProviderUnavailable, RunCancelled
from inference.pool import SessionPool
from inference.wishes import breaking_off
from models.model import Model

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

# As people name them in the settings.
PROVIDERS = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}

# Every study is a box of another shape: a search for the fastest algorithm would run anew for each of them, and an
# arena that doubles would hold the largest one's memory twice.
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}


class OnnxRuntimeEndpoint:
    """Keeps one session for each weights file. Weights are verified before a session opens them.

    threads: threads of one run; 0 leaves the choice to ONNX Runtime (one for each core).
    provider: the execution provider that must run the graph. On a GPU, what it cannot do is left to the CPU.
    precision: fp32; int8 opens the model's quantised file; fp16 only on TensorRT.
    cache_directory: where TensorRT keeps the engines that it built, which takes minutes.
    pool: of opened sessions, by default one without bounds.
    """

    def __init__(
        self,
        threads: int = 0,
        provider: str = CPU,
        precision: str = "fp32",
        cache_directory: Path | None = None,
        pool: SessionPool | None = None,
    ) -> None:
        self._threads = threads
        self._provider = provider
        self._precision = precision
        self._providers = execution_providers(provider, precision, cache_directory)
        names = {known: name for name, known in PROVIDERS.items()}
        self._engine = Engine("onnxruntime", names.get(provider, provider), precision)
        if provider != CPU:
            # CUDA and cuDNN come as wheels; the loader does not look for them there by itself.
            onnxruntime.preload_dlls()
        self._pool = pool or SessionPool(sys.maxsize)

    def run(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> Outputs:
        """Run the model's graph once. A session may be used by several threads at once.

        One that nobody waits for any more ends after the operator under way, and `RunCancelled` is raised.
        """
        contiguous = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        options = onnxruntime.RunOptions()
        end = partial(setattr, options, "terminate", True)
        with self._session(model) as session, breaking_off(end) as is_broken_off:
            names = [output.name for output in session.get_outputs()]
            try:
                values = session.run(names, contiguous, options)
            except Exception as error:  # ONNX Runtime raises classes of its binary module and RuntimeError
                if is_broken_off():
                    raise RunCancelled(model.manifest.name) from error
                raise EndpointFailed(f"ONNX Runtime could not run {model.manifest.name}: {error}") from error
        return Outputs(dict(zip(names, values, strict=True)), self._engine)

    def warm(self, model: Model) -> None:
        """Open the model's session, so that the first run need not."""
        with self._session(model):
            pass

    def _session(self, model: Model) -> AbstractContextManager[onnxruntime.InferenceSession]:
        return self._pool.opened(self._engine, model, lambda path: self._open(model, path))

    def _open(self, model: Model, path: Path) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        # Volumes differ in size: an arena that keeps the largest one would hold the memory for good.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=self._providers)
        except Exception as error:  # as above
            raise EndpointFailed(f"ONNX Runtime could not open {model.manifest.name}: {error}") from error
        chosen = session.get_providers()[0]
        if chosen != self._provider:
            raise ProviderUnavailable(self._provider, chosen)
        return session


def execution_providers(provider: str, precision: str, cache_directory: Path | None) -> list[Any]:
    """The providers in the order in which ONNX Runtime asks them, with their options."""
    if provider == TENSORRT:
        options: dict[str, Any] = {"trt_fp16_enable": precision == "fp16"}
        if cache_directory is not None:
            cache_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for kind in ("engine", "timing"):
                options |= {f"trt_{kind}_cache_enable": True, f"trt_{kind}_cache_path": str(cache_directory)}
        return [(TENSORRT, options), (CUDA, _CUDA_OPTIONS), CPU]
    return [(CUDA, _CUDA_OPTIONS), CPU] if provider == CUDA else [provider]
