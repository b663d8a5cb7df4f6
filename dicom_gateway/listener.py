"""A port on which the acceptor listens, and what a connection on it must do first."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from dicom_gateway.connection import Handshake

_BACKLOG = 128


@dataclass(frozen=True)
class Listener:
    """host, port: where to listen; port 0 lets the system choose one.

    handshake: run in the association's thread before its first PDU, TLS say; None for a plain port.
    """

    host: str
    port: int
    handshake: Handshake | None = None

    def open(self) -> socket.socket:
        """A socket that listens and does not block."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listening = socket.create_server((self.host, self.port), family=family, backlog=_BACKLOG)
        listening.setblocking(False)
        return listening
