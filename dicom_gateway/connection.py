"""One TCP connection, read and written in whole PDUs with a deadline for each.

A peer that sends a byte now and then outlives any timeout of a single `recv`; here the clock runs from a
PDU's first byte to its last. A peer on time costs one wait and two reads for each PDU, and no copies:
bodies are read into one buffer that every PDU reuses.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Mapping

from dicom_gateway.errors import (
    ConnectionLost,
    PDUTooLong,
    PeerSilent,
    PeerTooSlow,
    UnexpectedPDU,
    UnrecognizedPDU,
)
from dicom_gateway.upper_layer import HEADER_BYTES, PDU_TYPES, parse_header

_TIMEVAL = struct.Struct("ll")
# A header later than this after the first byte makes its body's share of the deadline worth recomputing.
_LATE_HEADER_S = 0.25
_LINGER_S = 0.5
_LINGER_BYTES_MAX = 4 * 1024 * 1024


class Connection:
    """A connected socket that reads and writes PDUs."""

    def __init__(self, sock: socket.socket, pdu_deadline_s: float) -> None:
        self._socket = sock
        self._deadline_s = pdu_deadline_s
        self._header = bytearray(HEADER_BYTES)
        self._buffer = memoryview(bytearray(0))
        # Blocking with kernel timeouts: MSG_WAITALL then reads a whole PDU in one system call, and
        # SO_RCVTIMEO bounds that call as a whole, not each segment.
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._set_timeout(socket.SO_SNDTIMEO, pdu_deadline_s)
        self._set_timeout(socket.SO_RCVTIMEO, pdu_deadline_s)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def wait(self, timeout_s: float) -> None:
        """Wait for the first byte of the next PDU, or for the end of the connection."""
        if not self._poll.poll(timeout_s * 1000):
            raise PeerSilent(f"nothing arrived for {timeout_s:g} s")

    def read_pdu(self, length_max: Mapping[int, int]) -> tuple[int, memoryview]:
        """Type and body of the next PDU, whose first byte should be here already.

        length_max: the longest body in bytes for each type that is expected now; checked on the header
            alone. The view is valid until the next call.
        """
        started = time.monotonic()
        self._receive(memoryview(self._header), HEADER_BYTES)
        # Linux delays acknowledgements again as soon as it answers, and a sender that leaves Nagle's
        # algorithm on then waits about 50 ms for each object.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        pdu_type, length = parse_header(self._header)
        self._check(pdu_type, length, length_max)
        if length > len(self._buffer):
            self._buffer = memoryview(bytearray(max(length_max.values())))
        elapsed_s = time.monotonic() - started
        if elapsed_s < _LATE_HEADER_S:
            self._receive(self._buffer, length)
        else:
            self._receive_late(length, self._deadline_s - elapsed_s)
        return pdu_type, self._buffer[:length]

    def send(self, pdus: bytes) -> None:
        """Send whole PDUs; nothing at all is nothing to send."""
        if not pdus:
            return
        try:
            self._socket.sendall(pdus)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except BlockingIOError:
            raise PeerTooSlow("the peer does not read what we send") from None
        except OSError:
            raise ConnectionLost("the connection broke while sending") from None

    def interrupt(self) -> None:
        """Wake a thread that waits for the peer; it sees the end of the connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def break_off(self) -> None:
        """End the connection under a thread that may be in the middle of anything."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self, last_pdu: bytes = b"") -> None:
        """Send the last PDU if one is given, let the peer read it, and close.

        Closing with unread bytes would reset the connection and could take the last PDU with it, so
        a little of what still arrives is thrown away first.
        """
        with contextlib.suppress(OSError), contextlib.closing(self._socket):
            if last_pdu:
                self._set_timeout(socket.SO_SNDTIMEO, _LINGER_S)
                self._socket.sendall(last_pdu)
            self._socket.shutdown(socket.SHUT_WR)
            self._throw_away_rest()

    def _throw_away_rest(self) -> None:
        until, left = time.monotonic() + _LINGER_S, _LINGER_BYTES_MAX
        scrap = bytearray(64 * 1024)
        while left > 0 and (seconds := until - time.monotonic()) > 0 and self._poll.poll(seconds * 1000):
            count = self._socket.recv_into(scrap)
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

    def _receive_late(self, length: int, seconds: float) -> None:
        self._set_timeout(socket.SO_RCVTIMEO, max(seconds, 0.001))
        self._receive(self._buffer, length)
        self._set_timeout(socket.SO_RCVTIMEO, self._deadline_s)

    def _receive(self, view: memoryview, count: int) -> None:
        if count == 0:
            return
        try:
            received = self._socket.recv_into(view, count, socket.MSG_WAITALL)
        except BlockingIOError:
            raise PeerTooSlow("a PDU did not arrive within its deadline") from None
        except OSError:
            raise ConnectionLost("the connection broke") from None
        if received == count:
            return
        # Short: the peer closed, or the deadline passed with a part received. Only then is there an answer
        # to a read that does not wait.
        with contextlib.suppress(OSError):
            if self._socket.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b"":
                raise ConnectionLost("the peer closed the connection")
        raise PeerTooSlow("a PDU did not arrive within its deadline")

    def _set_timeout(self, option: int, seconds: float) -> None:
        whole = int(seconds)
        self._socket.setsockopt(
            socket.SOL_SOCKET, option, _TIMEVAL.pack(whole, max(int((seconds - whole) * 1e6), 1))
        )
