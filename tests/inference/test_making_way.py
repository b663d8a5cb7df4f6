"""Runs that the scheduler breaks off: for an emergency, for a worker that stops, for studies that are cancelled."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from inference.endpoint import Outputs
from inference.errors import RunCancelled, RunInterrupted
from inference.scheduler import Scheduler
from inference.wishes import wishes
from models.model import Model
from tests.inference.test_scheduler import (
    EMERGENCY,
    ENGINE,
    NORMAL,
    OFF_PEAK,
    Gate,
    Studies,
    model,
    wait_until,
)


class Breakable(Gate):
    """A gate whose runs end when nobody wants them any more."""

    def run(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        is_cancelled = wishes().is_cancelled
        assert is_cancelled is not None
        with self._lock:
            self.ran.append([int(row.flat[0]) for row in inputs["x"]])
        for _ in range(2000):
            if self._let_through.acquire(timeout=0.005):
                break
            if is_cancelled():
                raise RunCancelled(model.manifest.name)
        return Outputs({"y": inputs["x"] + 1}, ENGINE)


def test_an_emergency_without_room_sets_the_least_urgent_run_back_and_each_at_most_twice() -> None:
    gate = Breakable()
    studies = Studies(Scheduler(gate, runs_at_once=2), gate)
    normal = studies.ask(1, priority=NORMAL)
    studies.ask(2, priority=OFF_PEAK)
    for count, number in enumerate((10, 11), start=3):
        studies.ask(number, priority=EMERGENCY)
        wait_until(lambda count=count: len(gate.ran) == count)
    studies.ask(12, priority=EMERGENCY)
    assert gate.ran[:4] == [[1], [2], [10], [11]], "off-peak goes first, then the normal one"
    ran = studies.finish()
    assert sorted(itertools.chain(*ran)) == [1, 1, 2, 2, 10, 11, 12], "each that was set back was made anew"
    assert int(normal.result()["y"][0, 0]) == 2


def test_what_runs_and_what_waits_when_the_worker_stops_is_left_to_another() -> None:
    gate = Breakable()
    scheduler = Scheduler(gate)
    studies = Studies(scheduler, gate)
    futures = [studies.ask(1), studies.ask(2, is_cancelled=lambda: len(gate.ran) > 5), studies.ask(3)]
    scheduler.close()
    assert [type(future.exception(timeout=10)) for future in futures] == [RunInterrupted] * 3
    assert gate.ran == [[1]]


def test_studies_of_one_batch_are_broken_off_only_together() -> None:
    gate, cancelled = Breakable(), [False, False]
    studies = Studies(Scheduler(gate), gate)
    studies.ask(1)
    batched = [
        studies.ask(2 + number, of=model(2, digest="b"), is_cancelled=lambda number=number: cancelled[number])
        for number in range(2)
    ]
    gate.let_through(1)
    wait_until(lambda: gate.ran == [[1], [2, 3]])
    cancelled[0] = True
    time.sleep(0.1)
    assert not batched[0].done()
    cancelled[1] = True
    assert [type(one.exception(timeout=10)) for one in batched] == [RunCancelled] * 2
    assert gate.ran == [[1], [2, 3]], "neither was tried by itself"
