"""One TCP connection, plain or under TLS, read and written in whole PDUs with a deadline for each.

A peer that sends a byte now and then outlives any timeout of a single `recv`; here the clock runs from a
PDU's first byte to its last. Whatever has arrived is taken in one read, and PDUs are handed out as views of that
one buffer: a peer on time costs less than one system call for each PDU, and no copies.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Mapping

from dicom_gateway.errors import (
    ConnectionLost,
    PDUTooLong,
    PeerSilent,
    PeerTooSlow,
    UnexpectedPDU,
    UnrecognizedPDU,
)
from dicom_gateway.peer_certificate import PeerCertificate, certificate_of
from dicom_gateway.upper_layer import HEADER_BYTES, PDU_TYPES, parse_header

Handshake = Callable[[socket.socket, float], socket.socket]
"""(connected socket, seconds) → the socket to speak over. Takes no longer; raises a `GatewayError`."""

_TIMEVAL = struct.Struct("ll")
# After this long the rest of a PDU's deadline is worth a system call to set.
_LATE_S = 0.25
_LINGER_S = 0.5
_LINGER_BYTES_MAX = 4 * 1024 * 1024
_BUFFER_BYTES = 256 * 1024
_NOT_IN_TIME = (BlockingIOError, TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Connection:
    """A connected socket that reads and writes PDUs."""

    def __init__(self, sock: socket.socket, pdu_deadline_s: float) -> None:
        self._socket = sock
        self._tls: ssl.SSLSocket | None = None
        self._deadline_s = pdu_deadline_s
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._start = self._end = 0  # of what was received and not yet handed out
        # Blocking with kernel timeouts: no poll before each read.
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._set_timeout(socket.SO_SNDTIMEO, pdu_deadline_s)
        self._set_timeout(socket.SO_RCVTIMEO, pdu_deadline_s)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    @property
    def peer_certificate(self) -> PeerCertificate | None:
        """None without TLS or without one."""
        return certificate_of(self._tls) if self._tls is not None else None

    def secure(self, handshake: Handshake, timeout_s: float) -> None:
        """Go on over what the handshake makes of the socket."""
        self._socket = handshake(self._socket, timeout_s)
        if isinstance(self._socket, ssl.SSLSocket):
            self._tls = self._socket
            # A record needs several reads of the kernel, so its timeouts bound nothing here; Python's do.
            self._socket.settimeout(self._deadline_s)

    def wait(self, timeout_s: float) -> None:
        """Wait for the first byte of the next PDU, or for the end of the connection."""
        if not self.is_readable(timeout_s):
            raise PeerSilent(f"nothing arrived for {timeout_s:g} s")

    def is_readable(self, timeout_s: float) -> bool:
        """Whether something, or the end of the connection, arrives within this time."""
        if self._start < self._end or (self._tls is not None and self._tls.pending()):
            return True
        return bool(self._poll.poll(timeout_s * 1000))

    def read_pdu(self, length_max: Mapping[int, int]) -> tuple[int, memoryview]:
        """Type and body of the next PDU; its deadline runs from this call.

        length_max: the longest body in bytes for each type that is expected now; checked on the header
            alone. The view is valid until the next call.
        """
        began = time.monotonic()
        if self._end - self._start < HEADER_BYTES:
            self._receive(HEADER_BYTES, began)
        pdu_type, length = parse_header(self._buffer, self._start)
        self._check(pdu_type, length, length_max)
        if self._end - self._start < HEADER_BYTES + length:
            self._receive(HEADER_BYTES + length, began)
        body = self._start + HEADER_BYTES
        self._start = body + length
        return pdu_type, self._buffer[body : self._start]

    def send(self, pdus: bytes) -> None:
        """Send whole PDUs; nothing at all is nothing to send."""
        if not pdus:
            return
        try:
            self._socket.sendall(pdus)
        except _NOT_IN_TIME:
            raise PeerTooSlow("the peer does not read what we send") from None
        except OSError:
            raise ConnectionLost("the connection broke while sending") from None

    def interrupt(self) -> None:
        """Wake a thread that waits for the peer; it sees the end of the connection."""
        self._shut(socket.SHUT_RD)

    def break_off(self) -> None:
        """End the connection under a thread that may be in the middle of anything."""
        self._shut(socket.SHUT_RDWR)

    def close(self, last_pdu: bytes = b"") -> None:
        """Send the last PDU if one is given, let the peer read it, and close.

        Closing with unread bytes would reset the connection and could take the last PDU with it, so
        a little of what still arrives is thrown away first.
        """
        with contextlib.suppress(OSError), contextlib.closing(self._socket):
            if last_pdu:
                self._set_timeout(socket.SO_SNDTIMEO, _LINGER_S)
                self._socket.sendall(last_pdu)
            self._say_farewell()
            self._socket.shutdown(socket.SHUT_WR)
            self._throw_away_rest()

    def _say_farewell(self) -> None:
        """Send close_notify, without waiting for the peer's: many programs take the bare end for an attack."""
        if self._tls is not None:
            self._tls.settimeout(0)
            with contextlib.suppress(OSError, ValueError):
                self._tls.unwrap()

    def _throw_away_rest(self) -> None:
        until, left = time.monotonic() + _LINGER_S, _LINGER_BYTES_MAX
        while left > 0 and (seconds := until - time.monotonic()) > 0 and self._poll.poll(seconds * 1000):
            count = self._socket.recv_into(self._buffer)
            if count == 0:
                return
            left -= count

    def _check(self, pdu_type: int, length: int, length_max: Mapping[int, int]) -> None:
        if pdu_type not in PDU_TYPES:
            raise UnrecognizedPDU(pdu_type)
        if pdu_type not in length_max:
            raise UnexpectedPDU(pdu_type)
        if length > length_max[pdu_type]:
            raise PDUTooLong(length, length_max[pdu_type])

    def _receive(self, count: int, began: float) -> None:
        """Read on until the PDU that began at `_start` has `count` bytes here, or more."""
        self._make_room(count)
        is_late = False
        try:
            # Linux delays an acknowledgement by 40 ms when it expects to answer, and a sender that leaves
            # Nagle's algorithm on waits for it before it sends the rest: once for each object.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            while True:
                received = self._socket.recv_into(self._buffer[self._end :])
                if received == 0:
                    raise ConnectionLost("the peer closed the connection")
                self._end += received
                if self._end - self._start >= count:
                    break
                elapsed_s = time.monotonic() - began
                if elapsed_s >= _LATE_S:
                    is_late = True
                    self._set_timeout(socket.SO_RCVTIMEO, max(self._deadline_s - elapsed_s, 0.001))
        except _NOT_IN_TIME:
            raise PeerTooSlow("a PDU did not arrive within its deadline") from None
        except OSError:
            raise ConnectionLost("the connection broke") from None
        if is_late:
            self._set_timeout(socket.SO_RCVTIMEO, self._deadline_s)

    def _make_room(self, count: int) -> None:
        """Let the buffer hold `count` bytes from `_start` on; `count` has been compared with its limit."""
        if self._start + count <= len(self._buffer) and self._start < self._end:
            return
        begun = self._buffer[self._start : self._end]
        if count > len(self._buffer):
            self._buffer = memoryview(bytearray(count))
        self._buffer[: len(begun)] = begun
        self._start, self._end = 0, len(begun)

    def _shut(self, how: int) -> None:
        # Not SSLSocket's own, which would leave the other thread to read the cipher text as it is.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, how)

    def _set_timeout(self, option: int, seconds: float) -> None:
        if self._tls is not None:
            self._tls.settimeout(seconds)
            return
        whole = int(seconds)
        self._socket.setsockopt(
            socket.SOL_SOCKET, option, _TIMEVAL.pack(whole, max(int((seconds - whole) * 1e6), 1))
        )
