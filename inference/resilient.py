"""An endpoint that answers in time or says why: time-out, retries within a budget, circuit breaker, fall-back."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Protocol

from numpy.typing import NDArray

from inference.circuit import Circuit, CircuitBreaker, RetryBudget
from inference.endpoint import Outputs, ServingEndpoint
from inference.engine import Engine
from inference.errors import CircuitOpen, EndpointUnavailable, InferenceError, RunCancelled, RunTimedOut
from inference.wishes import wishes, wishing
from models.errors import ModelError
from models.model import Model
from study.sentences import say

log = logging.getLogger("radmeter.inference")

ATTEMPTS_MAX = 3
PAUSE_S = 0.25
# A run that was given up is broken off, and goes on until its engine notices; more than these are not let begin.
GIVEN_UP_MAX = 4


class Observer(Protocol):
    """Told what happens, for metrics."""

    def ran(self, engine: Engine, outcome: str, duration_s: float) -> None:
        """One attempt ended: done, refused (the model or its input), failed or timed_out."""
        ...

    def happened(self, engine: Engine, event: str) -> None:
        """retried, fell_back, circuit_opened or circuit_closed."""
        ...


class NobodyObserves:
    """Where no metrics are kept."""

    def ran(self, engine: Engine, outcome: str, duration_s: float) -> None: ...

    def happened(self, engine: Engine, event: str) -> None: ...


@dataclass(frozen=True)
class Limits:
    """timeout_s: of one attempt, which is given up then. pause_s: before the first retry, twice as long each time."""

    timeout_s: float = 600.0
    attempts_max: int = ATTEMPTS_MAX
    pause_s: float = PAUSE_S


class ResilientEndpoint:
    """`endpoint` with limits; what it cannot do now, `fallback` does, and the answer says so.

    A model or an input that is refused is nobody's failure: it is neither tried again nor counted. clock: seconds that
    only grow. sleep: how the pauses before retries pass.
    """

    def __init__(
        self,
        endpoint: ServingEndpoint,
        engine: Engine,
        *,
        limits: Limits | None = None,
        fallback: ServingEndpoint | None = None,
        breaker: CircuitBreaker | None = None,
        budget: RetryBudget | None = None,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._endpoint, self._engine, self._fallback = endpoint, engine, fallback
        self._limits = limits or Limits()
        self._breaker = breaker or CircuitBreaker(clock)
        self._budget = budget or RetryBudget()
        self._observer = observer or NobodyObserves()
        self._clock, self._sleep = clock, sleep
        self._given_up: set[Future[Mapping[str, NDArray[Any]]]] = set()
        self._lock = threading.Lock()

    @property
    def circuit(self) -> Circuit:
        return self._breaker.state

    def warm(self, model: Model) -> None:
        """Open the model on the endpoint itself: that a fall-back could run it is no answer to this question."""
        self._endpoint.warm(model)

    def run(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Run the graph once, on the endpoint or, where it fails, on the fall-back."""
        try:
            return self._attempts(model, inputs)
        except InferenceError as error:
            if self._fallback is None or isinstance(error, RunCancelled):
                raise
            self._observer.happened(self._engine, "fell_back")
            log.warning("inference_fell_back", extra=self._extra(error, model))
            return _noted(self._fallback.run(model, inputs), self._engine, error)

    def _attempts(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        for attempt in range(1, self._limits.attempts_max + 1):
            if not self._breaker.allows():
                raise CircuitOpen(
                    f"{self._engine} failed several times in a row and is left alone for a while"
                )
            try:
                return self._attempt(model, inputs)
            except InferenceError as error:
                is_last = attempt == self._limits.attempts_max
                if not error.is_transient or is_last or not self._budget.take():
                    raise
            self._observer.happened(self._engine, "retried")
            self._sleep(self._limits.pause_s * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        began, outcome = self._clock(), "failed"
        try:
            outputs = self._in_time(model, inputs)
            outcome = "done"
            self._answered()
            self._budget.earn()
            return outputs
        except Exception as error:
            if _is_refusal(error):
                outcome = "refused"
                self._answered()
            else:
                outcome = "timed_out" if isinstance(error, RunTimedOut) else "failed"
                self._failed(error)
            raise
        finally:
            self._observer.ran(self._engine, outcome, self._clock() - began)

    def _answered(self) -> None:
        if self._breaker.succeeded():
            self._observer.happened(self._engine, "circuit_closed")
            log.info("inference_circuit_closed", extra={"engine": self._engine})

    def _failed(self, error: Exception) -> None:
        if self._breaker.failed():
            self._observer.happened(self._engine, "circuit_opened")
            log.error(
                "inference_circuit_opened", extra={"error": getattr(error, "code", type(error).__name__)}
            )

    def _extra(self, error: Exception, model: Model | None = None) -> dict[str, object]:
        code = getattr(error, "code", type(error).__name__)
        return {"engine": self._engine, "error": code, "model": model.manifest.name if model else None}

    def _in_time(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Run in a thread of its own, which is left behind when the time is over: what hangs cannot be broken off."""
        if len(self._given_up) >= GIVEN_UP_MAX:
            raise EndpointUnavailable(
                f"{GIVEN_UP_MAX} runs that {self._engine} did not end in time still go on"
            )
        answer: Future[Mapping[str, NDArray[Any]]] = Future()
        wished = wishes()

        def is_unwanted() -> bool:
            return answer in self._given_up or (wished.is_cancelled is not None and wished.is_cancelled())

        def run() -> None:
            try:
                with wishing(replace(wished, is_cancelled=is_unwanted)):
                    answer.set_result(self._endpoint.run(model, inputs))
            except BaseException as error:  # handed to who waits for it
                answer.set_exception(error)
            with self._lock:
                self._given_up.discard(answer)

        context = contextvars.copy_context()  # what is traced and logged there belongs to this study
        threading.Thread(target=context.run, args=(run,), daemon=True, name="inference").start()
        try:
            return answer.result(self._limits.timeout_s)
        except TimeoutError:
            with self._lock:
                if answer.done():
                    return answer.result()
                self._given_up.add(answer)
            raise RunTimedOut(f"{self._engine} did not answer within {self._limits.timeout_s:g} s") from None


def _is_refusal(error: Exception) -> bool:
    """Whether the endpoint works and only this model or input does not."""
    return isinstance(error, ModelError) or (isinstance(error, InferenceError) and not error.is_transient)


def _noted(
    outputs: Mapping[str, NDArray[Any]], wanted: Engine, error: InferenceError
) -> Mapping[str, NDArray[Any]]:
    if isinstance(outputs, Outputs):
        outputs.note = say("OTHER_ENGINE", engine=outputs.engine, wanted=wanted, code=error.code)
    return outputs
