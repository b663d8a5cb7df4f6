"""ONNX Runtime in this process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.errors import EndpointFailed, ProviderUnavailable
from models.model import Model
from models.weights import verified_weights

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

# As people name them in the settings.
PROVIDERS = {"cpu": CPU, "cuda": CUDA}

# Every study is a box of another shape: a search for the fastest algorithm would run anew for each of them, and an
# arena that doubles would hold the largest one's memory twice.
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}


class OnnxRuntimeEndpoint:
    """Keeps one session for each weights digest. Weights are verified before a session opens them.

    threads: threads of one run; 0 leaves the choice to ONNX Runtime (one for each core).
    provider: the execution provider that must run the graph. On a GPU, what it cannot do is left to the CPU.
    """

    def __init__(self, threads: int = 0, provider: str = CPU) -> None:
        self._threads = threads
        self._provider = provider
        if provider == CUDA:
            # CUDA and cuDNN come as wheels; the loader does not look for them there by itself.
            onnxruntime.preload_dlls()
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._lock = threading.Lock()

    def run(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the model's graph once. A session may be used by several threads at once."""
        session = self._session(model)
        contiguous = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        names = [output.name for output in session.get_outputs()]
        try:
            values = session.run(names, contiguous)
        except Exception as error:  # ONNX Runtime raises classes of its binary module and RuntimeError
            raise EndpointFailed(f"ONNX Runtime could not run {model.manifest.name}: {error}") from error
        return dict(zip(names, values, strict=True))

    def _session(self, model: Model) -> onnxruntime.InferenceSession:
        digest = model.manifest.weights_sha256
        with self._lock:
            if digest not in self._sessions:
                self._sessions[digest] = self._open(model)
            return self._sessions[digest]

    def _open(self, model: Model) -> onnxruntime.InferenceSession:
        path = verified_weights(model.manifest)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        # Volumes differ in size: an arena that keeps the largest one would hold the memory for good.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        providers: list[Any] = [(CUDA, _CUDA_OPTIONS), CPU] if self._provider == CUDA else [self._provider]
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # as above
            raise EndpointFailed(f"ONNX Runtime could not open {model.manifest.name}: {error}") from error
        chosen = session.get_providers()[0]
        if chosen != self._provider:
            raise ProviderUnavailable(self._provider, chosen)
        return session
