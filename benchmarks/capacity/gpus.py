"""GPUs behind one queue, as Triton or the scheduler of `inference/scheduler.py` has it."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import simpy

from benchmarks.capacity.site import Result, Site, Study, Take


@dataclass(eq=False)
class _Run:
    study: Study
    number: int
    seconds: float
    put_s: float
    done: simpy.Event


class Gpus:
    """The most urgent run first, among equals that of the hospital that has had least, then the one that came first."""

    def __init__(self, env: simpy.Environment, site: Site, result: Result) -> None:
        self._env, self._site, self._result = env, site, result
        self._numbers = itertools.count()
        self._waiting: list[_Run] = []
        self._idle: list[simpy.Event] = []
        self._used_s: dict[int, float] = defaultdict(float)
        self._away: set[int] = set()
        self._processes = [env.process(self._gpu()) for _ in range(site.gpus)]

    @property
    def are_there(self) -> bool:
        return len(self._away) < self._site.gpus

    def run(self, study: Study, seconds: float) -> Generator[simpy.Event, Any, bool]:
        """False when the last GPU went away meanwhile: nothing was computed."""
        run = _Run(study, next(self._numbers), seconds, self._env.now, self._env.event())
        self._waiting.append(run)
        if self._idle:
            self._idle.pop(0).succeed()
        return bool((yield run.done))

    def lose(self, number: int, lasts_s: float) -> None:
        self._away.add(number)
        self._processes[number].interrupt((number, lasts_s))
        if not self.are_there:
            for run in self._waiting:
                run.done.succeed(False)
            self._waiting.clear()

    def _gpu(self) -> Generator[simpy.Event, Any, None]:
        while True:
            batch: list[_Run] = []
            wakes = None
            began_s = self._env.now
            try:
                if not self._waiting:
                    wakes = self._env.event()
                    self._idle.append(wakes)
                    yield wakes
                    continue
                batch = self._next_batch()
                growth = 1 + self._site.batch_growth * (len(batch) - 1)
                yield self._env.timeout(max(run.seconds for run in batch) * growth)
                self._finish(batch, self._env.now - began_s)
            except simpy.Interrupt as outage:
                number, lasts_s = outage.cause
                self._result.gpu_busy_s += self._env.now - began_s if batch else 0.0
                if self.are_there:
                    self._waiting += batch  # the client asks again, and another GPU answers
                    if self._idle and self._waiting:
                        self._idle.pop(0).succeed()
                else:
                    for run in batch:
                        run.done.succeed(False)
                if wakes in self._idle:
                    self._idle.remove(wakes)
                yield self._env.timeout(lasts_s)
                self._away.discard(number)

    def _next_batch(self) -> list[_Run]:
        self._waiting.sort(
            key=lambda run: (-run.study.priority, self._used_s[run.study.hospital], run.number)
        )
        batch, self._waiting = self._waiting[: self._site.max_batch], self._waiting[self._site.max_batch :]
        self._result.takes += [Take("gpu", run.study.priority, run.put_s, self._env.now) for run in batch]
        return batch

    def _finish(self, batch: list[_Run], lasted_s: float) -> None:
        self._result.gpu_busy_s += lasted_s
        self._result.batches.append(len(batch))
        for run in batch:
            self._used_s[run.study.hospital] += lasted_s / len(batch)
            run.done.succeed(True)
        if not self._waiting:
            self._used_s.clear()
