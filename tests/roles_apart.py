"""The roles of `radmeter serve` as processes of their own against one database, as on Kubernetes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from pipeline import peers
from server.installation import FIRST_TENANT, create_tenant, owner_connection
from tests.ports import free_port
from tests.server_process import end

START_TIMEOUT_S = 60.0


@dataclass
class RolesApart:
    """Role → process. All share a folder, as on one node; options: settings by variable without prefix."""

    database_url: str
    options: dict[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="radmeter-apart-")))

    def __post_init__(self) -> None:
        self.dicom_port, self.http_port = free_port(), free_port()
        self.health_ports: dict[str, int] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def add_peer(self, ae_title: str, port: int = 104, **values: Any) -> None:
        """A sender of the first tenant, which is made with it."""
        with owner_connection(self.database_url, FIRST_TENANT) as conn:
            known = conn.execute("SELECT 1 FROM tenant WHERE tenant = %s", (FIRST_TENANT,)).fetchone()
            if known is None:
                create_tenant(conn, FIRST_TENANT, "Hospital", "RADMETER")
            peers.save_peer(conn, FIRST_TENANT, ae_title=ae_title, host="127.0.0.1", port=port, **values)

    def start(self, *roles: str, wait: bool = True) -> None:
        for role in roles:
            self.health_ports[role] = self.http_port if role == "portal" else free_port()
            inherited = {
                name: value for name, value in os.environ.items() if not name.startswith("RADMETER_")
            }
            ours = {
                "DATA": str(self.folder),
                "DATABASE_URL": self.database_url,
                "DICOM_PORT": str(self.dicom_port),
                "HTTP_PORT": str(self.http_port),
                "HEALTH_PORT": str(self.health_ports[role]),
                "RECEIVER_PROCESSES": "1",
                "DRAIN_S": "5",
            }
            values = {f"RADMETER_{name}": value for name, value in (ours | self.options).items()}
            place = str(Path(__file__).resolve().parent.parent)
            with (self.folder / f"{role}.log").open("ab") as log_file:
                self.processes[role] = subprocess.Popen(
                    [sys.executable, "-m", "server", "serve", "--role", role],
                    cwd=self.folder, env=inherited | values | {"PYTHONPATH": place}, stderr=log_file, stdout=log_file,
                )  # fmt: skip
        for role in roles if wait else ():
            self.wait(lambda role=role: self.readiness(role)[0] == 200, f"{role} is ready")  # type: ignore[misc]

    def get(self, role: str, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.health_ports[role]}{path}", timeout=10, verify=False)

    def readiness(self, role: str) -> tuple[int, dict[str, str]]:
        """Status of /readyz, 0 while nobody listens, and the checks."""
        try:
            answer = self.get(role, "/readyz")
        except httpx.HTTPError:
            return 0, {}
        return answer.status_code, answer.json()["checks"]

    def log(self, role: str) -> str:
        return (self.folder / f"{role}.log").read_text(errors="replace")

    def wait(self, claim: Callable[[], bool], what: str, timeout_s: float = START_TIMEOUT_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not claim():
            dead = [role for role, process in self.processes.items() if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = "".join(self.log(role)[-2000:] for role in self.processes)
                raise AssertionError(f"not: {what}; ended: {dead}\n{logs}")
            time.sleep(0.1)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            end(process)
