"""One process accepts, several receive: balanced, replaced when they die, drained together."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from dicom_gateway.acceptor_settings import AcceptorSettings
from dicom_gateway.doorkeeper import Doorkeeper
from dicom_gateway.listener import Listener
from dicom_gateway.receiver_processes import ReceiverProcesses
from tests.dicom_harm import assert_aborted
from tests.dicom_peers import RawPeer, ct_data_set, wait_until
from tests.receiver_main import SETTINGS


@dataclass
class Gateway:
    """A doorkeeper in a thread of this process, its receivers, and the lines of their books."""

    doorkeeper: Doorkeeper
    crew: ReceiverProcesses
    port: int
    root: Path
    thread: threading.Thread

    def books(self, what: str) -> list[list[str]]:
        path = self.root / "books"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split()[1:] for line in lines if line.startswith(what)]

    def open_count(self) -> int:
        return self.doorkeeper.statistics()["associations_open"]


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    running: list[Gateway] = []

    def start(count: int = 2, **settings: object) -> Gateway:
        crew = ReceiverProcesses([sys.executable, "-m", "tests.receiver_main", str(tmp_path)], count)
        limits = AcceptorSettings(storage_root=tmp_path / "store", **SETTINGS | settings)  # type: ignore[arg-type]
        doorkeeper = Doorkeeper(limits, [Listener("127.0.0.1", 0)], crew)
        (port,) = doorkeeper.listen()
        thread = threading.Thread(target=doorkeeper.serve_forever, daemon=True)
        thread.start()
        running.append(Gateway(doorkeeper, crew, port, tmp_path, thread))
        return running[-1]

    yield start
    for each in running:
        each.doorkeeper.stop(grace_s=0.5)
        each.thread.join(10)


def store(peer: RawPeer, uid: str) -> int:
    return peer.store(ct_data_set(uid), uid)


def test_connections_go_to_the_process_with_the_fewest(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway(count=2)
    with ExitStack() as stack:
        peers = [stack.enter_context(RawPeer(gateway.port)) for _ in range(6)]
        for number, peer in enumerate(peers):
            peer.associate()
            assert store(peer, f"1.2.{number}") == 0
        assert sorted(Counter(line[-1] for line in gateway.books("opened")).values()) == [3, 3]
        assert gateway.open_count() == 6
        for peer in peers:
            peer.release()
    wait_until(lambda: gateway.open_count() == 0)
    totals = gateway.doorkeeper.statistics()
    assert (totals["instances_stored"], totals["associations_accepted"]) == (6, 6)
    assert sorted(line[1] for line in gateway.books("closed")) == ["released"] * 6


def test_a_receiver_that_dies_is_replaced_and_only_its_associations_are_lost(
    start_gateway: Callable[..., Gateway],
) -> None:
    gateway = start_gateway(count=2)
    with RawPeer(gateway.port) as one, RawPeer(gateway.port) as two:
        one.associate()
        two.associate()
        assert store(one, "1.2.1") == store(two, "1.2.2") == 0
        (number, _, process), (_, _, other) = gateway.books("opened")
        assert process != other
        os.kill(int(process), signal.SIGKILL)
        assert one.read_pdu() == (0, b"")
        assert store(two, "1.2.3") == 0
        wait_until(lambda: [number, "lost"] in [line[:2] for line in gateway.books("closed")])
        wait_until(lambda: gateway.open_count() == 1)
        wait_until(lambda: len(gateway.crew.process_ids) == 2)
        with RawPeer(gateway.port) as three:
            three.associate()
            assert store(three, "1.2.4") == 0
            three.release()
        assert gateway.books("opened")[-1][-1] not in (process, other), "the new one has the fewest"
        two.release()
    wait_until(lambda: gateway.open_count() == 0)
    assert gateway.doorkeeper.statistics()["instances_stored"] >= 3


def test_the_caps_count_over_all_processes(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway(count=2, associations_max=3, associations_per_host_max=2)
    with ExitStack() as stack:
        for source in ("127.0.0.2", "127.0.0.2", "127.0.0.3"):
            stack.enter_context(RawPeer(gateway.port, source=source)).associate()
        for source in ("127.0.0.2", "127.0.0.4"):
            with RawPeer(gateway.port, source=source) as refused:
                refused.send(RawPeer.request())
                assert refused.read_pdu() == (3, bytes((0, 2, 3, 2)))
    wait_until(lambda: gateway.open_count() == 0)


def test_a_drain_lets_messages_in_progress_end_in_every_process(
    start_gateway: Callable[..., Gateway],
) -> None:
    gateway = start_gateway(count=2)
    processes = gateway.crew.process_ids
    with ExitStack() as stack:
        busy = [stack.enter_context(RawPeer(gateway.port)) for _ in range(4)]
        idle = [stack.enter_context(RawPeer(gateway.port)) for _ in range(2)]
        for peer in (*busy, *idle):
            peer.associate()
        for number, peer in enumerate(busy):
            peer.store_request(f"1.2.{number}")
            peer.send(RawPeer.fragment(0, ct_data_set(f"1.2.{number}")[:100]))
        time.sleep(0.3)
        gateway.doorkeeper.stop(grace_s=10)
        for peer in idle:
            assert_aborted(peer)
        with RawPeer(gateway.port) as late:
            late.send(RawPeer.request())
            assert late.read_pdu() == (3, bytes((0, 2, 3, 1)))
        for number, peer in enumerate(busy):
            peer.send(RawPeer.fragment(2, ct_data_set(f"1.2.{number}")[100:]))
            assert peer.read_status() == 0
            assert_aborted(peer)
    gateway.thread.join(10)
    assert not gateway.thread.is_alive()
    assert len(gateway.books("recorded")) == 4
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_a_receiver_that_cannot_start_refuses_politely(
    start_gateway: Callable[..., Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = start_gateway(count=1)
    wait_until(lambda: len(gateway.crew.process_ids) == 1)
    monkeypatch.setattr(gateway.crew, "_command", ["/bin/false"])
    os.kill(gateway.crew.process_ids[0], signal.SIGKILL)

    def is_refused() -> bool:
        with RawPeer(gateway.port) as peer:
            peer.send(RawPeer.request())
            return peer.read_pdu() == (3, bytes((0, 2, 3, 1)))

    wait_until(is_refused)
    monkeypatch.undo()
    wait_until(lambda: not is_refused())
    wait_until(lambda: gateway.open_count() == 0)
