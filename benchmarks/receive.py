"""Receiving CT slices by C-STORE: radmeter's acceptor beside storescp and pynetdicom, in one run.

One sender with pre-encoded PDUs and TCP_NODELAY; receivers take turns, each in a fresh process and folder;
the median of the rounds counts. CPU is the receiver's, without the sender, PostgreSQL or the start.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.store_sender import CALLED_AE_TITLE, ct_objects, send

IMAGE_COUNT = 150
ROUNDS = 5
STORESCP = "storescp"
RECEIVERS = ("radmeter_database", "radmeter", "radmeter_no_fsync", STORESCP, "pynetdicom")

_GIB = 1024**3
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_READY_S = 60.0
_REAPED_S = 5.0


@dataclass(frozen=True)
class Round:
    images_per_s: float
    cpu_s_per_gib: float
    peak_rss_mib: float


def run(image_count: int = IMAGE_COUNT, rounds: int = ROUNDS) -> dict[str, Any]:
    """Figures of each receiver that is installed, and the ratios to storescp."""
    receivers = [name for name in RECEIVERS if name != STORESCP or shutil.which(STORESCP)]
    objects = ct_objects(image_count)
    measured: dict[str, list[Round]] = {name: [] for name in receivers}
    for _ in range(rounds):
        for name in receivers:
            measured[name].append(_measure(name, objects))
    figures: dict[str, Any] = {name: _median(each) for name, each in measured.items()}
    if STORESCP in figures:
        reference = figures[STORESCP]["images_per_s"]
        for name in receivers:
            figures[name]["times_storescp"] = figures[name]["images_per_s"] / reference
    return {"image_count": image_count, "rounds": rounds, **figures}


def _measure(name: str, objects: list[tuple[str, bytes]]) -> Round:
    with (
        tempfile.TemporaryDirectory(prefix="radmeter-bench-") as folder,
        _receiver(name, Path(folder)) as child,
    ):
        process, port = child
        send(port, objects[:5])  # what is loaded or allocated once
        before_s = _cpu_s(process.pid)
        sent = send(port, objects)
        cpu_s = _cpu_s(process.pid) - before_s
        return Round(
            images_per_s=sent.image_count / sent.seconds,
            cpu_s_per_gib=cpu_s / (sent.data_set_bytes / _GIB),
            peak_rss_mib=_peak_rss_mib(process.pid),
        )


def _median(rounds: list[Round]) -> dict[str, float]:
    return {
        field: statistics.median(getattr(each, field) for each in rounds)
        for field in ("images_per_s", "cpu_s_per_gib", "peak_rss_mib")
    }


@contextmanager
def _receiver(name: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A receiver's process and port; it is ended and waited for."""
    port = _free_port() if name == STORESCP else 0
    if name == STORESCP:
        command = [STORESCP, "--fork", "--bit-preserving", "--max-pdu", "131072", "-aet", CALLED_AE_TITLE]
        command += ["--output-directory", str(folder), str(port)]
    else:
        command = [sys.executable, "-m", "benchmarks.receivers", name, str(folder)]
    environment = os.environ | {"TCP_NODELAY": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        if name != STORESCP:
            port = int(process.stdout.readline())
        _wait_for(port)
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("the receiver does not listen")


def _cpu_s(pid: int) -> float:
    """User and system time of a process and of its children that have ended and were waited for."""
    deadline = time.monotonic() + _REAPED_S
    while _has_forked(pid) and time.monotonic() < deadline:
        time.sleep(0.05)  # storescp collects the process of an association only at its next turn
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / _TICKS_PER_S


def _has_forked(pid: int) -> bool:
    """Whether a copy of this very program is its child; PostgreSQL below a receiver is another program."""
    name = Path(f"/proc/{pid}/comm").read_text()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return any(Path(f"/proc/{child}/comm").read_text() == name for child in children)


def _peak_rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _print_table(result: dict[str, Any]) -> None:
    print(f"{'receiver':<20}{'images/s':>10}{'CPU s/GiB':>12}{'RSS MiB':>10}{'x storescp':>12}")
    for name, figure in result.items():
        if isinstance(figure, dict):
            row = (figure["images_per_s"], figure["cpu_s_per_gib"], figure["peak_rss_mib"])
            ratio = f"{figure['times_storescp']:.2f}" if "times_storescp" in figure else "-"
            print(f"{name:<20}{row[0]:>10.0f}{row[1]:>12.2f}{row[2]:>10.0f}{ratio:>12}")


if __name__ == "__main__":
    _print_table(run())
