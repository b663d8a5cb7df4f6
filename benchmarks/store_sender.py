"""A C-STORE sender that encodes everything beforehand, so that what is measured is the receiver."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
PIXEL_BYTES = 512 * 512 * 2
CALLING_AE_TITLE, CALLED_AE_TITLE = "CT01", "RADMETER"

_FRAGMENT_BYTES_MAX = 128 * 1024 - 6
_OWN_PDU_LENGTH_MAX = 16 * 1024


@dataclass(frozen=True)
class Sent:
    """began_at, ended_at: of `time.time`; latencies_s: from the first byte of a message to its response."""

    image_count: int
    data_set_bytes: int
    began_at: float
    ended_at: float
    latencies_s: tuple[float, ...] = ()
    dropped_count: int = 0

    @property
    def seconds(self) -> float:
        return self.ended_at - self.began_at


def ct_objects(
    count: int, pixel_bytes: int = PIXEL_BYTES, study: str = "1.2.826.0.1.3680043.10.999"
) -> list[tuple[str, bytes]]:
    """(SOP Instance UID, data set) of CT slices of one study, explicit VR little endian."""
    pixels = bytes(range(256)) * (pixel_bytes // 256)
    objects = []
    for number in range(1, count + 1):
        uid = f"{study}.{number}"
        head = b"".join(
            (
                _element(0x0008, 0x0016, b"UI", CT_IMAGE_STORAGE),
                _element(0x0008, 0x0018, b"UI", uid),
                _element(0x0008, 0x0060, b"CS", "CT"),
                _element(0x0010, 0x0010, b"PN", "Benchmark"),
                _element(0x0010, 0x0020, b"LO", "1"),
                _element(0x0020, 0x000D, b"UI", study),
                _element(0x0020, 0x000E, b"UI", f"{study}.0"),
                _element(0x0020, 0x0013, b"IS", str(number)),
                struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, len(pixels)),
            )
        )
        objects.append((uid, head + pixels))
    return objects


def send(
    port: int,
    objects: list[tuple[str, bytes]],
    *,
    is_tls: bool = False,
    when_ready: Callable[[], object] = lambda: None,
) -> Sent:
    """Send all objects over one association with TCP_NODELAY; what is not answered with a success is dropped.

    when_ready: called after the negotiation, before the first message.
    """
    with _connect(port, is_tls) as connection:
        connection.sendall(_associate_request())
        pdu_type, body = _read_pdu(connection)
        if pdu_type != 2:
            raise ConnectionError(f"association refused: PDU type {pdu_type}")
        fragment_bytes = min(_pdu_length_max(body) - 6, _FRAGMENT_BYTES_MAX)
        messages = [_store_message(uid, data, fragment_bytes) for uid, data in objects]
        when_ready()
        latencies, dropped = [], 0
        began = time.time()
        for message in messages:
            started = time.perf_counter()
            connection.sendall(message)
            dropped += _status(_read_pdu(connection)[1]) != 0
            latencies.append(time.perf_counter() - started)
        ended = time.time()
        connection.sendall(_pdu(5, bytes(4)))
        _read_pdu(connection)
    size = sum(len(data) for _, data in objects)
    return Sent(len(objects), size, began, ended, tuple(latencies), dropped)


def _connect(port: int, is_tls: bool) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not is_tls:
        return connection
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)


def _store_message(uid: str, data: bytes, fragment_bytes: int) -> bytes:
    pdus = [_value(3, _store_command(uid))]
    for start in range(0, len(data), fragment_bytes):
        is_last = start + fragment_bytes >= len(data)
        pdus.append(_value(2 if is_last else 0, data[start : start + fragment_bytes]))
    return b"".join(pdus)


def _store_command(uid: str) -> bytes:
    def element(number: int, value: bytes) -> bytes:
        value += bytes(len(value) % 2)
        return struct.pack("<HHI", 0, number, len(value)) + value

    body = element(0x0002, CT_IMAGE_STORAGE.encode()) + element(0x0100, struct.pack("<H", 1))
    body += element(0x0110, struct.pack("<H", 1)) + element(0x0700, struct.pack("<H", 2))
    body += element(0x0800, struct.pack("<H", 1)) + element(0x1000, uid.encode())
    return element(0, struct.pack("<I", len(body))) + body


def _associate_request() -> bytes:
    syntaxes = _item(0x30, CT_IMAGE_STORAGE.encode()) + _item(0x40, EXPLICIT_VR_LITTLE_ENDIAN.encode())
    items = _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, bytes((1, 0, 0, 0)) + syntaxes)
    limits = _item(0x51, struct.pack(">I", _OWN_PDU_LENGTH_MAX)) + _item(0x52, b"1.2.826.0.1.3680043.10.999")
    items += _item(0x50, limits)
    titles = CALLED_AE_TITLE.ljust(16).encode() + CALLING_AE_TITLE.ljust(16).encode()
    return _pdu(1, struct.pack(">HH", 1, 0) + titles + bytes(32) + items)


def _pdu_length_max(acceptance: bytes) -> int:
    position = acceptance.index(b"\x51\x00\x00\x04", 68) + 4
    length: int = struct.unpack_from(">I", acceptance, position)[0]
    return length or 1 << 30


def _status(body: bytes) -> int:
    position = body.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
    status: int = struct.unpack_from("<H", body, position)[0]
    return status


def _read_pdu(connection: socket.socket) -> tuple[int, bytes]:
    pdu_type, length = struct.unpack(">BxI", _read(connection, 6))
    return pdu_type, _read(connection, length)


def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError("the receiver closed the connection")
        data += part
    return data


def _value(control: int, data: bytes) -> bytes:
    return _pdu(4, struct.pack(">IBB", len(data) + 2, 1, control) + data)


def _pdu(pdu_type: int, body: bytes) -> bytes:
    return struct.pack(">BxI", pdu_type, len(body)) + body


def _item(item_type: int, value: bytes) -> bytes:
    return struct.pack(">BxH", item_type, len(value)) + value


def _element(group: int, number: int, vr: bytes, text: str) -> bytes:
    value = text.encode()
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value
