"""TLS before a server that speaks in the clear, as a reverse proxy does it: connections are passed on byte for byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.tls_files import Identity

_PIECE_BYTES = 64 * 1024


@contextmanager
def tls_front(identity: Identity, port: int) -> Iterator[int]:
    """The port that speaks TLS for 127.0.0.1:`port`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(identity.certificate, identity.key)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_accept, args=(listening, context, port), daemon=True).start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listening.accept()
            threading.Thread(target=_serve, args=(client, context, port), daemon=True).start()


def _serve(client: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with contextlib.suppress(OSError):
        front = context.wrap_socket(client, server_side=True)
        behind = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=_pass_on, args=(behind, front), daemon=True).start()
        _pass_on(front, behind)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError), source, target:
        while piece := source.recv(_PIECE_BYTES):
            target.sendall(piece)
