"""A portal behind a real uvicorn on loopback, and clients that store by it."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from prometheus_client import CollectorRegistry

from dicom_gateway.file_meta import part10_header
from portal.app import create_app
from portal.auth import create_api_key
from portal.http_protocol import LargeBodyProtocol
from portal.streamed_body import BodyLimits
from tests.dicom_peers import ct_data_set
from tests.portal.portal_site import Site

CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
BOUNDARY = "gc0p4Jq0M2Yt08jU534c0p"
STOW_TYPE = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


def part10(uid: str, data: bytes | None = None, *, study: str = "1.2.3", syntax: str = EXPLICIT) -> bytes:
    return part10_header(CT, uid, syntax, "ELSEWHERE") + (
        ct_data_set(uid, study=study) if data is None else data
    )


def multipart(files: list[bytes], part_type: str = "application/dicom") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: {part_type}\r\n\r\n".encode()
    return b"".join(head + content + b"\r\n" for content in files) + f"--{BOUNDARY}--".encode()


@dataclasses.dataclass
class LivePortal:
    """port: where it listens. key: of the peer CDS of tenant alpha."""

    site: Site
    app: Any
    port: int
    key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def root(self) -> Path:
        return self.site.context.data_root / "instances"

    def stow(self, files: list[bytes], study: str = "", **headers: str) -> httpx.Response:
        return self.post(multipart(files), study, **headers)

    def post(self, body: Any, study: str = "", **headers: str) -> httpx.Response:
        sent = {"authorization": f"Bearer {self.key}", "content-type": STOW_TYPE}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        path = f"/dicom-web/studies/{study}" if study else "/dicom-web/studies"
        return httpx.post(self.url + path, content=body, headers=sent, timeout=60, verify=False)

    def raw(self, length: int | None = None, path: str = "/dicom-web/studies") -> socket.socket:
        """A connection on which the head of a request has been sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        size = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: {STOW_TYPE}\r\n{size}\r\n\r\n".encode()
        )
        return connection

    def instances(self) -> list[dict[str, Any]]:
        return self.site.owner.execute("SELECT * FROM instance ORDER BY sop_instance_uid").fetchall()

    def stored_files(self) -> list[Path]:
        return sorted(self.root.glob("??/*/*.dcm"))

    def temporary_files(self) -> list[Path]:
        return sorted(self.root.rglob("*.part"))


@contextlib.contextmanager
def live_portal(site: Site, limits: BodyLimits | None = None, **changes: Any) -> Iterator[LivePortal]:
    """A portal that listens, with the peer CDS of tenant alpha and its key."""
    context = dataclasses.replace(
        site.context, **{"free_bytes_min": 0, "registry": CollectorRegistry(), **changes}
    )
    site.owner.execute(
        "INSERT INTO peer (tenant, ae_title, host, port) VALUES ('alpha', 'CDS', '', 104) ON CONFLICT DO NOTHING"
    )
    with site.database.transaction("alpha") as conn:
        key = create_api_key(conn, "alpha", "workstation", ae_title="CDS")
    app = create_app(context)
    if limits is not None:
        app.state.intake.limits = limits
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="error", access_log=False, http=LargeBodyProtocol)
    )
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield LivePortal(site, app, listener.getsockname()[1], key)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
