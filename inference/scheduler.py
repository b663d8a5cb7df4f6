"""Who runs next on a device that several studies share.

The most urgent first; among equals the tenant that has had the least of the device; within a tenant the study that came
first, to its last run. Runs of the same graph on inputs of the same shape go together where the model allows it, also
across studies. Nobody waits for a batch to fill: while the device is busy, what fits together gathers by itself.
An emergency that finds no room breaks off the least urgent run, which is made anew afterwards.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from inference.endpoint import Endpoint
from inference.errors import RunCancelled, RunInterrupted, RunTooLarge
from inference.scheduled_run import Arrays, Request, expected_memory_bytes, run_batch
from inference.wishes import ASKED_EVERY_S, Wishes, wishing
from models.model import Model

# The priority before which what runs is broken off, and how often that may happen to one run: so that each ends.
EMERGENCY = 0
SET_BACK_MAX = 2


def _observe_nothing(model: str, waited_s: float, ran_s: float, stacked: int) -> None:
    """The default when no metrics are kept."""


def _never() -> bool:
    return False


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
    _waiting: list[Request] = field(default_factory=list, init=False)
    _running: list[Request] = field(default_factory=list, init=False)
    _lanes_used: int = field(default=0, init=False)
    _shares: dict[str, _Share] = field(default_factory=dict, init=False)
    _numbers: itertools.count[int] = field(default_factory=itertools.count, init=False)
    _is_closed: bool = field(default=False, init=False)

    def for_study(
        self, *, tenant: str, priority: int = 0, is_cancelled: Callable[[], bool] = _never
    ) -> Endpoint:
        """The endpoint as one study uses it. priority: the smaller, the sooner.

        is_cancelled: asked while a run waits and while it is under way.
        """
        return _StudyEndpoint(self, tenant, priority, is_cancelled, next(self._numbers))

    def queue_length(self) -> int:
        """Runs that wait."""
        with self._turn:
            return len(self._waiting)

    def close(self) -> None:
        """Break off what runs and let nothing begin: `RunInterrupted` tells each study that another has to go on."""
        with self._turn:
            self._is_closed = True
            self._turn.notify_all()

    def run(self, model: Model, inputs: Arrays, study: _StudyEndpoint) -> Arrays:
        """Run the graph when its turn has come. Raises `RunCancelled`, `RunTooLarge` and what the endpoint raises."""
        memory = expected_memory_bytes(model, inputs)
        if memory > self.memory_bytes_max:
            raise RunTooLarge(model.manifest.name, memory, self.memory_bytes_max)
        request = Request(
            model,
            inputs,
            study.tenant,
            study.priority,
            study.number,
            memory,
            study.is_cancelled,
            self.clock(),
        )
        with self._turn:
            self._enter(request)
        while not request.is_over:
            batch = self._wait_for_turn(request)
            if batch:
                self._run_together(batch)
        if request.error is not None:
            raise request.error
        assert request.outputs is not None
        return request.outputs

    def _wait_for_turn(self, request: Request) -> list[Request]:
        """What this thread has to run; nothing where another thread has run the request with its own."""
        with self._turn:
            while not request.is_over:
                if not request.is_taken:
                    if reason := self._why_not(request):
                        self._leave(request)
                        raise reason
                    if self._may_start(request):
                        return self._take(request)
                    self._make_way(request)
                self._turn.wait(ASKED_EVERY_S)
            return []

    def _why_not(self, request: Request) -> RunCancelled | None:
        """Why the run must not be made, if so."""
        name = request.model.manifest.name
        if request.is_cancelled():
            return RunCancelled(name)
        return RunInterrupted(name) if self._is_closed else None

    def _make_way(self, request: Request) -> None:
        """For an emergency that is next: break off the least urgent run, of those the one that began last."""
        if request.priority != EMERGENCY or min(self._waiting, key=self._order) is not request:
            return
        if any(one.makes_way for one in self._running):
            return
        others = [one for one in self._running if all(_may_be_set_back(each) for each in one.together)]
        if others:
            for one in max(reversed(others), key=lambda one: one.priority).together:
                one.makes_way = True

    def _enter(self, request: Request) -> None:
        """A tenant that comes back from idling has no credit from then: it starts level with the least served."""
        share = self._shares.setdefault(request.tenant, _Share())
        if not share.waiting and not any(one.tenant == request.tenant for one in self._running):
            active = [other.used_s for name, other in self._shares.items() if self._is_active(name)]
            share.used_s = max(share.used_s, min(active, default=0.0))
        share.waiting += 1
        self._waiting.append(request)

    def _is_active(self, tenant: str) -> bool:
        return self._shares[tenant].waiting > 0 or any(one.tenant == tenant for one in self._running)

    def _leave(self, request: Request) -> None:
        self._waiting.remove(request)
        self._shares[request.tenant].waiting -= 1
        self._turn.notify_all()

    def _order(self, request: Request) -> tuple[int, float, int]:
        return request.priority, self._shares[request.tenant].used_s, request.number

    def _may_start(self, request: Request) -> bool:
        """The first in order goes when there is room; nobody overtakes it, so that a large run is not starved."""
        if self._lanes_used >= self.runs_at_once or min(self._waiting, key=self._order) is not request:
            return False
        return self._memory_used() + request.memory_bytes <= self.memory_bytes_max

    def _memory_used(self) -> int:
        return sum(one.memory_bytes for one in self._running)

    def _take(self, request: Request) -> list[Request]:
        batch, room = [request], request.model.manifest.max_batch - request.stacked
        memory = self.memory_bytes_max - self._memory_used() - request.memory_bytes
        for other in sorted(self._waiting, key=self._order):
            fits = other is not request and other.stacked <= room and other.memory_bytes <= memory
            if fits and request.fits_with(other):
                batch.append(other)
                room -= other.stacked
                memory -= other.memory_bytes
        for one in batch:
            one.is_taken, one.together = True, batch
            self._leave(one)
        self._running.extend(batch)
        self._lanes_used += 1
        return batch

    def _run_together(self, batch: list[Request]) -> None:
        started = self.clock()
        wanted = Wishes(min(one.priority for one in batch), lambda: all(map(self._is_unwanted, batch)))
        try:
            with wishing(wanted):
                run_batch(self.endpoint, batch)
        except BaseException as error:
            for one in batch:
                if one.outputs is None:
                    one.error = error
            raise
        finally:
            ended = self.clock()
            with self._turn:
                self._lanes_used -= 1
                for one in batch:
                    self._running.remove(one)
                    self._settle(one, (ended - started) / len(batch))
                self._forget_idle_tenants()
                self._turn.notify_all()
        for one in (one for one in batch if one.is_over):
            self.observe(one.model.manifest.name, started - one.arrived_at, ended - started, len(batch))

    def _is_unwanted(self, request: Request) -> bool:
        return request.makes_way or self._why_not(request) is not None

    def _settle(self, request: Request, took_s: float) -> None:
        """A run that has ended is over, or waits again where it only made way."""
        if isinstance(request.error, RunCancelled):
            reason = self._why_not(request)
            if reason is None and request.makes_way:
                request.error, request.is_taken, request.makes_way = None, False, False
                request.set_back += 1
                self._enter(request)
                return
            request.error = reason or request.error
        request.is_over = True
        self._shares[request.tenant].used_s += took_s

    def _forget_idle_tenants(self) -> None:
        """Shares count among those who compete; with nobody left, all begin anew."""
        if not self._waiting and not self._running:
            self._shares.clear()


def _may_be_set_back(request: Request) -> bool:
    return request.priority != EMERGENCY and request.set_back < SET_BACK_MAX


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
