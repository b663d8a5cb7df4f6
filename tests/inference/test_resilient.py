import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.circuit import Circuit, CircuitBreaker, RetryBudget
from inference.endpoint import Outputs
from inference.engine import Engine
from inference.errors import CircuitOpen, EndpointFailed, EndpointUnavailable, RunTimedOut
from inference.resilient import GIVEN_UP_MAX, Limits, ResilientEndpoint
from models.errors import WeightsMissing
from models.model import Model
from models.registry import get_model

FIRST, SECOND = Engine("triton", "cuda", "fp16"), Engine("onnxruntime", "cpu", "fp32")
INPUTS = {"hounsfield": np.zeros((1, 2, 2, 2), np.int16)}
MODEL = get_model("lung_nodule_ct")
AWAY = EndpointUnavailable("no connection")


class Scripted:
    """An endpoint that raises what it is told to, then answers."""

    def __init__(self, engine: Engine, *script: Exception | Callable[[], None]) -> None:
        self.engine, self.script, self.runs = engine, list(script), 0

    def warm(self, model: Model) -> None:
        self.run(model, {})

    def run(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> Outputs:
        self.runs += 1
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        if step is not None:
            step()
        return Outputs({"scores": np.ones(1, np.float32)}, self.engine)


class Bench:
    """A resilient endpoint whose clock, pauses and events the test sees."""

    def __init__(self, endpoint: Scripted, **options: Any) -> None:
        self.now_s, self.pauses, self.attempts, self.events = 0.0, list[float](), list[str](), list[str]()
        self.breaker = CircuitBreaker(lambda: self.now_s, failures_max=3, pause_s=30)
        options.setdefault("breaker", self.breaker)
        self.endpoint = ResilientEndpoint(
            endpoint, FIRST, observer=self, clock=lambda: self.now_s, sleep=self.pauses.append, **options
        )

    def ran(self, engine: Engine, outcome: str, duration_s: float) -> None:
        self.attempts.append(outcome)

    def happened(self, engine: Engine, event: str) -> None:
        self.events.append(event)

    def run(self) -> Any:
        return self.endpoint.run(MODEL, INPUTS)


def test_a_run_that_fails_for_a_moment_is_tried_again_after_a_pause_that_grows() -> None:
    bench = Bench(Scripted(FIRST, AWAY, AWAY))
    assert bench.run().engine == FIRST
    assert bench.pauses == [0.25, 0.5]
    assert bench.attempts == ["failed", "failed", "done"]
    assert bench.events == ["retried", "retried"]


@pytest.mark.parametrize("refusal", [EndpointFailed("wrong type"), WeightsMissing(MODEL.manifest.folder)])
def test_what_is_refused_is_neither_tried_again_nor_held_against_the_endpoint(refusal: Exception) -> None:
    bench = Bench(Scripted(FIRST, *[refusal] * 5))
    for _ in range(5):
        with pytest.raises(type(refusal)):
            bench.run()
    assert bench.attempts == ["refused"] * 5
    assert bench.endpoint.circuit is Circuit.CLOSED


def test_all_runs_share_one_budget_of_retries() -> None:
    bench = Bench(
        Scripted(FIRST, *[AWAY] * 100),
        budget=RetryBudget(retries_max=4),
        breaker=CircuitBreaker(lambda: 0.0, failures_max=1000),
    )
    for _ in range(10):
        with pytest.raises(EndpointUnavailable):
            bench.run()
    assert len(bench.attempts) == 10 + 4


def test_an_endpoint_that_stays_away_is_left_alone_and_asked_again_by_one_run() -> None:
    endpoint = Scripted(FIRST, *[AWAY] * 3)
    bench = Bench(endpoint)
    with pytest.raises(EndpointUnavailable):
        bench.run()
    with pytest.raises(CircuitOpen):
        bench.run()
    assert endpoint.runs == 3
    bench.now_s = 30
    assert bench.run().engine == FIRST
    assert bench.events == ["retried", "retried", "circuit_opened", "circuit_closed"]


def test_the_fall_back_computes_what_the_endpoint_cannot_and_the_answer_says_so() -> None:
    second = Scripted(SECOND)
    bench = Bench(Scripted(FIRST, *[AWAY] * 3), fallback=second)
    answers = [bench.run(), bench.run()]
    assert [answer.engine for answer in answers] == [SECOND, SECOND]
    assert answers[0].note == (
        "Computed by onnxruntime cpu fp32, because triton cuda fp16 did not answer (ENDPOINT_UNAVAILABLE)."
    )
    assert "CIRCUIT_OPEN" in answers[1].note
    assert bench.events.count("fell_back") == 2
    bench.now_s = 30
    assert bench.run().note == ""


def test_a_device_without_memory_costs_its_run_and_neither_the_study_nor_the_device() -> None:
    """Attack 45: the words are those of ONNX Runtime; the same run fits into the memory of the fall-back."""
    full = EndpointFailed("ONNX Runtime could not run lung_nodule_ct: CUDA failure 2: out of memory")
    second = Scripted(SECOND)
    bench = Bench(Scripted(FIRST, *[full] * 5), fallback=second)
    answers = [bench.run() for _ in range(6)]
    assert [answer.engine for answer in answers] == [SECOND] * 5 + [FIRST]
    assert bench.attempts == ["refused"] * 5 + ["done"], "not tried again where it cannot fit"
    assert bench.endpoint.circuit is Circuit.CLOSED
    with pytest.raises(EndpointFailed):
        Bench(Scripted(FIRST, full)).run()


def test_bad_weights_are_no_reason_to_fall_back() -> None:
    second = Scripted(SECOND)
    with pytest.raises(WeightsMissing):
        Bench(Scripted(FIRST, WeightsMissing(MODEL.manifest.folder)), fallback=second).run()
    assert second.runs == 0


def test_whether_the_endpoint_opens_a_model_is_asked_of_itself() -> None:
    with pytest.raises(EndpointUnavailable):
        Bench(Scripted(FIRST, AWAY), fallback=Scripted(SECOND)).endpoint.warm(MODEL)


class TestTimeOut:
    @pytest.fixture
    def hang(self) -> Any:
        """What hangs until the test is over."""
        over = threading.Event()
        yield lambda: (over.wait(30), None)[1]
        over.set()

    def test_a_run_that_takes_too_long_is_given_up(self, hang: Callable[[], None]) -> None:
        bench = Bench(Scripted(FIRST, hang), limits=Limits(timeout_s=0.05, attempts_max=1))
        with pytest.raises(RunTimedOut, match=r"within 0\.05 s"):
            bench.run()
        assert bench.attempts == ["timed_out"]
        assert bench.run().engine == FIRST

    def test_runs_that_were_given_up_do_not_pile_up(self, hang: Callable[[], None]) -> None:
        endpoint = Scripted(FIRST, *[hang] * 20)
        never = CircuitBreaker(lambda: 0.0, failures_max=1000)
        bench = Bench(endpoint, limits=Limits(timeout_s=0.02, attempts_max=1), breaker=never)
        for _ in range(GIVEN_UP_MAX):
            with pytest.raises(RunTimedOut):
                bench.run()
        with pytest.raises(EndpointUnavailable, match="still go on"):
            bench.run()
        assert endpoint.runs == GIVEN_UP_MAX

    def test_they_are_forgotten_once_they_end(self) -> None:
        ends = threading.Event()
        hangs = [lambda: (ends.wait(30), None)[1]] * GIVEN_UP_MAX
        bench = Bench(Scripted(FIRST, *hangs), limits=Limits(timeout_s=0.02, attempts_max=1))
        for _ in range(3):
            with pytest.raises(RunTimedOut):
                bench.run()
        ends.set()
        bench.now_s = 30
        assert bench.run().engine == FIRST


def test_a_mistake_in_an_endpoint_passes_and_does_not_block_the_half_open_circuit() -> None:
    bench = Bench(Scripted(FIRST, *[KeyError("x")] * 4))
    for _ in range(3):
        with pytest.raises(KeyError):
            bench.run()
    for moment in (30, 60):
        bench.now_s = moment
        if moment == 30:
            with pytest.raises(KeyError):
                bench.run()
        else:
            assert bench.run().engine == FIRST


def test_several_threads_run_at_once() -> None:
    meeting = threading.Barrier(6)
    bench = Bench(Scripted(FIRST, *[lambda: (meeting.wait(10), None)[1]] * 6))
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(bench.run())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(answers) == 6
