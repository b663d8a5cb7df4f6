"""One process of `radmeter serve --role` on a machine of its own: started, told to stop, killed, frozen."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from dicom_gateway.scu_association import Destination
from tests.conftest import ROOT


@dataclass
class Node:
    """One process of `radmeter serve --role` and what it started. prefix: what puts it on its machine."""

    name: str
    role: str
    address: str
    port: int
    folder: Path
    environment: dict[str, str]
    prefix: list[str] = field(default_factory=list)
    code: Path = ROOT
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    is_wanted: bool = True
    exits: list[int] = field(default_factory=list)

    def start(self) -> None:
        self.is_wanted = True
        self.starts += 1
        Path(self.environment["RADMETER_DATA"]).mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "server", "serve", "--role", self.role],
                cwd=self.folder,
                env=self.environment | {"PYTHONPATH": str(self.code), "TMPDIR": str(self.folder)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def log_path(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def destination(self) -> Destination:
        return Destination(self.address, self.port, "RADMETER", "PACS", dimse_timeout_s=30)

    def tree(self) -> list[psutil.Process]:
        """The process and its children, receivers say."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if self.process is not None and self.process.poll() is None:
                parent = psutil.Process(self.process.pid)
                return [parent, *parent.children(recursive=True)]
        return []

    def signal(self, number: int) -> None:
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill(self) -> None:
        """As if its machine lost power; the caretaker starts it again."""
        victims = self.tree()
        self.signal(signal.SIGKILL)
        psutil.wait_procs(victims, 10)

    def stop(self, timeout_s: float = 60.0) -> int:
        """SIGTERM to the role's process, and nobody starts it again; returns the exit code."""
        assert self.process is not None
        self.is_wanted = False
        self.process.terminate()
        return self.process.wait(timeout_s)
