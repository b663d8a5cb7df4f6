"""A sink that keeps its books in memory, an acceptor in a thread, a peer that speaks raw PDUs."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dicom_gateway.instance_sink import AssociationEnd, ReceivedInstance, RecordOutcome
from dicom_gateway.peer_certificate import PeerCertificate
from dicom_gateway.peers import Peer
from dicom_gateway.procedure_step import ProcedureStep, ProcedureStepChange
from dicom_gateway.receive_dimse import Acceptor
from dicom_gateway.security_alert import SecurityAlert
from dicom_gateway.storage_commitment import CommitmentRequest, CommitmentResult
from dicom_gateway.user_information import NOTHING_SAID, UserInformation
from tests.raw_peer import RawPeer as RawPeer

CALLED_AE_TITLE = "RADMETER"


@dataclass
class MemorySink:
    """An `InstanceSink` without a database.

    known_peers: calling AE titles that may send; None lets everybody in.
    fail: while set, every call raises it, like a database that is down.
    settings: of every peer, beside its names.
    """

    known_peers: set[str] | None = None
    fail: Exception | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    certificates: list[PeerCertificate | None] = field(default_factory=list)
    alerts: list[SecurityAlert] = field(default_factory=list)
    received: dict[str, ReceivedInstance] = field(default_factory=dict)
    outcomes: list[RecordOutcome] = field(default_factory=list)
    opened: list[Peer] = field(default_factory=list)
    requestors: list[UserInformation] = field(default_factory=list)
    closed: dict[int, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def called_ae_title_exists(self, called_ae_title: str) -> bool:
        self._raise_if_down()
        return called_ae_title == CALLED_AE_TITLE

    def find_peer(
        self,
        calling_ae_title: str,
        called_ae_title: str,
        remote_host: str,
        certificate: PeerCertificate | None = None,
    ) -> Peer | None:
        self._raise_if_down()
        if self.known_peers is not None and calling_ae_title not in self.known_peers:
            return None
        self.certificates.append(certificate)
        return Peer(tenant="clinic", ae_title=calling_ae_title, host=remote_host, **self.settings)

    def report(self, alert: SecurityAlert) -> None:
        self.alerts.append(alert)

    def open_association(self, peer: Peer, requestor: UserInformation = NOTHING_SAID) -> int:
        self._raise_if_down()
        with self._lock:
            self.requestors.append(requestor)
            self.opened.append(peer)
            return len(self.opened)

    def record(self, association_id: int, peer: Peer, received: ReceivedInstance) -> RecordOutcome:
        self._raise_if_down()
        with self._lock:
            first = self.received.setdefault(received.sop_instance_uid, received)
            if first is received:
                outcome = RecordOutcome.STORED
            elif first.blake3 == received.blake3:
                outcome = RecordOutcome.IDENTICAL
            else:
                outcome = RecordOutcome.CONFLICT
            self.outcomes.append(outcome)
            return outcome

    def record_many(
        self, association_id: int, peer: Peer, received: Sequence[ReceivedInstance]
    ) -> list[RecordOutcome]:
        return [self.record(association_id, peer, each) for each in received]

    def close_association(self, association_id: int, peer: Peer, how: AssociationEnd) -> None:
        with self._lock:
            self.closed[association_id] = how

    def _raise_if_down(self) -> None:
        if self.fail is not None:
            raise self.fail


@dataclass
class MemoryDesk:
    """Commits to everything and takes every step."""

    requests: list[CommitmentRequest] = field(default_factory=list)
    reported: list[str] = field(default_factory=list)

    def commit(self, peer: Peer, request: CommitmentRequest) -> CommitmentResult:
        self.requests.append(request)
        return CommitmentResult(request.transaction_uid, request.references, {})

    def commitment_was_reported(self, peer: Peer, transaction_uid: str) -> None:
        self.reported.append(transaction_uid)

    def take_commitment_result(self, peer: Peer, result: CommitmentResult) -> None: ...

    def begin_step(self, peer: Peer, step: ProcedureStep) -> None: ...

    def change_step(self, peer: Peer, change: ProcedureStepChange) -> None: ...


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


def ct_data_set(
    sop_instance: str, pixel_bytes: int = 2048, study: str = "1.2.3", series: str = "1.2.3.4"
) -> bytes:
    """The bytes of a small CT data set, explicit VR little endian."""

    def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
        pad = b"\0" if vr == b"UI" else b" "
        value += pad * (len(value) % 2)
        return struct.pack("<HH2sH", group, number, vr, len(value)) + value

    head = element(0x0008, 0x0016, b"UI", RawPeer.CT.encode())
    head += element(0x0008, 0x0018, b"UI", sop_instance.encode("latin-1"))
    head += element(0x0008, 0x0060, b"CS", b"CT")
    head += element(0x0010, 0x0010, b"PN", b"Nobody^Test")
    head += element(0x0020, 0x000D, b"UI", study.encode("latin-1"))
    head += element(0x0020, 0x000E, b"UI", series.encode("latin-1"))
    pixels = bytes(range(256)) * (pixel_bytes // 256 + 1)
    return head + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, pixel_bytes) + pixels[:pixel_bytes]


def data_set_of(path: Path) -> bytes:
    """The bytes after preamble and group 0002 of a Part 10 file."""
    content = path.read_bytes()
    assert content[128:132] == b"DICM"
    (group_length,) = struct.unpack_from("<I", content, 140)
    return content[144 + group_length :]


def wait_until(claim: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that another thread or process does."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


StartAcceptor = Callable[..., RunningAcceptor]
