"""Who runs next on a shared device: threads of made-up studies against an endpoint that opens only when told."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.endpoint import Outputs
from inference.engine import Engine
from inference.errors import EndpointFailed, RunCancelled, RunTooLarge
from inference.scheduler import Scheduler
from models.lung_nodule_ct.model import LungNoduleCT
from models.model import Model
from models.registry import get_model

EMERGENCY, NORMAL, OFF_PEAK = 0, 1, 2
ENGINE = Engine("made up", "cpu", "fp32")


def model(max_batch: int = 1, bytes_per_element: float = 1.0, digest: str = "a") -> Model:
    manifest = get_model("lung_nodule_ct").manifest
    return LungNoduleCT(
        dataclasses.replace(
            manifest,
            max_batch=max_batch,
            run_bytes_per_element=bytes_per_element,
            weights_sha256=digest * 64,
        )
    )


class Gate:
    """An endpoint that adds one, keeps what it ran, and holds each run until it is let through.

    now: a clock by which each run takes a second and nothing else any time.
    """

    def __init__(self, *, is_open: bool = False) -> None:
        self.now = 0.0
        self.ran: list[list[int]] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        self._let_through = threading.Semaphore(1_000_000 if is_open else 0)

    def run(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        values = inputs["x"]
        with self._lock:
            self.ran.append([int(row.flat[0]) for row in values])
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        assert self._let_through.acquire(timeout=10)
        with self._lock:
            self.at_once -= 1
            self.now += 1
        if (values < 0).any():
            raise EndpointFailed("a negative number")
        return Outputs({"y": values + 1}, ENGINE)

    def let_through(self, runs: int = 1_000_000) -> None:
        self._let_through.release(runs)


def box(number: int, size: int = 4) -> dict[str, NDArray[Any]]:
    return {"x": np.full((1, size), number, np.int16)}


class Studies:
    """Threads that each ask for one run, in a known order."""

    def __init__(self, scheduler: Scheduler, gate: Gate) -> None:
        self.scheduler, self.gate = scheduler, gate
        self.pool = ThreadPoolExecutor(32)
        self.futures: list[Future[dict[str, NDArray[Any]]]] = []

    def ask(
        self,
        number: int,
        *,
        tenant: str = "a",
        priority: int = NORMAL,
        size: int = 4,
        of: Model | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Future[dict[str, NDArray[Any]]]:
        endpoint = self.scheduler.for_study(tenant=tenant, priority=priority, is_cancelled=is_cancelled)
        before = self.scheduler.queue_length() + len(self.gate.ran)
        future = self.pool.submit(endpoint.run, of or model(), box(number, size))
        wait_until(lambda: self.scheduler.queue_length() + len(self.gate.ran) != before or future.done())
        self.futures.append(future)
        return future

    def finish(self) -> list[list[int]]:
        self.gate.let_through()
        for future in self.futures:
            future.exception(timeout=10)
        self.pool.shutdown()
        return self.gate.ran


@pytest.fixture
def gate() -> Gate:
    return Gate()


def test_an_emergency_goes_before_everything_that_waits(gate: Gate) -> None:
    studies = Studies(Scheduler(gate), gate)
    for number, priority in ((1, NORMAL), (2, OFF_PEAK), (3, NORMAL), (4, EMERGENCY)):
        studies.ask(number, priority=priority)
    assert studies.finish() == [[1], [4], [3], [2]]


def test_a_tenant_with_one_study_does_not_wait_for_another_ones_hundred() -> None:
    gate = Gate()
    studies = Studies(Scheduler(gate, clock=lambda: gate.now), gate)
    for number in range(10):
        studies.ask(number, tenant="county")
    studies.ask(100, tenant="clinic")
    order = [run[0] for run in studies.finish()]
    assert order.index(100) <= 1, "it is served after the one run that was under way"
    assert [number for number in order if number != 100] == list(range(10)), "within a tenant: first come"


def test_a_study_that_has_begun_waits_for_one_later_run_at_most_each_time(gate: Gate) -> None:
    """While its next input is made another study may have the device; the others wait until it is through."""
    scheduler = Scheduler(gate, clock=lambda: gate.now)
    studies = Studies(scheduler, gate)
    began = scheduler.for_study(tenant="a", priority=NORMAL)
    long = studies.pool.submit(lambda: [began.run(model(), box(number)) for number in range(4)])
    wait_until(lambda: len(gate.ran) == 1)
    for number in (100, 101, 102):
        studies.ask(number)
    for ended in range(1, 7):
        gate.let_through(1)
        wait_until(lambda ended=ended: len(gate.ran) > ended)
        own = sum(run[0] < 100 for run in gate.ran[:ended])
        came = 3 + min(own + 1, 4)
        wait_until(lambda came=came: scheduler.queue_length() + len(gate.ran) == came)
    order = [run[0] for run in studies.finish()]
    long.result(timeout=10)
    until_its_end = order[: order.index(3)]
    assert [number for number in until_its_end if number < 100] == [0, 1, 2]
    assert not any(one >= 100 and other >= 100 for one, other in itertools.pairwise(until_its_end))


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_tenant_that_comes_later_has_no_credit_from_the_time_before() -> None:
    gate = Gate()
    studies = Studies(Scheduler(gate, clock=lambda: gate.now), gate)
    for number in range(12):
        studies.ask(number, tenant="county")
    gate.let_through(6)
    studies.futures[5].result(timeout=10)
    for number in range(100, 106):
        studies.ask(number, tenant="clinic")
    order = [run[0] for run in studies.finish()]
    after = [number >= 100 for number in order[7:]]
    turns = [sum(after[:length]) for length in range(1, 11)]
    assert all(abs(2 * clinics - length) <= 2 for length, clinics in enumerate(turns, start=1)), order


def test_windows_of_different_studies_go_together_and_each_gets_its_own_answer(gate: Gate) -> None:
    seen: list[tuple[str, float, float, int]] = []
    scheduler = Scheduler(gate, observe=lambda *values: seen.append(values))
    batched = model(max_batch=3)
    studies = Studies(scheduler, gate)
    first = studies.ask(0, of=batched)
    others = [studies.ask(number, tenant=f"t{number}", of=batched) for number in range(1, 6)]
    assert studies.finish() == [[0], [1, 2, 3], [4, 5]]
    assert [int(one.result()["y"][0, 0]) for one in (first, *others)] == [1, 2, 3, 4, 5, 6]
    assert all(one.result()["y"].shape == (1, 4) for one in others)
    assert {getattr(one.result(), "engine", None) for one in (first, *others)} == {ENGINE}
    assert sorted(stacked for _, _, _, stacked in seen) == [1, 2, 2, 3, 3, 3]


def test_what_differs_in_shape_or_weights_is_not_put_together(gate: Gate) -> None:
    studies = Studies(Scheduler(gate), gate)
    studies.ask(0, of=model(max_batch=8))
    studies.ask(1, of=model(max_batch=8))
    studies.ask(2, of=model(max_batch=8), size=5)
    studies.ask(3, of=model(max_batch=8, digest="b"))
    assert studies.finish() == [[0], [1], [2], [3]]


def test_one_input_that_breaks_a_batch_fails_alone(gate: Gate) -> None:
    studies = Studies(Scheduler(gate), gate)
    batched = model(max_batch=8)
    studies.ask(0, of=batched)
    good, bad = studies.ask(5, of=batched), studies.ask(-7, of=batched)
    studies.finish()
    assert int(good.result()["y"][0, 0]) == 6
    assert isinstance(bad.exception(), EndpointFailed)
    assert gate.ran == [[0], [5, -7], [5], [-7]]


def test_runs_share_the_memory_and_a_large_one_is_not_overtaken_for_ever(gate: Gate) -> None:
    scheduler = Scheduler(gate, runs_at_once=4, memory_bytes_max=100)
    studies = Studies(scheduler, gate)
    for number, size in ((1, 40), (2, 40), (3, 80), (4, 10)):
        studies.ask(number, size=size)
    assert sorted(gate.ran) == [[1], [2]], "the third does not fit and the fourth does not overtake it"
    ran = studies.finish()
    assert {ran[2][0], ran[3][0]} == {3, 4}
    assert gate.most_at_once == 2


def test_a_run_larger_than_the_memory_is_refused_with_the_setting_that_bounds_it() -> None:
    scheduler = Scheduler(Gate(is_open=True), memory_bytes_max=1 << 20)
    with pytest.raises(RunTooLarge, match="RADMETER_INFERENCE_RUN_MEMORY_MIB"):
        scheduler.for_study(tenant="a").run(model(bytes_per_element=1 << 20), box(1, 2))


def test_a_cancelled_study_leaves_the_queue_and_nothing_else_waits_for_it(gate: Gate) -> None:
    cancelled = threading.Event()
    studies = Studies(Scheduler(gate), gate)
    studies.ask(1)
    gone = studies.ask(2, is_cancelled=cancelled.is_set)
    studies.ask(3)
    cancelled.set()
    assert isinstance(gone.exception(timeout=10), RunCancelled)
    assert studies.finish() == [[1], [3]]


def test_an_endpoint_that_breaks_gives_its_error_and_frees_the_device() -> None:
    scheduler = Scheduler(Gate(is_open=True))
    endpoint = scheduler.for_study(tenant="a")
    with pytest.raises(EndpointFailed):
        endpoint.run(model(), box(-1))
    assert int(endpoint.run(model(), box(1))["y"][0, 0]) == 2


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-3, 30), st.sampled_from("abc"), st.integers(0, 2), st.sampled_from((3, 4))),
        min_size=1,
        max_size=24,
    ),
    st.integers(1, 3),
    st.integers(1, 5),
)
def test_whatever_comes_each_gets_its_own_answer_once(
    asked: list[tuple[int, str, int, int]], lanes: int, max_batch: int
) -> None:
    gate = Gate(is_open=True)
    scheduler = Scheduler(gate, runs_at_once=lanes, memory_bytes_max=24)
    batched = model(max_batch)
    with ThreadPoolExecutor(8) as pool:
        futures = [
            pool.submit(scheduler.for_study(tenant=tenant, priority=priority).run, batched, box(number, size))
            for number, tenant, priority, size in asked
        ]
    for (number, _, _, size), future in zip(asked, futures, strict=True):
        if number < 0:
            assert isinstance(future.exception(), EndpointFailed)
        else:
            assert np.array_equal(future.result()["y"], np.full((1, size), number + 1))
    assert gate.most_at_once <= lanes
    assert scheduler.queue_length() == 0
