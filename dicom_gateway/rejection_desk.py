"""Turns connections away politely without a thread: A-ASSOCIATE-RJ once the request arrives."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from dataclasses import dataclass

from dicom_gateway.errors import AssociationRefused
from dicom_gateway.upper_layer import encode_associate_reject

_WAITING_MAX = 64
_PATIENCE_S = 5.0
_READ_BYTES = 64 * 1024


@dataclass
class _Visitor:
    sock: socket.socket
    answer: bytes
    until: float
    is_answered: bool = False


class RejectionDesk:
    """Holds at most 64 connections for at most 5 s each; beyond that they are just closed.

    Works inside the accept loop's selector: `serve` is called when a visitor's socket is readable and
    never blocks.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._visitors: dict[int, _Visitor] = {}

    def turn_away(self, sock: socket.socket, refusal: AssociationRefused) -> None:
        if len(self._visitors) >= _WAITING_MAX:
            sock.close()
            return
        sock.setblocking(False)
        answer = encode_associate_reject(refusal.result, refusal.source, refusal.reason)
        visitor = _Visitor(sock, answer, time.monotonic() + _PATIENCE_S)
        self._visitors[sock.fileno()] = visitor
        self._selector.register(sock, selectors.EVENT_READ, visitor)

    def serve(self, visitor: object) -> bool:
        """Read and forget what a visitor sent; answer once; leave when it closes. False when it is no visitor."""
        if not isinstance(visitor, _Visitor):
            return False
        try:
            data = visitor.sock.recv(_READ_BYTES)
            if not data:
                self._leave(visitor)
            elif not visitor.is_answered:
                visitor.is_answered = True
                visitor.sock.send(visitor.answer)  # ten bytes always fit into an empty send buffer
                visitor.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self._leave(visitor)
        return True

    def sweep(self, now: float) -> None:
        """Close whoever stays too long. now: of `time.monotonic`."""
        for visitor in [visitor for visitor in self._visitors.values() if visitor.until < now]:
            self._leave(visitor)

    def close(self) -> None:
        for visitor in list(self._visitors.values()):
            self._leave(visitor)

    def _leave(self, visitor: _Visitor) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(visitor.sock)
        self._visitors.pop(visitor.sock.fileno(), None)
        visitor.sock.close()
