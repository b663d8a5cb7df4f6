"""A tritonserver of our own: found, started on this host, ended with everything that it leaves behind."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inference.errors import EndpointUnavailable, EngineNotPossible
from inference.triton_shared_memory import FOLDER

log = logging.getLogger("radmeter.inference")

_PR_SET_PDEATHSIG = 1
_EXIT_TIMEOUT_S = 5
# The python backend's memory for one model process at its start; it grows with the inputs.
_STUB_BYTES = 64 << 20


@dataclass(frozen=True)
class TritonProgram:
    """How a tritonserver is started. backends, caches: None where the program knows its own."""

    program: Path
    environment: dict[str, str]
    backends: Path | None = None
    caches: Path | None = None

    @classmethod
    def find(cls, place: Path, home: Path) -> TritonProgram:
        """From a virtual environment with nvidia-pytriton, or from the program of an installation of NVIDIA's.

        home: a folder of ours, where the backends of the wheel are put together.
        """
        if place.is_file():
            return cls(place, {})
        packages = sorted(place.glob("lib/python3*/site-packages"))
        server = packages[0] / "pytriton" / "tritonserver" if packages else place
        program = server / "bin" / "tritonserver"
        if not program.is_file():
            raise EngineNotPossible(
                "engine",
                f"there is no tritonserver in {place}: name its program, or a virtual environment made by "
                "`scripts/setup.sh triton`",
            )
        if not packages:
            return cls(program, {})
        version = packages[0].parent.name.removeprefix("python")
        home.mkdir(parents=True, exist_ok=True)
        backends = home / "backends"
        shutil.rmtree(backends, ignore_errors=True)
        shutil.copytree(server / "backends", backends)
        # The process of a model is a program of its own for each version of Python; the wheel keeps them apart.
        shutil.copy2(
            server / "python_backend_stubs" / version / "triton_python_backend_stub", backends / "python"
        )
        return cls(program, _environment(place, packages[0]), backends, server / "caches")

    def knows(self, option: str) -> bool:
        """Whether this version has an option."""
        shown = subprocess.run(
            [self.program, "--help"], env=os.environ | self.environment, capture_output=True, check=False
        )
        return option.encode() in shown.stdout + shown.stderr


def _environment(place: Path, packages: Path) -> dict[str, str]:
    python = place / "bin" / "python"
    asked = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    libraries = subprocess.run(
        [python, "-c", asked], capture_output=True, text=True, check=True
    ).stdout.strip()
    return {
        # PATH tells the model's process whose packages to use. PYTHONPATH would be taken too, by the wrong Python.
        "PATH": f"{place.absolute() / 'bin'}:{os.environ.get('PATH', '')}",
        # That process links libpython, and must get the one of the environment's Python before the system's.
        "LD_LIBRARY_PATH": f"{libraries}:{packages.parent / 'site-packages' / 'nvidia_pytriton.libs'}",
        "PYTHONPATH": "",
        "VIRTUAL_ENV": str(place.absolute()),
    }


class TritonServer:
    """One server process on this host, in explicit model control.

    host, port: of gRPC; metrics_port: of Prometheus text, 0 for none. home: its log and its backends.
    """

    def __init__(
        self, place: Path, home: Path, repository: Path, *, host: str, port: int, metrics_port: int = 0
    ) -> None:
        self._home = home
        self._repository = repository
        self._host, self._port, self._metrics_port = host, port, metrics_port
        self._program = TritonProgram.find(place, home)
        self._process: subprocess.Popen[bytes] | None = None
        # The names of a run that was killed begin like ours: one home has one server at a time.
        self._prefix = f"radmeter_stub_{port}_"

    @property
    def is_from_wheel(self) -> bool:
        """Whether it is that of nvidia-pytriton, which brings the python backend alone."""
        return self._program.backends is not None

    @property
    def pid(self) -> int | None:
        """Of the running process, None when there is none."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log_path(self) -> Path:
        return self._home / "tritonserver.log"

    def start(self, models: list[str]) -> None:
        """Start with these models loaded; returns at once."""
        assert self.pid is None, "it runs already"
        self._sweep()
        with self.log_path.open("ab") as output:
            self._process = subprocess.Popen(
                self._command(models),
                env=os.environ | self._program.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        log.info("triton_started", extra={"port": self._port, "count": len(models)})

    def wait_until(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait for `is_ready`; raises when the process ends before or the time is over."""
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if self.pid is None:
                raise EndpointUnavailable(f"tritonserver ended while it started: {self._last_words()}")
            if time.monotonic() > deadline:
                raise EndpointUnavailable(
                    f"tritonserver was not ready within {timeout_s:g} s: {self._last_words()}"
                )
            time.sleep(0.1)

    def stop(self, grace_s: float = _EXIT_TIMEOUT_S + 3) -> None:
        """End the server and its models' processes, and remove the shared memory that they leave behind.

        grace_s: for requests in progress; 0 for a server that is broken anyway.
        """
        if self._process is None:
            return
        if self._process.poll() is None and grace_s > 0:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        with contextlib.suppress(ProcessLookupError):  # the session, which the models' processes belong to
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        self._sweep()

    def _last_words(self) -> str:
        """Exit code and last line of the log, and where the rest of it is."""
        code = self._process.poll() if self._process is not None else None
        lines = self.log_path.read_text("utf-8", errors="replace").strip().splitlines()
        return f"exit code {code}, {lines[-1][:300] if lines else 'no word'!r} ({self.log_path})"

    def _sweep(self) -> None:
        left = list(FOLDER.glob(f"{self._prefix}*"))
        for path in left:
            path.unlink(missing_ok=True)
        if left:
            log.warning("shared_memory_swept", extra={"count": len(left)})

    def _command(self, models: list[str]) -> list[str]:
        prefix = self._prefix + secrets.token_hex(4)
        command = [
            str(self._program.program),
            f"--model-repository={self._repository}",
            "--model-control-mode=explicit",
            *(f"--load-model={name}" for name in models),
            # The configuration is whole, and without this each model's process is started twice.
            "--disable-auto-complete-config",
            "--exit-on-error=false",
            f"--exit-timeout-secs={_EXIT_TIMEOUT_S}",
            "--allow-http=false",
            f"--grpc-address={self._host}",
            f"--grpc-port={self._port}",
            f"--allow-metrics={'true' if self._metrics_port else 'false'}",
            f"--metrics-address={self._host}",
            f"--metrics-port={self._metrics_port or 8002}",
            f"--backend-config=python,shm-default-byte-size={_STUB_BYTES}",
            f"--backend-config=python,shm-region-prefix-name={prefix}",
        ]
        if self._program.backends is not None:
            command += [
                f"--backend-directory={self._program.backends}",
                f"--cache-directory={self._program.caches}",
            ]
        if self._program.knows("--allow-client-shm"):  # from 26.04 on, off unless it is asked for
            command.append("--allow-client-shm=true")
        return command


def _die_with_parent() -> None:
    """In the child: end when the supervisor dies, however it dies (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
