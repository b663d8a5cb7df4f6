"""Models on a Triton server, over gRPC; inputs through shared memory where the server is on this host."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.endpoint import Outputs
from inference.engine import Engine
from inference.errors import (
    EndpointUnavailable,
    EngineNotPossible,
    InferenceError,
    InvalidModelOutput,
    ModelNotServed,
    RunCancelled,
    RunTimedOut,
    ServedModelDiffers,
)
from inference.graph import GraphTensor
from inference.triton_client import TritonAddress, connect, load_tritonclient, translated
from inference.triton_repository import PRIORITY_LEVELS, served_name
from inference.triton_shared_memory import CudaRegion, Placed, SharedInputs, SystemRegion, sweep
from inference.wishes import ASKED_EVERY_S, Wishes, wishes
from models.manifest import Manifest
from models.model import Model

log = logging.getLogger("radmeter.inference")

SHARED_MEMORY = ("auto", "on", "off", "cuda")
_CONTROL_TIMEOUT_S = 10.0


class TritonEndpoint:
    """Runs graphs on one server. Several threads may share it.

    timeout_s: for one run, waiting in the server's queue included. shared_memory: auto uses it where the server is on
    this host and takes it, on insists, off sends everything over gRPC, cuda puts inputs into a GPU's memory.
    """

    def __init__(
        self, address: TritonAddress, *, timeout_s: float = 300.0, shared_memory: str = "auto"
    ) -> None:
        if shared_memory not in SHARED_MEMORY:
            raise EngineNotPossible(
                "engine", f"shared memory is {', '.join(SHARED_MEMORY)}, not {shared_memory!r}"
            )
        self._grpc = load_tritonclient()
        self.address = address
        self._timeout_s = timeout_s
        self._client = connect(address)
        self._insists = shared_memory in ("on", "cuda")
        self._shared: SharedInputs | None = None
        if self._insists or (shared_memory == "auto" and address.is_this_host):
            self._shared = SharedInputs(self._client, CudaRegion if shared_memory == "cuda" else SystemRegion)
            sweep(self._client)
        self._proven: dict[str, Engine] = {}
        # `async_infer` keeps its call in an attribute of the client for a moment: two threads in it at once could be
        # given one another's answers.
        self._sending = threading.Lock()

    def warm(self, model: Model) -> None:
        """Make sure that the server has this model; raises what `run` would."""
        self._prove(model.manifest)

    def run(
        self,
        model: Model,
        inputs: Mapping[str, NDArray[Any]],
        *,
        timeout_s: float | None = None,
    ) -> Outputs:
        """Run the model's graph once, as urgently as is wished (`inference.wishes`).

        timeout_s: instead of the endpoint's own. A request that nobody waits for any more is withdrawn, and
        `RunCancelled` raised.
        """
        engine = self._prove(model.manifest)
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        call = _Call(model.manifest, timeout_s or self._timeout_s, wishes())
        try:
            return Outputs(self._run(call, arrays), engine)
        except (EndpointUnavailable, ModelNotServed):
            self._proven.clear()  # what comes back may be another server
            raise

    def is_live(self) -> bool:
        """Whether a server answers at all."""
        try:
            return bool(self._ask("the server", "is_server_live"))
        except InferenceError:
            return False

    def runs_of(self, manifest: Manifest) -> int:
        """How many runs of a model the server has ended well since it started."""
        name = served_name(manifest)
        statistics = self._ask(name, "get_inference_statistics", name, as_json=True)
        return sum(int(one.get("inference_count", 0)) for one in statistics.get("model_stats", []))

    def load_again(self, manifest: Manifest, *, timeout_s: float) -> None:
        """Unload a model and load it; the server must be in explicit model control.

        Not after it is unloaded: a model whose process was killed never comes to that end, and what is loaded meanwhile
        takes its place. Without unloading, loading what is loaded does nothing.
        """
        name = served_name(manifest)
        self._proven.pop(name, None)
        self._ask(name, "unload_model", name)
        self._ask(name, "load_model", name, client_timeout=timeout_s)
        log.warning("triton_model_loaded", extra={"model": name})

    def close(self) -> None:
        """End the connection and give shared memory back."""
        if self._shared is not None:
            self._shared.close()
        self._client.close()

    def _prove(self, manifest: Manifest) -> Engine:
        """Raise unless the server has this model ready, with exactly these weights; what it runs it with.

        Asked once for each connection.
        """
        name = served_name(manifest)
        if name not in self._proven:
            config = self._ask(name, "get_model_config", name, as_json=True)["config"]
            told = {key: value.get("string_value", "") for key, value in config.get("parameters", {}).items()}
            if told.get("weights_sha256") != manifest.weights_sha256:
                raise ServedModelDiffers(name, told.get("weights_sha256", ""))
            if not self._ask(name, "is_model_ready", name):
                raise EndpointUnavailable(f"Triton has not loaded {name} yet")
            self._proven[name] = Engine("triton", told.get("provider", ""), told.get("precision", ""))
        return self._proven[name]

    # --- one request -------------------------------------------------------------------------------------------

    def _run(self, call: _Call, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        shared = self._shared
        try:
            placed = shared.place(arrays) if shared is not None else None
            if shared is None or placed is None:
                return self._send(call, arrays, None)
            try:
                return self._send_again(call, arrays, placed)
            finally:
                shared.release(placed)
        except self._server_error as error:
            self._do_without(error)
            return self._send(call, arrays, None)

    def _send_again(
        self, call: _Call, arrays: dict[str, NDArray[Any]], placed: Placed
    ) -> dict[str, NDArray[Any]]:
        """Once more where the server does not know our region: it was started anew."""
        try:
            return self._send(call, arrays, placed)
        except _RegionUnknown:
            placed.region.register(self._client)
            return self._send(call, arrays, placed)

    def _do_without(self, error: Any) -> None:
        """The server refuses our memory: it is in another container, or was started without it."""
        problem = translated(error, "shared memory")
        if isinstance(problem, EndpointUnavailable | RunTimedOut):
            raise problem from error
        if self._insists:
            raise EngineNotPossible(
                "engine",
                f"Triton takes no shared memory ({problem}): set RADMETER_TRITON_SHARED_MEMORY=off, or let it see "
                "our /dev/shm and start it with --allow-client-shm=true (from 26.04)",
            ) from error
        log.warning("shared_memory_refused", extra={"error": problem})
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.close()

    def _send(
        self, call: _Call, arrays: dict[str, NDArray[Any]], placed: Placed | None
    ) -> dict[str, NDArray[Any]]:
        request_id = uuid.uuid4().hex
        answer = _Answer()
        outputs = [self._grpc.InferRequestedOutput(name) for name in call.outputs]
        with self._sending:
            context = self._client.async_infer(
                call.name,
                [self._input(name, array, placed) for name, array in arrays.items()],
                answer.take,
                outputs=outputs,
                request_id=request_id,
                priority=call.priority,
                timeout=int(call.timeout_s * 1e6),  # in the server's queue
                client_timeout=call.timeout_s,
            )
        if not answer.wait(call.is_cancelled):
            context.cancel()
            raise RunCancelled(call.model)
        if answer.error is not None:
            if placed is not None and "shared memory region" in str(answer.error.message()):
                raise _RegionUnknown
            raise translated(answer.error, call.name)
        if placed is not None:
            placed.is_answered = True
        if answer.result.get_response().id != request_id:
            raise InvalidModelOutput(f"{call.name} answered another request than the one that was sent")
        return output_arrays(answer.result, call.outputs)

    def _input(self, name: str, array: NDArray[Any], placed: Placed | None) -> Any:
        one = self._grpc.InferInput(name, list(array.shape), GraphTensor.of_array(name, array).datatype)
        if placed is None:
            one.set_data_from_numpy(array)
        else:
            offset, size = placed.places[name]
            one.set_shared_memory(placed.region.name, size, offset)
        return one

    # --- what is no inference ------------------------------------------------------------------------------------

    @property
    def _server_error(self) -> type[Exception]:
        found: type[Exception] = self._grpc.InferenceServerException
        return found

    def _ask(self, name: str, method: str, *arguments: Any, **options: Any) -> Any:
        options.setdefault("client_timeout", _CONTROL_TIMEOUT_S)
        try:
            return getattr(self._client, method)(*arguments, **options)
        except self._server_error as error:
            raise translated(error, name) from error


def output_arrays(result: Any, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """The outputs of an answer, without those that are missing; raises `InvalidModelOutput` for what is no array.

    A python backend of 24.10 with numpy 2 announces a shape and sends nothing.
    """
    arrays = {}
    for name in names:
        try:
            array = result.as_numpy(name)
        except (ValueError, TypeError) as error:
            raise InvalidModelOutput(f"{name} has other bytes than its shape says: {error}") from error
        if array is not None and array.dtype.hasobject:
            raise InvalidModelOutput(f"{name} holds text instead of numbers")
        if array is not None:
            arrays[name] = array
    return arrays


class _Call:
    """What every attempt of one run has in common."""

    def __init__(self, manifest: Manifest, timeout_s: float, wished: Wishes) -> None:
        self.model, self.name, self.outputs = manifest.name, served_name(manifest), tuple(manifest.outputs)
        self.timeout_s, self.is_cancelled = timeout_s, wished.is_cancelled
        self.priority = min(max(wished.priority, 0) + 1, PRIORITY_LEVELS)  # 1 is Triton's most urgent


class _Answer:
    """What comes back, in a thread of gRPC's."""

    def __init__(self) -> None:
        self.result: Any = None
        self.error: Any = None
        self._is_there = threading.Event()

    def take(self, result: Any, error: Any) -> None:
        self.result, self.error = result, error
        self._is_there.set()

    def wait(self, cancelled: Callable[[], bool] | None) -> bool:
        """True when the answer is there, False when the run was cancelled before. gRPC's deadline ends the wait."""
        if cancelled is None:
            return self._is_there.wait()
        while not self._is_there.wait(ASKED_EVERY_S):
            if cancelled():
                return False
        return True


class _RegionUnknown(Exception):
    """The server does not know a region that it was told of."""
