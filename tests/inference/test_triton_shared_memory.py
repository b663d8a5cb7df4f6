"""How inputs reach a real Triton server: shared memory that is bounded and never leaks, or gRPC."""

from __future__ import annotations

import errno
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tritonclient.grpc")

from inference import triton_shared_memory
from inference.errors import EndpointUnavailable, EngineNotPossible
from inference.triton_client import TritonAddress
from inference.triton_endpoint import TritonEndpoint
from inference.triton_shared_memory import SharedInputs, sweep
from tests.conftest import ROOT
from tests.triton_peer import RunningTriton, box, detector, regions, running


@pytest.fixture(scope="module")
def triton() -> Iterator[RunningTriton]:
    with running([detector()]) as server:
        yield server


@pytest.fixture(autouse=True)
def own_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests beside this one have regions too."""
    monkeypatch.setattr(triton_shared_memory, "PREFIX", f"radmeter_test_{secrets.token_hex(4)}_")


@pytest.fixture
def endpoint(triton: RunningTriton) -> Iterator[TritonEndpoint]:
    made = triton.endpoint()
    yield made
    made.close()


class TestSharedMemory:
    def test_a_region_is_used_again_and_given_back_at_the_end(self, triton: RunningTriton) -> None:
        endpoint = triton.endpoint(shared_memory="on")
        for side in (48, 64, 80):
            endpoint.run(detector(), box(side=side))
        assert len(regions()) == 1
        endpoint.close()
        assert regions() == []

    def test_regions_stay_below_their_bound(self) -> None:
        class Client:
            known: set[str] = set()  # noqa: RUF012 one for the test

            def register_system_shared_memory(self, name: str, key: str, size: int, **_: float) -> None:
                self.known.add(name)

            def unregister_system_shared_memory(self, name: str, **_: float) -> None:
                self.known.remove(name)

        shared = SharedInputs(Client(), limit_bytes=40 << 20)
        small = shared.place({"a": np.zeros(10, np.uint8)})
        assert small is not None
        assert shared.place({"a": np.zeros(33 << 20, np.uint8)}) is None, "both would be beyond the bound"
        small.is_answered = True
        shared.release(small)
        large = shared.place({"a": np.zeros(3, np.uint8), "b": np.arange(30 << 20, dtype=np.uint8)})
        assert large is not None
        assert len(regions()) == len(Client.known) == 1, "the small one made room"
        shared.close()
        assert regions() == []
        assert not Client.known

    def test_without_room_in_shared_memory_grpc_takes_the_input(
        self, triton: RunningTriton, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
        endpoint = triton.endpoint(shared_memory="on")
        assert endpoint.run(detector(), box())["scores"].shape == (1, 56)
        assert regions() == []
        endpoint.close()

    def test_a_server_that_cannot_see_our_memory_gets_the_input_by_grpc(
        self, triton: RunningTriton, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As in two containers: what we make, the server does not find."""
        monkeypatch.setattr(triton_shared_memory, "FOLDER", triton.folder)
        endpoint = triton.endpoint(shared_memory="auto")
        assert endpoint.run(detector(), box())["scores"].shape == (1, 56)
        endpoint.close()
        insists = triton.endpoint(shared_memory="on")
        with pytest.raises(EngineNotPossible, match="RADMETER_TRITON_SHARED_MEMORY=off"):
            insists.run(detector(), box())
        insists.close()

    def test_what_a_killed_process_left_is_swept_and_what_a_living_one_uses_stays(
        self, triton: RunningTriton, endpoint: TritonEndpoint
    ) -> None:
        endpoint.run(detector(), box())
        (ours,) = regions()
        run_elsewhere(triton, "os.kill(os.getpid(), signal.SIGKILL)")
        assert len(regions()) == 2
        assert sweep() == 1
        assert regions() == [ours]
        endpoint.run(detector(), box())

    def test_a_process_that_ends_leaves_nothing(self, triton: RunningTriton) -> None:
        run_elsewhere(triton, "print('ended')")
        assert regions() == []


def run_elsewhere(triton: RunningTriton, at_the_end: str) -> None:
    """One run in a process of its own, which ends without closing its endpoint."""
    program = (
        "import os, signal; from tests.triton_peer import box, detector\n"
        "from inference.triton_client import TritonAddress\n"
        "from inference.triton_endpoint import TritonEndpoint\n"
        "from inference import triton_shared_memory\n"
        f"triton_shared_memory.PREFIX = {triton_shared_memory.PREFIX!r}\n"
        f"endpoint = TritonEndpoint(TritonAddress('127.0.0.1', {triton.address.port}))\n"
        f"endpoint.run(detector(), box())\n{at_the_end}"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False)


class TestAddress:
    @pytest.mark.parametrize(
        "url", ["", "http://host:8000", "grpc://host", "grpc://host:0", "grpc://:8001", "host:8001"]
    )
    def test_what_is_no_address_is_refused(self, url: str) -> None:
        with pytest.raises(EngineNotPossible, match="grpc://host:8001"):
            TritonAddress.parse(url)

    def test_an_address_says_whether_it_is_this_host(self) -> None:
        assert TritonAddress.parse("grpc://localhost:8001").is_this_host
        assert TritonAddress.parse("grpc://[::1]:8001").is_this_host
        assert str(TritonAddress.parse("grpcs://[::1]:8001")) == "[::1]:8001"
        assert not TritonAddress.parse("grpcs://triton.hospital:8001").is_this_host

    def test_a_server_that_is_not_there_is_said_to_be_unreachable(self, free_port: int) -> None:
        endpoint = TritonEndpoint(TritonAddress("127.0.0.1", free_port))
        with pytest.raises(EndpointUnavailable, match="cannot be reached"):
            endpoint.run(detector(), box())
        endpoint.close()
