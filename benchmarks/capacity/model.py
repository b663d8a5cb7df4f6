"""The region as a discrete-event model: the queue of steps with its priorities, workers, GPUs, deliveries, faults.

As in the product (`pipeline/queue.py`, `pipeline/jobs.py`, `inference/scheduler.py`): every study is assembled, then
takes five steps, each a job of its own. A worker that is free takes the job of the highest priority, among equals the
one that was put in first; assembling and routing come before everything, then emergencies. A step that runs is not
interrupted. A GPU takes the most urgent run, among equals that of the tenant that has had least of it, and stacks what
fits into one batch. The job of a worker that dies is free again after RADMETER_TAKEOVER_S, and the step is done anew.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Generator
from random import Random
from typing import Any

import simpy

from benchmarks.capacity.arrivals import Trace
from benchmarks.capacity.gpus import Gpus
from benchmarks.capacity.site import Job, Outage, Result, Site, Study, Take
from benchmarks.capacity.step_times import STEPS, StepTimes
from pipeline.jobs import DELIVERIES_AT_ONCE

Process = Generator[simpy.Event, Any, Any]

_RETRY_PAUSE_S = 60.0
"""Between two tries at a PACS that is away, at most."""


class Model:
    """Runs one trace on one site. Random are the times of steps and the waits for completeness, by `seed`."""

    def __init__(self, trace: Trace, site: Site, times: StepTimes, seed: int) -> None:
        self.env = simpy.Environment()
        self.result = Result()
        self._trace, self._site, self._times = trace, site, times
        self._rng = Random(seed)
        self._numbers = itertools.count()
        self._queue: list[Job] = []
        self._idle: list[simpy.Event] = []
        self._gpus = Gpus(self.env, site, self.result) if site.gpus else None
        self._deliveries = simpy.Resource(self.env, site.workers * DELIVERIES_AT_ONCE)
        self._pacs_back_s: dict[int, float] = {}
        self._counted_s = 0.0

    def run(self) -> Result:
        self.env.process(self._arrivals())
        workers = [self.env.process(self._worker()) for _ in range(self._site.workers)]
        for outage in self._site.outages:
            self.env.process(self._fail(outage, workers))
        self.env.run()
        self.result.ended_s = max((one.delivered_s for one in self.result.studies), default=0.0)
        return self.result

    # --- arriving -----------------------------------------------------------------------------------------

    def _arrivals(self) -> Process:
        trace = self._trace
        scales = self._times.scale(trace.slices).tolist()
        for number in range(len(trace)):
            yield self.env.timeout(max(0.0, trace.arrived_s[number] - self.env.now))
            study = Study(
                number, int(trace.hospital[number]), bool(trace.is_ct[number]), bool(trace.is_emergency[number]),
                scales[number], self.env.now,
            )  # fmt: skip
            self.result.studies.append(study)
            self.env.process(self._put_after(study, self._rng.choice(self._times.waits_s)))

    # --- the queue of steps -------------------------------------------------------------------------------

    def _put_after(self, study: Study, delay_s: float) -> Process:
        yield self.env.timeout(delay_s)
        self._put(study)

    def _put(self, study: Study) -> None:
        self._count_queue()
        heapq.heappush(self._queue, Job((-study.priority, next(self._numbers)), self.env.now, study))
        self._wake()

    def _wake(self) -> None:
        if self._idle and self._queue:
            self._idle.pop(0).succeed()

    def _count_queue(self) -> None:
        self.result.queue_area_s += len(self._queue) * (self.env.now - self._counted_s)
        self._counted_s = self.env.now

    def _worker(self) -> Process:
        """One process: takes steps until the end of the simulation, and is interrupted by outages."""
        while True:
            study, wakes, began_s = None, None, self.env.now
            try:
                if not self._queue:
                    wakes = self.env.event()
                    self._idle.append(wakes)
                    yield wakes
                    continue
                self._count_queue()
                job = heapq.heappop(self._queue)
                study = job.study
                self.result.takes.append(Take("worker", -job.rank[0], job.put_s, self.env.now))
                yield from self._take_step(study)
                self.result.worker_busy_s += self.env.now - began_s
            except simpy.Interrupt as outage:
                if study is not None:  # what it did is lost; others learn of it by its silence
                    self.result.worker_busy_s += self.env.now - began_s
                    silence_s = self._site.takeover_s * (1 + self._rng.uniform(0, 0.5))
                    self.env.process(self._put_after(study, silence_s))
                elif wakes is not None:
                    if wakes in self._idle:
                        self._idle.remove(wakes)
                    else:
                        self._wake()  # another one goes in its place
                yield self.env.timeout(float(outage.cause))

    def _take_step(self, study: Study) -> Process:
        step = STEPS[study.step] if study.step >= 0 else "assemble"
        is_on_gpu = self._gpus is not None and step == "infer" and study.is_ct
        cost = self._times.draw(self._rng, study, step)
        if is_on_gpu and self._gpus is not None and self._gpus.are_there:
            yield self.env.timeout(cost.seconds - cost.network_s)
            was_run = yield from self._gpus.run(study, cost.gpu_s)
            if not was_run:
                yield self.env.timeout(
                    cost.network_s
                )  # RADMETER_INFERENCE_FALLBACK: on the worker's own cores
        else:
            yield self.env.timeout(cost.seconds)
        study.step += 1
        if step == "assemble":
            study.assembled_s = self.env.now
        if study.step == len(STEPS):
            self.env.process(self._deliver(study))
        else:
            self._put(study)

    # --- results leave, things break ----------------------------------------------------------------------

    def _deliver(self, study: Study) -> Process:
        while True:
            with self._deliveries.request() as place:
                yield place
                back_s = self._pacs_back_s.get(study.hospital, 0.0)
                if self.env.now >= back_s:
                    yield self.env.timeout(self._times.draw(self._rng, study, "send").seconds)
                    study.delivered_s = self.env.now
                    return
            yield self.env.timeout(self._rng.uniform(1.0, _RETRY_PAUSE_S))

    def _fail(self, outage: Outage, workers: list[simpy.Process]) -> Process:
        yield self.env.timeout(outage.at_s)
        if outage.what == "worker":
            workers[outage.number].interrupt(outage.lasts_s)
        elif outage.what == "gpu":
            assert self._gpus is not None
            self._gpus.lose(outage.number, outage.lasts_s)
        else:
            self._pacs_back_s[outage.number] = self.env.now + outage.lasts_s
