"""SIGKILL of the gateway's processes while peers send: whatever was answered with 0000H is there, row and bytes."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from blake3 import blake3

from tests.dicom_peers import RawPeer, ct_data_set, data_set_of
from tests.server_process import RunningServer, living

SENDERS = 4


@dataclass
class Sender(threading.Thread):
    """Sends one small slice after the other, over a new association whenever the last one broke."""

    port: int
    number: int
    stopped: threading.Event
    acknowledged: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        count = 0
        while not self.stopped.is_set():
            with contextlib.suppress(OSError, AssertionError), RawPeer(self.port) as peer:
                peer.associate(calling="PACS")
                while not self.stopped.is_set():
                    count += 1
                    self._store(peer, f"1.2.{self.number}.1.{count}")
            time.sleep(0.1)

    def _store(self, peer: RawPeer, uid: str) -> None:
        data = ct_data_set(uid, pixel_bytes=60_000, study=f"1.2.{self.number}", series=f"1.2.{self.number}.1")
        status = peer.store(data, uid)
        if status == 0:
            self.acknowledged[uid] = blake3(data).hexdigest()
        else:
            self.failures.append(f"{status:04X}H")


def gateway_processes(server: RunningServer) -> list[psutil.Process]:
    """The accept process and its receivers."""
    found = []
    for process in server.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            line = " ".join(process.cmdline())
            if "--role gateway" in line or "server.gateway" in line:
                found.append(process)
    return found


def kill_again_and_again(server: RunningServer, times: int, seed: int) -> None:
    rng = random.Random(seed)
    server.add_peer("PACS", 104, quiet_time_s=3600.0)
    stopped = threading.Event()
    senders = [Sender(server.dicom_port, number, stopped) for number in range(1, SENDERS + 1)]
    for sender in senders:
        sender.start()

    def acknowledged_count() -> int:
        return sum(len(sender.acknowledged) for sender in senders)

    for turn in range(times):
        before = acknowledged_count()
        server.wait(lambda before=before: acknowledged_count() > before + 20, 60, "the gateway receives")  # type: ignore[misc]
        time.sleep(rng.uniform(0.0, 0.3))
        victims = gateway_processes(server)
        assert len(victims) >= 2
        # Sometimes only the accept process: its receivers must not go on without it.
        for victim in (
            victims if turn % 2 else [one for one in victims if "--role" in " ".join(one.cmdline())]
        ):
            victim.kill()
        _, alive = psutil.wait_procs(victims, 10)
        assert not living(alive), "a receiver outlived its accept process"
    stopped.set()
    for sender in senders:
        sender.join(30)
    rows = {row["sop_instance_uid"]: row for row in server.rows("SELECT * FROM instance")}
    for sender in senders:
        for uid, digest in sender.acknowledged.items():
            assert rows[uid]["blake3"] == digest
            stored = data_set_of(server.data / "instances" / rows[uid]["location"])
            assert blake3(stored).hexdigest() == digest
    assert acknowledged_count() > 20 * times


@pytest.fixture
def server(disk_folder: Path) -> Iterator[RunningServer]:
    """On the disk: how instances are made durable there, see dicom_gateway/file_system.py."""
    running = RunningServer(disk_folder / "server", {"RECEIVER_PROCESSES": "2"})
    yield running.start()
    running.remove()


def test_killed_five_times_while_it_receives_it_loses_nothing(server: RunningServer) -> None:
    kill_again_and_again(server, times=5, seed=1)


@pytest.mark.soak
def test_killed_fifty_times_while_it_receives_it_loses_nothing(server: RunningServer) -> None:
    kill_again_and_again(server, times=50, seed=2)
