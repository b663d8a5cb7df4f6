"""A STOW-RS server that answers what a test tells it to, and keeps what was sent."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from dicom_gateway.deliver_stow import StowDestination
from dicom_gateway.dicomweb_client import DicomWebServer

Reply = Callable[["Handler"], None]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what the test's `reply` says; keeps what was sent."""

    reply: Reply
    bodies: list[bytes]

    def do_POST(self) -> None:
        with suppress(OSError):
            type(self).reply(self)

    def take_body(self) -> bytes:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(body)
        return body

    def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def server(reply: Reply, tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[bytes]]]:
    bodies: list[bytes] = []
    handler = type("Handler", (Handler,), {"reply": staticmethod(reply), "bodies": bodies})
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    listening.daemon_threads = True
    if tls is not None:
        listening.socket = tls.wrap_socket(listening.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http{'s' if tls else ''}://127.0.0.1:{listening.server_address[1]}", bodies
    listening.shutdown()
    listening.server_close()


def to(url: str, timeout_s: float = 5.0, **options: object) -> StowDestination:
    return StowDestination(DicomWebServer(url, timeout_s=timeout_s, **options), timeout_s)  # type: ignore[arg-type]


def response(
    stored: tuple[str, ...] = (), failed: dict[str, int] | None = None, warned: dict[str, int] | None = None
) -> bytes:
    """A Store Instances Response Module, by the test's own hand."""

    def item(uid: str, **values: int) -> dict[str, object]:
        made: dict[str, object] = {"00081155": {"vr": "UI", "Value": [uid]}}
        return made | {tag.strip("t"): {"vr": "US", "Value": [value]} for tag, value in values.items()}

    dataset = {}
    if failed:
        items = [item(uid, t00081197=reason) for uid, reason in failed.items()]
        dataset["00081198"] = {"vr": "SQ", "Value": items}
    kept = [item(uid) for uid in stored]
    kept += [item(uid, t00081196=reason) for uid, reason in (warned or {}).items()]
    if kept:
        dataset["00081199"] = {"vr": "SQ", "Value": kept}
    return json.dumps(dataset).encode()


def replying(code: int, body: bytes = b"", **headers: str) -> Reply:
    def reply(handler: Handler) -> None:
        handler.take_body()
        handler.answer(code, body, **headers)

    return reply
