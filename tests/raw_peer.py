"""A DICOM requestor that speaks raw bytes."""

from __future__ import annotations

import socket
import ssl
import struct


class RawPeer:
    """A DICOM requestor that sends exactly the bytes a test wants, encoded by the test's own hand."""

    CT = "1.2.840.10008.5.1.4.1.1.2"
    VERIFICATION = "1.2.840.10008.1.1"
    EXPLICIT = "1.2.840.10008.1.2.1"

    def __init__(self, port: int, source: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="127.0.0.1")

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

    @classmethod
    def n_request(cls, field: int, sop_class: str, sop_instance: str, type_id: int = 0) -> bytes:
        """A command set of a request with Requested UIDs and an Action Type ID, message id 7."""
        return cls.group(
            (0x0003, cls.uid(sop_class)), (0x0100, cls.short(field)), (0x0110, cls.short(7)),
            (0x0800, cls.short(1)), (0x1001, cls.uid(sop_instance)), (0x1008, cls.short(type_id)),
        )  # fmt: skip

    @classmethod
    def response(cls, field: int, message_id: int, sop_class: str, status: int = 0) -> bytes:
        """A command set of a response without a data set."""
        return cls.group(
            (0x0002, cls.uid(sop_class)), (0x0100, cls.short(field)), (0x0120, cls.short(message_id)),
            (0x0800, cls.short(0x0101)), (0x0900, cls.short(status)),
        )  # fmt: skip

    @staticmethod
    def group(*elements: tuple[int, bytes]) -> bytes:
        body = b"".join(struct.pack("<HHI", 0, number, len(value)) + value for number, value in elements)
        return struct.pack("<HHII", 0, 0, 4, len(body)) + body

    @staticmethod
    def uid(value: str) -> bytes:
        data = value.encode("latin-1")
        return data + bytes(len(data) % 2)

    @staticmethod
    def short(value: int) -> bytes:
        return struct.pack("<H", value)

    @classmethod
    def commitment_request(cls, transaction: str, sop_class: str, *instances: str) -> bytes:
        """The action information of a storage commitment, explicit VR little endian."""

        def element(tag: int, value: str) -> bytes:
            data = cls.uid(value)
            return struct.pack("<HH2sH", 8, tag, b"UI", len(data)) + data

        items = [element(0x1150, sop_class) + element(0x1155, one) for one in instances]
        sequence = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
        head = struct.pack("<HH2sHI", 8, 0x1199, b"SQ", 0, len(sequence))
        return element(0x1195, transaction) + head + sequence

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
