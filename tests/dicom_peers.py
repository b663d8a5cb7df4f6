"""A sink that keeps its books in memory, an acceptor in a thread, a peer that speaks raw PDUs."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dicom_gateway.instance_sink import AssociationEnd, ReceivedInstance, RecordOutcome
from dicom_gateway.peers import Peer
from dicom_gateway.receive_dimse import Acceptor
from dicom_gateway.user_information import NOTHING_SAID, UserInformation

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
    requestors: list[UserInformation] = field(default_factory=list)
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


class RawPeer:
    """A DICOM requestor that sends exactly the bytes a test wants, encoded by the test's own hand."""

    CT = "1.2.840.10008.5.1.4.1.1.2"
    VERIFICATION = "1.2.840.10008.1.1"
    EXPLICIT = "1.2.840.10008.1.2.1"

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_pdu(self) -> tuple[int, bytes]:
        """(type, body); type 0 when the acceptor closed."""
        header = self._read(6)
        if len(header) < 6:
            return 0, b""
        pdu_type, length = struct.unpack(">BxI", header)
        return pdu_type, self._read(length)

    def associate(self, *contexts: tuple[str, str], calling: str = "CT01", called: str = "RADMETER") -> bytes:
        """Negotiate one context (ids 1, 3, ...) for each pair of syntaxes; returns the acceptor's answer."""
        self.send(self.request(*contexts, calling=calling, called=called))
        pdu_type, body = self.read_pdu()
        assert pdu_type == 2, f"association not accepted: PDU {pdu_type} {body!r}"
        return body

    @classmethod
    def request(cls, *contexts: tuple[str, str], calling: str = "CT01", called: str = "RADMETER") -> bytes:
        """An A-ASSOCIATE-RQ."""
        items = cls.item(0x10, b"1.2.840.10008.3.1.1.1")
        for index, (abstract, transfer) in enumerate(contexts or ((cls.CT, cls.EXPLICIT),)):
            syntaxes = cls.item(0x30, abstract.encode()) + cls.item(0x40, transfer.encode())
            items += cls.item(0x20, bytes((2 * index + 1, 0, 0, 0)) + syntaxes)
        items += cls.item(0x50, cls.item(0x51, struct.pack(">I", 16384)) + cls.item(0x52, b"1.2.3"))
        titles = called.ljust(16).encode() + calling.ljust(16).encode()
        return cls.pdu(1, struct.pack(">HH", 1, 0) + titles + bytes(32) + items)

    @staticmethod
    def pdu(pdu_type: int, body: bytes) -> bytes:
        return struct.pack(">BxI", pdu_type, len(body)) + body

    @staticmethod
    def item(item_type: int, value: bytes) -> bytes:
        return struct.pack(">BxH", item_type, len(value)) + value

    @classmethod
    def fragment(cls, control: int, data: bytes, context_id: int = 1) -> bytes:
        """A P-DATA-TF with one value. control: 1 command, 2 last."""
        return cls.pdu(4, struct.pack(">IBB", len(data) + 2, context_id, control) + data)

    @staticmethod
    def command(field: int, sop_class: str, sop_instance: str = "", has_data_set: bool = True) -> bytes:
        """A command set with message id 7."""

        def element(number: int, value: bytes) -> bytes:
            return struct.pack("<HHI", 0, number, len(value)) + value

        def uid(value: str) -> bytes:
            data = value.encode("latin-1")
            return data + bytes(len(data) % 2)

        body = element(0x0002, uid(sop_class)) + element(0x0100, struct.pack("<H", field))
        body += element(0x0110, struct.pack("<H", 7)) + element(0x0700, struct.pack("<H", 2))
        body += element(0x0800, struct.pack("<H", 1 if has_data_set else 0x0101))
        if sop_instance:
            body += element(0x1000, uid(sop_instance))
        return element(0, struct.pack("<I", len(body))) + body

    def store_request(self, sop_instance: str, sop_class: str = CT, context_id: int = 1) -> None:
        self.send(self.fragment(3, self.command(1, sop_class, sop_instance), context_id))

    def store(
        self, data_set: bytes, sop_instance: str, sop_class: str = CT, fragment_bytes: int = 16378
    ) -> int:
        """A whole C-STORE; returns the status."""
        self.store_request(sop_instance, sop_class)
        for start in range(0, len(data_set), fragment_bytes):
            is_last = start + fragment_bytes >= len(data_set)
            self.send(self.fragment(2 if is_last else 0, data_set[start : start + fragment_bytes]))
        return self.read_status()

    def echo(self, context_id: int = 1) -> int:
        self.send(self.fragment(3, self.command(0x30, self.VERIFICATION, has_data_set=False), context_id))
        return self.read_status()

    def read_status(self) -> int:
        """Status of the next response."""
        pdu_type, body = self.read_pdu()
        assert pdu_type == 4, f"no response but PDU {pdu_type} {body!r}"
        position = 6
        while position < len(body):
            _, number, length = struct.unpack_from("<HHI", body, position)
            if number == 0x0900:
                return int(struct.unpack_from("<H", body, position + 8)[0])
            position += 8 + length
        raise AssertionError("a response without a status")

    def release(self) -> None:
        self.send(self.pdu(5, bytes(4)))
        assert self.read_pdu() == (6, bytes(4))

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                part = self.socket.recv(count - len(data))
            except ConnectionResetError:
                return data
            if not part:
                return data
            data += part
        return data


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
