"""Watches a Triton server by canaries, and mends it: a server of our own is started anew, a remote one is told to
load a model again.

Triton's own word is not enough: a killed process of the python backend leaves its model READY for good.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inference.errors import InferenceError, RunTimedOut
from inference.triton_canary import Canary
from inference.triton_endpoint import TritonEndpoint
from inference.triton_repository import RepositoryForm, served_name, write_repository
from inference.triton_server import TritonServer
from inference.wishes import Wishes, wishing
from models.errors import ModelError
from models.model import Model

log = logging.getLogger("radmeter.inference")

# A canary waits for the run in progress, and for nothing else: it is the most urgent request.
CANARY_TIMEOUT_S = 60.0
# One failure may be a request that was just caught by a restart.
ASK_AGAIN_S = 1.0
LOAD_TIMEOUT_S = 120.0
# Between two attempts to mend what does not stay mended.
PAUSE_FIRST_S, PAUSE_LAST_S = 5.0, 300.0


@dataclass(frozen=True)
class Health:
    """What a look found. models: name → what is wrong with it, None where its canary answered as it should."""

    models: Mapping[str, str | None]
    canary_s: Mapping[str, float]
    repairs: int

    @property
    def problem(self) -> str | None:
        """One sentence, None when every model answers."""
        return next((problem for problem in self.models.values() if problem), None)


@dataclass
class LocalServer:
    """A server of our own with the repository that it reads."""

    server: TritonServer
    repository: Path
    form: RepositoryForm

    def start(self, models: Iterable[Model]) -> None:
        """Write the models into the repository and start the server on them."""
        self.server.start([name for model in models for name in self.write(model)])

    def write(self, model: Model) -> list[str]:
        """The model's name once it is in the repository; nothing, and a line in the log, where it cannot be."""
        try:
            return write_repository(self.repository, [model], self.form)
        except (ModelError, InferenceError) as error:
            log.error(
                "triton_model_not_written", extra={"model": served_name(model.manifest), "reason": error}
            )
            return []


@dataclass
class TritonSupervisor:
    """get_models: those that must be served; asked at every look. local: None to watch a server of somebody else's."""

    endpoint: TritonEndpoint
    get_models: Callable[[], list[Model]]
    local: LocalServer | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    _canaries: dict[str, Canary] = field(default_factory=dict)
    _runs: dict[str, int] = field(default_factory=dict)
    _failing: dict[str, str] = field(default_factory=dict)
    _repairs: int = 0
    _pause_s: float = PAUSE_FIRST_S
    _not_before: float = float("-inf")

    def run(self, stop: threading.Event, every_s: float, report: Callable[[Health], object]) -> None:
        """Look every `every_s` seconds until `stop`; a server of our own is ended with us."""
        try:
            if self.local is not None:
                self._start(self.local, self.get_models())
            while not stop.is_set():
                report(self.look())
                stop.wait(every_s)
        finally:
            if self.local is not None:
                self.local.server.stop()
            self.endpoint.close()

    def look(self) -> Health:
        """Ask every canary, and mend what fails."""
        models = {served_name(model.manifest): model for model in self.get_models()}
        health = self._ask(models)
        failing = [models[name] for name, problem in health.models.items() if problem]
        if not failing:
            self._pause_s, self._not_before = PAUSE_FIRST_S, float("-inf")
            return health
        if self.clock() < self._not_before:
            return health
        self._repairs += 1
        self._mend(failing, list(models.values()))
        self._not_before = self.clock() + self._pause_s
        self._pause_s = min(2 * self._pause_s, PAUSE_LAST_S)
        return self._ask(models)

    # --- looking -----------------------------------------------------------------------------------------------

    def _ask(self, models: Mapping[str, Model]) -> Health:
        problems: dict[str, str | None] = {}
        seconds: dict[str, float] = {}
        for name, model in models.items():
            began = self.clock()
            problems[name] = self._problem(name, model)
            seconds[name] = self.clock() - began
            self._tell(name, problems[name])
        return Health(problems, seconds, self._repairs)

    def _problem(self, name: str, model: Model) -> str | None:
        if self.local is not None and self.local.server.pid is None:
            return "the server has ended"
        for is_last in (False, True):
            try:
                if name not in self._canaries:
                    self._canaries[name] = Canary(model)
                with wishing(Wishes(priority=0)):
                    self._canaries[name].ask(functools.partial(self.endpoint.run, timeout_s=CANARY_TIMEOUT_S))
                self._runs[name] = self.endpoint.runs_of(model.manifest)
                return None
            except RunTimedOut as error:
                return None if self._is_busy(name, model) else str(error)
            except (InferenceError, ModelError) as error:
                if is_last:
                    return str(error)
                self.sleep(ASK_AGAIN_S)
        return None

    def _is_busy(self, name: str, model: Model) -> bool:
        """Whether runs of others ended well since the last look: then the canary only waits for its turn."""
        try:
            runs = self.endpoint.runs_of(model.manifest)
        except InferenceError:
            return False
        has_advanced = runs > self._runs.get(name, 0)
        self._runs[name] = runs
        return has_advanced

    def _tell(self, name: str, problem: str | None) -> None:
        before = self._failing.get(name)
        if problem is None and before is not None:
            log.warning("triton_model_recovered", extra={"model": name})
            del self._failing[name]
        elif problem is not None:
            if before != problem:
                log.error("triton_model_failing", extra={"model": name, "reason": problem})
            self._failing[name] = problem

    # --- mending -----------------------------------------------------------------------------------------------

    def _mend(self, failing: list[Model], models: list[Model]) -> None:
        """What fails alone is loaded again, beside the others; where all fail, our own server is started anew."""
        if self.local is not None and len(failing) == len(models):
            self.local.server.stop(grace_s=0)
            self._start(self.local, models)
            return
        for model in failing:
            try:
                if self.local is not None:
                    self.local.write(model)  # it may be one that was added
                self.endpoint.load_again(model.manifest, timeout_s=LOAD_TIMEOUT_S)
            except InferenceError as error:
                log.error("triton_not_mended", extra={"model": served_name(model.manifest), "reason": error})

    def _start(self, local: LocalServer, models: list[Model]) -> None:
        local.start(models)
        try:  # it opens its port when the models are loaded, or failed to
            local.server.wait_until(self.endpoint.is_live, LOAD_TIMEOUT_S)
        except InferenceError as error:
            log.error("triton_not_ready", extra={"reason": error})
