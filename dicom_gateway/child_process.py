"""Run one of our functions on untrusted bytes in a fresh process that can be lost.

The child gets its request as JSON on standard input and writes its answer as JSON to a file; nothing is
pickled. It has a small environment of its own (no database address, no key), its own session, and limits
on memory, processor time, wall-clock time and file size that it sets before it reads any outside byte.
It is forked from `child_server`, which this process starts with the first child and which ends with it.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

# os.EX_* lack "out of memory"; this one is ours, outside the ranges that Python and shells use.
EXIT_OUT_OF_MEMORY = 80
ANSWER_BYTES_MAX = 256 << 20
STDERR_TAIL_BYTES = 4096
_STATUS_BYTES_MAX = 16
_CHILDREN_MAX = 4
_Item = TypeVar("_Item")
# A killed process ends as soon as the kernel has freed its memory.
_KILL_S = 30.0
_PACKAGE_ROOT = Path(__file__).resolve().parent.parent
_INHERITED_VARIABLES = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True)
class ChildLimits:
    """What one child may use.

    memory_bytes: address space (RLIMIT_AS), libraries and thread stacks included: Python, numpy and the
        codecs alone take about 200 MiB of it.
    cpu_s: processor seconds of all its threads together (RLIMIT_CPU).
    wall_clock_s: seconds from start to answer, then the whole session of the child is killed.
    file_bytes: largest file that it may write (RLIMIT_FSIZE).
    """

    memory_bytes: int = 1 << 30
    cpu_s: int = 60
    wall_clock_s: float = 120.0
    file_bytes: int = 256 << 20


class ChildError(Exception):
    """A child process did not answer. `stderr_tail` may quote file contents: never log it."""

    def __init__(self, sentence: str, stderr_tail: str = "") -> None:
        super().__init__(sentence)
        self.stderr_tail = stderr_tail


class ChildOutOfMemory(ChildError):
    """The child needed more memory than its limit allows."""


class ChildTimedOut(ChildError):
    """The child used up its processor time or its wall-clock time."""


class ChildCrashed(ChildError):
    """The child ended by a signal or an exception that it does not handle."""


def run_child(
    function: str,
    arguments: dict[str, Any],
    limits: ChildLimits | None = None,
    *,
    main: str = "dicom_gateway.child_main",
) -> dict[str, Any]:
    """Run `function`, a name in the `FUNCTIONS` of the module `main`, in a fresh child and return its answer.

    arguments: plain JSON values. Raises a `ChildError` when there is no whole answer.
    """
    limits = limits or ChildLimits()
    with tempfile.TemporaryDirectory(prefix="radmeter-child-") as folder:
        answer_path = Path(folder, "answer.json")
        request_path = Path(folder, "request.json")
        request = {
            "function": function,
            "arguments": arguments,
            "limits": asdict(limits),
            "answer_path": str(answer_path),
        }
        request_path.write_text(json.dumps(request), encoding="utf-8")
        with request_path.open("rb") as request_file, Path(folder, "stderr").open("w+b") as stderr:
            code = _run_to_end(main, request_file, stderr, limits.wall_clock_s)
            _raise_for_exit(code, limits, _tail(stderr))
        return _read_answer(answer_path)


def _run_to_end(main: str, request_file: IO[bytes], stderr: IO[bytes], wall_clock_s: float) -> int | None:
    """The child's return code (negative: signal number), None when it had to be killed at its deadline."""
    ours, minders = socket.socketpair()
    with ours:
        with minders:
            _server.fork(main, request_file.fileno(), stderr.fileno(), minders.fileno())
        ours.settimeout(wall_clock_s)
        try:
            status = ours.recv(_STATUS_BYTES_MAX)
        except TimeoutError:
            ours.shutdown(socket.SHUT_WR)  # its minder kills it, and tells when it has
            ours.settimeout(_KILL_S)
            ours.recv(_STATUS_BYTES_MAX)
            return None
    if not status:
        raise ChildCrashed("was lost")
    return int(status)


def in_parts(items: Sequence[_Item], items_min: int) -> list[Sequence[_Item]]:
    """The items, in order, in as many parts as children may work at a time; none but a single part has fewer."""
    count = max(1, min(_CHILDREN_MAX, len(os.sched_getaffinity(0)), len(items) // items_min))
    edges = [len(items) * number // count for number in range(count + 1)]
    return [items[start:end] for start, end in itertools.pairwise(edges)]


class _Server:
    """The process that children are forked from; another is started when it is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None

    def fork(self, *request: Any) -> None:
        """request: name of the module to run, descriptors of standard input, standard error and status socket."""
        module, *descriptors = request
        with self._lock:
            if self._control is not None:
                with contextlib.suppress(ConnectionError):
                    socket.send_fds(self._control, [module.encode()], descriptors)
                    return
                self._control.close()
            self._control = self._start()
            socket.send_fds(self._control, [module.encode()], descriptors)

    @staticmethod
    def _start() -> socket.socket:
        ours, servers = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with servers:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dicom_gateway.child_server", str(servers.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                cwd="/",
                pass_fds=[servers.fileno()],
                start_new_session=True,
            )

        def end() -> None:
            with contextlib.suppress(OSError):
                ours.shutdown(socket.SHUT_RDWR)
            process.wait()

        atexit.register(end)
        return ours


_server = _Server()


def _environment() -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ}
    return inherited | {
        "PYTHONPATH": str(_PACKAGE_ROOT),
        "PYTHONWARNINGS": "ignore",
        "LC_ALL": "C.UTF-8",
        # Every arena of glibc and every BLAS thread reserves tens of MiB of the address space limit.
        "MALLOC_ARENA_MAX": "2",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _raise_for_exit(code: int | None, limits: ChildLimits, stderr_tail: str) -> None:
    if code == 0:
        return
    if code is None:
        raise ChildTimedOut(f"no answer within {limits.wall_clock_s:g} s", stderr_tail)
    if code == -signal.SIGXCPU:
        raise ChildTimedOut(f"more than {limits.cpu_s} s of processor time", stderr_tail)
    # SIGKILL that we did not send: the system's out-of-memory killer, or the hard processor limit.
    if code in (EXIT_OUT_OF_MEMORY, -signal.SIGKILL):
        raise ChildOutOfMemory(f"more than {limits.memory_bytes >> 20} MiB of memory", stderr_tail)
    if code < 0:
        raise ChildCrashed(f"ended by {signal.Signals(-code).name}", stderr_tail)
    raise ChildCrashed(f"ended with exit status {code}", stderr_tail)


def _tail(stderr: IO[bytes]) -> str:
    size = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, size - STDERR_TAIL_BYTES))
    return stderr.read().decode("utf-8", "replace")


def _read_answer(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > ANSWER_BYTES_MAX:
            raise ChildCrashed(f"its answer exceeds {ANSWER_BYTES_MAX >> 20} MiB")
        answer = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ChildCrashed("its answer cannot be read") from error
    if not isinstance(answer, dict):
        raise ChildCrashed("its answer is not an object")
    return answer
