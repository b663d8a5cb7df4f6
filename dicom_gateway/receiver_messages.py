"""What the accept process and its receiver processes say to one another: one packet each, JSON, some with a socket."""

from __future__ import annotations

import json
import socket
from typing import Any

PACKET_BYTES_MAX = 64 * 1024

Message = dict[str, Any]
"""One key says what it is.

To a receiver: take (host, listener; with the socket), drain, lost ([number, tenant, AE title] of each association of a
receiver that died). From a receiver: opened (the same three), ended (host; number, if it was opened), statistics.
"""


def send(control: socket.socket, message: Message, descriptor: int | None = None) -> None:
    """Raises BlockingIOError when a socket that does not block is full."""
    data = json.dumps(message).encode()
    socket.send_fds(control, [data], [] if descriptor is None else [descriptor])


def receive(control: socket.socket) -> tuple[Message | None, int | None]:
    """The next message, and the descriptor that came with it; no message at the end of the connection."""
    data, descriptors, _, _ = socket.recv_fds(control, PACKET_BYTES_MAX, 1)
    return (json.loads(data) if data else None), (descriptors[0] if descriptors else None)
