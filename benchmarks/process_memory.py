"""Runs a command and keeps the peak memory of each kind of process below it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_INTERVAL_S = 0.05
_PROC = Path("/proc")


@dataclass(frozen=True)
class Measured:
    """exit_code and wall_s of the command; peak_rss_mib: process → its highest resident set (VmHWM), in MiB.

    Of several processes of one kind the largest counts. Shared memory (PostgreSQL's buffers) counts in each.
    peak_together_mib: the most that all processes held in one moment, what they share divided among them (Pss), in MiB.
    """

    exit_code: int
    wall_s: float
    peak_rss_mib: dict[str, float]
    peak_together_mib: float
    output: str


def measure(command: Sequence[str], environment: Mapping[str, str], log: Path, timeout_s: float) -> Measured:
    """Run `command` to its end, its output to `log`. Memory comes from /proc: none but on Linux."""
    began = time.monotonic()
    peaks: dict[int, tuple[str, float]] = {}
    together = 0.0
    with log.open("wb") as sink:
        process = subprocess.Popen(
            list(command), env=dict(environment), stdout=sink, stderr=subprocess.STDOUT
        )
        try:
            while process.poll() is None:
                if time.monotonic() - began > timeout_s:
                    raise TimeoutError(f"{command[0]} took more than {timeout_s} s; see {log}")
                pids = _tree(process.pid)
                together = max(together, sum(map(_share_mib, pids)))
                for pid in pids:
                    sample = _sample(pid)
                    if sample is not None:
                        peaks[pid] = sample
                time.sleep(_INTERVAL_S)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    wall_s = time.monotonic() - began
    largest: dict[str, float] = {}
    for kind, mib in peaks.values():
        largest[kind] = max(mib, largest.get(kind, 0.0))
    return Measured(
        process.returncode,
        wall_s,
        dict(sorted(largest.items())),
        together,
        log.read_text(errors="replace"),
    )


def _tree(root: int) -> list[int]:
    """`root` and all that descend from it."""
    children: dict[int, list[int]] = {}
    if _PROC.is_dir():
        for entry in _PROC.iterdir():
            if entry.name.isdigit():
                parent = _parent(entry)
                if parent is not None:
                    children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting.extend(children.get(pid, []))
    return found


def _parent(entry: Path) -> int | None:
    try:
        # The command's name, in brackets, may hold spaces and brackets itself.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _sample(pid: int) -> tuple[str, float] | None:
    try:
        arguments = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return None
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    return (
        (kind_of([part.decode(errors="replace") for part in arguments]), int(peak[1]) / 1024)
        if peak
        else None
    )


def _share_mib(pid: int) -> float:
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", (_PROC / str(pid) / "smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def kind_of(arguments: Sequence[str]) -> str:
    """What a process is, read off its command line."""
    line = " ".join(arguments)
    role = re.search(r"--role[= ](\w+)", line)
    module = re.search(r" -m ([\w.]+)", line)
    if role is not None:
        return role[1]
    if "postgres" in arguments[0]:
        return "postgres"
    if module is not None:
        words = [word for word in line.split(module[0], 1)[1].split() if re.fullmatch(r"[a-z_]+", word)]
        return " ".join([module[1], *words[:1]])
    return Path(arguments[0]).name if arguments[0] != sys.executable else "python"
