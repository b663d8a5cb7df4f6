"""A sink that keeps its books in memory, and an acceptor of our own on a free port."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dicom_gateway.instance_sink import AssociationEnd, ReceivedInstance, RecordOutcome
from dicom_gateway.peers import Peer
from dicom_gateway.receive_dimse import Acceptor, AcceptorSettings

CALLED_AE_TITLE = "RADMETER"


@dataclass
class MemorySink:
    """An `InstanceSink` without a database.

    known_peers: calling AE titles that may send; None lets everybody in.
    fail: while set, every call raises it, like a database that is down.
    """

    known_peers: set[str] | None = None
    fail: Exception | None = None
    received: dict[str, ReceivedInstance] = field(default_factory=dict)
    outcomes: list[RecordOutcome] = field(default_factory=list)
    opened: list[Peer] = field(default_factory=list)
    closed: dict[int, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def called_ae_title_exists(self, called_ae_title: str) -> bool:
        self._raise_if_down()
        return called_ae_title == CALLED_AE_TITLE

    def find_peer(self, calling_ae_title: str, called_ae_title: str, remote_host: str) -> Peer | None:
        self._raise_if_down()
        if self.known_peers is not None and calling_ae_title not in self.known_peers:
            return None
        return Peer(tenant="clinic", ae_title=calling_ae_title, host=remote_host)

    def open_association(self, peer: Peer) -> int:
        self._raise_if_down()
        with self._lock:
            self.opened.append(peer)
            return len(self.opened)

    def record(self, association_id: int, peer: Peer, received: ReceivedInstance) -> RecordOutcome:
        self._raise_if_down()
        with self._lock:
            first = self.received.setdefault(received.sop_instance_uid, received)
            if first is received:
                outcome = RecordOutcome.STORED
            elif first.sha256 == received.sha256:
                outcome = RecordOutcome.IDENTICAL
            else:
                outcome = RecordOutcome.CONFLICT
            self.outcomes.append(outcome)
            return outcome

    def close_association(self, association_id: int, peer: Peer, how: AssociationEnd) -> None:
        with self._lock:
            self.closed[association_id] = how

    def _raise_if_down(self) -> None:
        if self.fail is not None:
            raise self.fail


@dataclass
class RunningAcceptor:
    """An acceptor in a thread of this process, its sink and its port."""

    acceptor: Acceptor
    sink: MemorySink
    port: int
    root: Path
    thread: threading.Thread

    def stored_files(self) -> list[Path]:
        """Committed instances: neither incoming nor in quarantine."""
        return sorted(path for path in self.root.glob("??/*/*.dcm"))

    def all_files(self) -> list[Path]:
        """Everything below the store but the lock of the incoming folder."""
        return sorted(path for path in self.root.rglob("*") if path.is_file() and path.name != "lock")

    def stop(self, grace_s: float = 5.0) -> None:
        self.acceptor.stop(grace_s)
        self.thread.join(timeout=grace_s + 10)
        assert not self.thread.is_alive()


StartAcceptor = Callable[..., RunningAcceptor]


@pytest.fixture
def start_acceptor(tmp_path: Path) -> Iterator[StartAcceptor]:
    """A function that starts an acceptor: keyword arguments are settings, `sink=` a sink of your own."""
    running: list[RunningAcceptor] = []

    def start(sink: MemorySink | None = None, durable: bool = True, **settings: object) -> RunningAcceptor:
        root = tmp_path / f"store{len(running)}"
        own_sink = sink or MemorySink()
        values = {"port": 0, "free_bytes_min": 0} | settings
        acceptor = Acceptor(AcceptorSettings(storage_root=root, **values), own_sink, durable=durable)
        port = acceptor.listen()
        thread = threading.Thread(target=acceptor.serve_forever, name="acceptor", daemon=True)
        thread.start()
        running.append(RunningAcceptor(acceptor, own_sink, port, root, thread))
        return running[-1]

    yield start
    for each in running:
        each.stop(grace_s=0.5)


@pytest.fixture
def acceptor(start_acceptor: StartAcceptor) -> RunningAcceptor:
    """An acceptor with default limits."""
    return start_acceptor()
