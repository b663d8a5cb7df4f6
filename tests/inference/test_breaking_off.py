"""Runs of the shipped CT model that are broken off on the processor: by a cancel, an emergency, a drain, a time-out."""

from __future__ import annotations

import gc
import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from inference.choose import EngineChoice, make_endpoint
from inference.endpoint import ServingEndpoint
from inference.engine import Engine
from inference.errors import RunCancelled, RunInterrupted, RunTimedOut
from inference.resilient import Limits, ResilientEndpoint
from inference.scheduler import Scheduler
from models.registry import get_model

MODEL = get_model("lung_nodule_ct")
# Runs for a second or more on one thread of a fast machine, and needs hundreds of MiB while it does.
LARGE = {"hounsfield": np.full((1, 160, 256, 288), -850, np.int16)}
# So that nothing hangs; that a run was broken off is told by its error, whatever the machine is busy with.
BOUND_S = 60.0


def small(seed: int) -> dict[str, NDArray[Any]]:
    noise = np.random.default_rng(seed).integers(-900, 100, (1, 48, 48, 64))
    return {"hounsfield": noise.astype(np.int16)}


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def endpoint(request: pytest.FixtureRequest) -> Iterator[ServingEndpoint]:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    endpoint = make_endpoint(EngineChoice(request.param, threads=1))
    endpoint.run(MODEL, small(0))
    yield endpoint
    gc.collect()


@pytest.fixture(autouse=True)
def asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a fast machine a run would be over before it is asked for the second time."""
    monkeypatch.setattr("inference.wishes.ASKED_EVERY_S", 0.05)


class Wish:
    """Becomes true when somebody says so; asked: how often, which a run under way does."""

    def __init__(self) -> None:
        self.asked, self.is_made = 0, False

    def __call__(self) -> bool:
        self.asked += 1
        return self.is_made

    def wait_for_question(self) -> None:
        before, deadline = self.asked, time.monotonic() + 30
        while self.asked < before + 2:
            assert time.monotonic() < deadline, "no run asks whether it is wanted: it is over or never began"
            time.sleep(0.01)


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def test_a_cancelled_run_ends_soon_gives_its_memory_back_and_leaves_the_next_one_right(
    endpoint: ServingEndpoint,
) -> None:
    scheduler, wish = Scheduler(endpoint), Wish()
    before = scheduler.for_study(tenant="a").run(MODEL, small(1))
    resident_bytes = psutil.Process().memory_info().rss
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(scheduler.for_study(tenant="a", is_cancelled=wish).run, MODEL, LARGE)
        wish.wait_for_question()
        wish.is_made = True
        assert seconds(lambda: isinstance(run.exception(), RunCancelled)) < BOUND_S
        assert isinstance(run.exception(), RunCancelled)
    assert psutil.Process().memory_info().rss - resident_bytes < 150 << 20
    after = scheduler.for_study(tenant="b").run(MODEL, small(1))
    assert {name: array.tobytes() for name, array in after.items()} == {
        name: array.tobytes() for name, array in before.items()
    }


def test_an_emergency_breaks_off_what_runs_and_a_drain_what_began_again(endpoint: ServingEndpoint) -> None:
    scheduler, wish = Scheduler(endpoint), Wish()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(scheduler.for_study(tenant="a", priority=1, is_cancelled=wish).run, MODEL, LARGE)
        wish.wait_for_question()
        urgent = scheduler.for_study(tenant="b", priority=0)
        assert seconds(lambda: urgent.run(MODEL, small(1))) < BOUND_S
        assert not run.done(), "it is made anew"
        wish.wait_for_question()
        scheduler.close()
        assert seconds(lambda: isinstance(run.exception(), RunInterrupted)) < BOUND_S
        assert isinstance(run.exception(), RunInterrupted)


def test_a_run_that_was_given_up_for_its_time_ends_too(endpoint: ServingEndpoint) -> None:
    limited = ResilientEndpoint(
        endpoint, Engine("made", "for", "this"), limits=Limits(timeout_s=0.2, attempts_max=1)
    )
    before = {thread.ident for thread in threading.enumerate()}
    with pytest.raises(RunTimedOut):
        limited.run(MODEL, LARGE)
    for thread in [one for one in threading.enumerate() if one.ident not in before]:
        thread.join(BOUND_S)
        assert not thread.is_alive()
