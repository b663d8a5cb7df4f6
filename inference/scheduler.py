"""Who runs next on a device that several studies share.

The most urgent first; among equals the tenant that has had the least of the device; within a tenant the study that came
first, to its last run. Runs of the same graph on inputs of the same shape go together where the model allows it, also
across studies. Nobody waits for a batch to fill: while the device is busy, what fits together gathers by itself.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.endpoint import Endpoint, Outputs
from inference.errors import RunCancelled, RunTooLarge
from inference.wishes import Wishes, wishing
from models.model import Model

Arrays = Mapping[str, NDArray[Any]]
# How often a waiting run looks whether its study was cancelled.
CANCEL_POLL_S = 0.5


def _observe_nothing(model: str, waited_s: float, ran_s: float, stacked: int) -> None:
    """The default when no metrics are kept."""


def _never() -> bool:
    return False


@dataclass(eq=False)
class _Request:
    """One run that waits. number: of its study. memory_bytes: what it is expected to need at its peak."""

    model: Model
    inputs: Arrays
    tenant: str
    priority: int
    number: int
    memory_bytes: int
    is_cancelled: Callable[[], bool]
    arrived_at: float
    outputs: Arrays | None = None
    error: BaseException | None = None
    is_taken: bool = False

    @property
    def is_done(self) -> bool:
        return self.outputs is not None or self.error is not None

    @property
    def stacked(self) -> int:
        return len(next(iter(self.inputs.values())))

    def fits_with(self, other: _Request) -> bool:
        """Whether both can be one run: same weights, and inputs that differ along axis 0 alone."""
        return (
            self.model.manifest.weights_sha256 == other.model.manifest.weights_sha256
            and self.inputs.keys() == other.inputs.keys()
            and all(
                array.shape[1:] == other.inputs[name].shape[1:] and array.dtype == other.inputs[name].dtype
                for name, array in self.inputs.items()
            )
        )


@dataclass
class _Share:
    """How much of the device a tenant has had, in seconds, since it was last idle."""

    used_s: float = 0.0
    waiting: int = 0


@dataclass
class Scheduler:
    """Shares one endpoint. Threads of studies call `for_study(...).run`; each waits for its turn.

    runs_at_once: how many runs the device takes at a time. memory_bytes_max: what all of them together may need; a run
    that needs more by itself is refused. observe: told of each run: model, seconds waited and run, inputs stacked.
    """

    endpoint: Endpoint
    runs_at_once: int = 1
    memory_bytes_max: int = 4 << 30
    observe: Callable[[str, float, float, int], None] = _observe_nothing
    clock: Callable[[], float] = time.monotonic
    _turn: threading.Condition = field(default_factory=threading.Condition, init=False)
    _waiting: list[_Request] = field(default_factory=list, init=False)
    _running: list[_Request] = field(default_factory=list, init=False)
    _lanes_used: int = field(default=0, init=False)
    _shares: dict[str, _Share] = field(default_factory=dict, init=False)
    _numbers: itertools.count[int] = field(default_factory=itertools.count, init=False)

    def for_study(
        self, *, tenant: str, priority: int = 0, is_cancelled: Callable[[], bool] = _never
    ) -> Endpoint:
        """The endpoint as one study uses it. priority: the smaller, the sooner.

        is_cancelled: asked before a run begins and while it waits; a run under way is broken off only by a server
        that can (Triton).
        """
        return _StudyEndpoint(self, tenant, priority, is_cancelled, next(self._numbers))

    def queue_length(self) -> int:
        """Runs that wait."""
        with self._turn:
            return len(self._waiting)

    def run(self, model: Model, inputs: Arrays, study: _StudyEndpoint) -> Arrays:
        """Run the graph when its turn has come. Raises `RunCancelled`, `RunTooLarge` and what the endpoint raises."""
        memory = expected_memory_bytes(model, inputs)
        if memory > self.memory_bytes_max:
            raise RunTooLarge(model.manifest.name, memory, self.memory_bytes_max)
        request = _Request(
            model,
            inputs,
            study.tenant,
            study.priority,
            study.number,
            memory,
            study.is_cancelled,
            self.clock(),
        )
        batch = self._wait_for_turn(request)
        if batch:
            self._run_together(batch)
        if request.error is not None:
            raise request.error
        assert request.outputs is not None
        return request.outputs

    def _wait_for_turn(self, request: _Request) -> list[_Request]:
        """What this thread has to run; nothing where another thread has run the request with its own."""
        with self._turn:
            self._enter(request)
            while not request.is_done:
                if not request.is_taken and request.is_cancelled():
                    self._leave(request)
                    raise RunCancelled(request.model.manifest.name)
                if not request.is_taken and self._may_start(request):
                    return self._take(request)
                self._turn.wait(CANCEL_POLL_S)
            return []

    def _enter(self, request: _Request) -> None:
        """A tenant that comes back from idling has no credit from then: it starts level with the least served."""
        share = self._shares.setdefault(request.tenant, _Share())
        if not share.waiting and not any(one.tenant == request.tenant for one in self._running):
            active = [other.used_s for name, other in self._shares.items() if self._is_active(name)]
            share.used_s = max(share.used_s, min(active, default=0.0))
        share.waiting += 1
        self._waiting.append(request)

    def _is_active(self, tenant: str) -> bool:
        return self._shares[tenant].waiting > 0 or any(one.tenant == tenant for one in self._running)

    def _leave(self, request: _Request) -> None:
        self._waiting.remove(request)
        self._shares[request.tenant].waiting -= 1
        self._turn.notify_all()

    def _order(self, request: _Request) -> tuple[int, float, int]:
        return request.priority, self._shares[request.tenant].used_s, request.number

    def _may_start(self, request: _Request) -> bool:
        """The first in order goes when there is room; nobody overtakes it, so that a large run is not starved."""
        if self._lanes_used >= self.runs_at_once or min(self._waiting, key=self._order) is not request:
            return False
        return self._memory_used() + request.memory_bytes <= self.memory_bytes_max

    def _memory_used(self) -> int:
        return sum(one.memory_bytes for one in self._running)

    def _take(self, request: _Request) -> list[_Request]:
        batch, room = [request], request.model.manifest.max_batch - request.stacked
        memory = self.memory_bytes_max - self._memory_used() - request.memory_bytes
        for other in sorted(self._waiting, key=self._order):
            fits = other is not request and other.stacked <= room and other.memory_bytes <= memory
            if fits and request.fits_with(other):
                batch.append(other)
                room -= other.stacked
                memory -= other.memory_bytes
        for one in batch:
            one.is_taken = True
            self._leave(one)
        self._running.extend(batch)
        self._lanes_used += 1
        return batch

    def _run_together(self, batch: list[_Request]) -> None:
        started = self.clock()
        wanted = Wishes(min(one.priority for one in batch), lambda: all(one.is_cancelled() for one in batch))
        try:
            with wishing(wanted):
                _run_batch(self.endpoint, batch)
        except BaseException as error:
            for one in batch:
                if not one.is_done:
                    one.error = error
            raise
        finally:
            ended = self.clock()
            with self._turn:
                self._lanes_used -= 1
                for one in batch:
                    self._running.remove(one)
                    self._shares[one.tenant].used_s += (ended - started) / len(batch)
                self._forget_idle_tenants()
                self._turn.notify_all()
        for one in batch:
            self.observe(one.model.manifest.name, started - one.arrived_at, ended - started, len(batch))

    def _forget_idle_tenants(self) -> None:
        """Shares count among those who compete; with nobody left, all begin anew."""
        if not self._waiting and not self._running:
            self._shares.clear()


@dataclass(frozen=True)
class _StudyEndpoint:
    """The scheduler as one study sees it. number: its place among the studies that came."""

    scheduler: Scheduler
    tenant: str
    priority: int
    is_cancelled: Callable[[], bool]
    number: int

    def run(self, model: Model, inputs: Arrays) -> Arrays:
        return self.scheduler.run(model, inputs, self)


def expected_memory_bytes(model: Model, inputs: Arrays) -> int:
    """Peak memory of one run beside the model's weights, from the manifest's figure for one input element."""
    elements = sum(array.size for array in inputs.values())
    return round(elements * model.manifest.run_bytes_per_element)


def _run_batch(endpoint: Endpoint, batch: list[_Request]) -> None:
    """One run for all, its outputs divided; where that fails, each by itself, so that none fails for another."""
    if len(batch) > 1:
        try:
            _divide(batch, endpoint.run(batch[0].model, _stacked(batch)))
        except Exception:
            for one in batch:
                _run_alone(endpoint, one)
    else:
        _run_alone(endpoint, batch[0])


def _run_alone(endpoint: Endpoint, request: _Request) -> None:
    try:
        request.outputs = endpoint.run(request.model, request.inputs)
    except Exception as error:
        request.error = error


def _stacked(batch: list[_Request]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([one.inputs[name] for one in batch]) for name in batch[0].inputs}


def _divide(batch: list[_Request], outputs: Arrays) -> None:
    """Give each request its rows; raises ValueError when the graph gave another number of rows."""
    edges = np.cumsum([0, *(one.stacked for one in batch)])
    if any(len(array) != edges[-1] for array in outputs.values()):
        raise ValueError("the graph did not answer with one row for each input")
    for one, first, last in zip(batch, edges[:-1], edges[1:], strict=True):
        rows = {name: array[first:last] for name, array in outputs.items()}
        one.outputs = Outputs(rows, outputs.engine, outputs.note) if isinstance(outputs, Outputs) else rows
