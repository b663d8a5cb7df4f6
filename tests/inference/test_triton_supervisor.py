"""The watch over a real Triton server: what is killed comes back, and what cannot be mended is said."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("tritonclient.grpc")

from inference.errors import EndpointUnavailable, InferenceError, RunTimedOut
from inference.triton_client import TritonAddress
from inference.triton_endpoint import TritonEndpoint
from inference.triton_repository import served_name
from inference.triton_shared_memory import FOLDER
from inference.triton_supervisor import Health, LocalServer, TritonSupervisor
from models.lung_nodule_ct.model import LungNoduleCT
from models.model import Model
from tests import triton_peer
from tests.triton_peer import FORM, RunningTriton, box, detector

NAME = served_name(detector().manifest)


@pytest.fixture(scope="module")
def triton() -> Iterator[RunningTriton]:
    folder = Path(tempfile.mkdtemp(prefix="radmeter-triton-"))
    server = triton_peer.new(folder)
    yield server
    server.server.stop(grace_s=0)
    shutil.rmtree(folder, ignore_errors=True)
    assert list(FOLDER.glob(f"radmeter_stub_{server.address.port}_*")) == []


@pytest.fixture(scope="module")
def watch(triton: RunningTriton) -> Iterator[TritonSupervisor]:
    """One watch with a server of its own, over one model."""
    local = LocalServer(triton.server, triton.folder / "repository", FORM)
    made = TritonSupervisor(triton.endpoint(), lambda: [detector()], local, sleep=lambda _: None)
    assert made.look().models == {NAME: None}, triton.server.log_path.read_text()[-2000:]
    yield made
    made.endpoint.close()


@pytest.fixture
def endpoint(triton: RunningTriton) -> Iterator[TritonEndpoint]:
    made = triton.endpoint()
    yield made
    made.close()


def forget_pauses(watch: TritonSupervisor) -> int:
    """A look at a healthy server; returns how many repairs there were."""
    health = watch.look()
    assert health.problem is None
    return health.repairs


def test_a_killed_backend_leaves_the_model_ready_and_the_watch_mends_it(
    triton: RunningTriton, watch: TritonSupervisor, endpoint: TritonEndpoint
) -> None:
    repairs = forget_pauses(watch)
    endpoint.run(detector(), box())
    triton.stub().kill()
    with pytest.raises(EndpointUnavailable, match="has died"):
        endpoint.run(detector(), box())
    endpoint.warm(detector())  # as far as Triton knows, all is well
    health = watch.look()
    assert (health.problem, health.repairs) == (None, repairs + 1)
    endpoint.run(detector(), box())


def test_a_request_in_a_backend_that_is_killed_fails_and_the_next_one_after_the_repair_does_not(
    triton: RunningTriton, watch: TritonSupervisor, endpoint: TritonEndpoint
) -> None:
    forget_pauses(watch)
    error = outcome_of_a_long_run(endpoint, triton.stub().pid)
    assert isinstance(error, EndpointUnavailable)
    assert watch.look().problem is None
    endpoint.run(detector(), box())


def test_a_killed_server_is_started_again_and_clients_register_their_memory_anew(
    triton: RunningTriton, watch: TritonSupervisor, endpoint: TritonEndpoint
) -> None:
    repairs = forget_pauses(watch)
    endpoint.run(detector(), box())
    assert triton.server.pid is not None
    error = outcome_of_a_long_run(endpoint, triton.server.pid)
    assert isinstance(error, EndpointUnavailable)
    left = {path.name for path in FOLDER.glob(f"radmeter_stub_{triton.address.port}_*")}
    assert left, "a killed server leaves its shared memory behind"
    health = watch.look()
    assert (health.problem, health.repairs) == (None, repairs + 1)
    assert not left & {path.name for path in FOLDER.iterdir()}
    endpoint.run(detector(), box())


def test_a_model_that_was_added_is_written_and_loaded_without_a_new_server(
    triton: RunningTriton, watch: TritonSupervisor
) -> None:
    forget_pauses(watch)
    pid = triton.server.pid
    added = LungNoduleCT(dataclasses.replace(detector().manifest, version="9.1.0"))
    watch.get_models = lambda: [detector(), added]
    try:
        assert watch.look().models == {NAME: None, served_name(added.manifest): None}
    finally:
        watch.get_models = lambda: [detector()]
    assert triton.server.pid == pid


def test_a_model_that_cannot_be_served_takes_nothing_from_the_others(
    triton: RunningTriton, watch: TritonSupervisor
) -> None:
    forget_pauses(watch)
    pid = triton.server.pid
    broken = LungNoduleCT(dataclasses.replace(detector().manifest, version="9.2.0", weights_sha256="0" * 64))
    watch.get_models = lambda: [detector(), broken]
    try:
        health = watch.look()
    finally:
        watch.get_models = lambda: [detector()]
    assert health.models[NAME] is None
    assert "the model is refused" in str(health.models[served_name(broken.manifest)])
    assert triton.server.pid == pid


class TestAServerOfSomebodyElse:
    """Watched through its address alone."""

    def test_a_model_that_was_unloaded_is_loaded_again(
        self, triton: RunningTriton, watch: TritonSupervisor, endpoint: TritonEndpoint
    ) -> None:
        forget_pauses(watch)
        remote = TritonSupervisor(triton.endpoint(), lambda: [detector()], sleep=lambda _: None)
        endpoint._client.unload_model(NAME)
        health = remote.look()
        assert (health.problem, health.repairs) == (None, 1)
        remote.endpoint.close()

    def test_a_killed_backend_is_mended_by_loading_its_model(
        self, triton: RunningTriton, watch: TritonSupervisor
    ) -> None:
        forget_pauses(watch)
        remote = TritonSupervisor(triton.endpoint(), lambda: [detector()], sleep=lambda _: None)
        triton.stub().kill()
        health = remote.look()
        assert (health.problem, health.repairs) == (None, 1)
        remote.endpoint.close()

    def test_what_cannot_be_mended_is_tried_after_ever_longer_pauses(self, free_port: int) -> None:
        now = [0.0]
        endpoint = TritonEndpoint(TritonAddress("127.0.0.1", free_port))
        remote = TritonSupervisor(endpoint, lambda: [detector()], clock=lambda: now[0], sleep=lambda _: None)
        seen = []
        for now[0] in (0.0, 4.9, 5.0, 14.9, 15.0, 34.9, 35.0, 74.9, 75.0):
            health = remote.look()
            assert "cannot be reached" in str(health.problem)
            seen.append(health.repairs)
        assert seen == [1, 1, 2, 2, 3, 3, 4, 4, 5]
        remote.endpoint.close()


class TestPatience:
    def test_a_canary_that_waits_behind_other_runs_is_no_failure(self) -> None:
        class Busy:
            runs, advances = 3, 1

            def run(self, *_: object, **__: object) -> object:
                self.runs += self.advances
                raise RunTimedOut("Triton did not answer in time")

            def runs_of(self, _: object) -> int:
                return self.runs

            def load_again(self, *_: object, **__: object) -> None:
                raise EndpointUnavailable("no")

        endpoint = Busy()
        watch = TritonSupervisor(endpoint, lambda: [detector()], sleep=lambda _: None)  # type: ignore[arg-type]
        assert watch.look().problem is None
        endpoint.advances = 0
        assert "in time" in str(watch.look().problem)

    def test_a_watch_ends_its_server_when_it_is_told_to_stop(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="radmeter-triton-"))
        triton = triton_peer.new(folder)
        stop, seen = threading.Event(), []

        def report(health: Health) -> None:
            seen.append(health.problem)
            stop.set()

        watch = TritonSupervisor(
            triton.endpoint(), lambda: [detector()], LocalServer(triton.server, folder / "repository", FORM)
        )
        watch.run(stop, 60.0, report)
        assert seen == [None]
        assert triton.server.pid is None
        assert list(FOLDER.glob(f"radmeter_stub_{triton.address.port}_*")) == []
        shutil.rmtree(folder)


def outcome_of_a_long_run(endpoint: TritonEndpoint, victim: int) -> InferenceError | None:
    """Start a run that takes a second, kill a process in its midst, and return what the run raised."""
    model: Model = detector()
    raised: list[InferenceError] = []

    def run() -> None:
        try:
            endpoint.run(model, box(side=160))
        except InferenceError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.15)
    os.kill(victim, signal.SIGKILL)
    thread.join(20)
    assert not thread.is_alive(), "a run must end when its server does"
    return raised[0] if raised else None
