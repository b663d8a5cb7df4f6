"""An OTLP/HTTP collector on loopback that keeps what it is sent, parsed from the protobuf."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.ports import free_port


@dataclass(frozen=True)
class Received:
    """A span, its ids in hex; parent is empty for a root."""

    name: str
    trace: str
    span: str
    parent: str
    role: str
    seconds: float
    links: tuple[str, ...]
    attributes: dict[str, Any]
    is_error: bool


@dataclass
class Collector:
    """raw: the bodies as they came."""

    url: str
    raw: list[bytes] = field(default_factory=list)
    spans: list[Received] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        self.raw.append(body)
        request = ExportTraceServiceRequest.FromString(body)
        for group in request.resource_spans:
            resource = {one.key: one.value.string_value for one in group.resource.attributes}
            self.spans += [
                Received(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    resource["radmeter.role"],
                    (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                    tuple(link.span_id.hex() for link in span.links),
                    {
                        one.key: getattr(one.value, one.value.WhichOneof("value") or "")
                        for one in span.attributes
                    },
                    span.status.code == 2,
                )
                for scope in group.scope_spans
                for span in scope.spans
            ]


@contextmanager
def collector() -> Iterator[Collector]:
    port = free_port()
    kept = Collector(f"http://127.0.0.1:{port}")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            assert self.path == "/v1/traces"
            kept.take(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
