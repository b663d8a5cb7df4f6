"""`radmeter serve` as a real process tree with its own data folder and ports, to be used, killed and started again."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from pipeline import peers
from pipeline.status import TERMINAL
from server.embedded_postgres import running_url
from server.installation import FIRST_TENANT, owner_connection
from server.settings import Settings
from tests.ports import free_port

START_TIMEOUT_S, STOP_TIMEOUT_S = 90.0, 30.0
OWN_PASSWORD = "violet tractor hums quietly"  # what the first admin changes the printed one to


@dataclass
class RunningServer:
    """One installation below `sandbox`, which also holds its working and temporary folders.

    Whatever the server writes outside `data` but inside `sandbox` is a mistake of its own.
    """

    sandbox: Path
    options: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.data = self.sandbox / "data"
        self.postgres_folder = self.data / "postgres"
        for folder in (self.data, self.sandbox / "cwd", self.sandbox / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        self.dicom_port, self.http_port = two_free_ports()

    @classmethod
    def new(cls, **options: str) -> RunningServer:
        """In a fresh folder. options: settings by their environment variable without prefix."""
        return cls(Path(tempfile.mkdtemp(prefix="radmeter-server-")), options)

    # --- life ---------------------------------------------------------------------------------------------

    def start(self) -> RunningServer:
        """Start, or start again on the same data, and wait until it is ready."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        with self.log_path.open("ab") as log, self.output_path.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server", "serve"],
                cwd=self.sandbox / "cwd",
                env=self.environment,
                stdout=output,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.wait(lambda: self.readiness() == 200, START_TIMEOUT_S, "the server is ready")
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> int:
        """SIGTERM; returns the exit code. Kills what does not end in time, and says so."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"no end within {STOP_TIMEOUT_S:g} s of SIGTERM:\n{self.log_tail()}"
            ) from None

    def kill(self) -> list[int]:
        """SIGKILL for every process of the installation, the database too, as a power cut would; returns the pids."""
        victims = self.processes()
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        if self.process is not None:
            self.process.wait(STOP_TIMEOUT_S)
        _, alive = psutil.wait_procs(victims, STOP_TIMEOUT_S)
        assert not living(alive), f"processes that outlive SIGKILL: {alive}"
        # What a process that was about to be killed had just started.
        for straggler in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                straggler.kill()
        return [victim.pid for victim in victims]

    def remove(self) -> None:
        """End everything and delete the folder. For teardown: works in any state."""
        try:
            self.kill()
        finally:
            shutil.rmtree(self.sandbox, ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """The supervisor, its children and the database, which is nobody's child."""
        roots = [self.process.pid] if self.process is not None and self.process.poll() is None else []
        postmaster = self.postmaster_pid()
        found: list[psutil.Process] = []
        for pid in [*roots, *([postmaster] if postmaster else [])]:
            with contextlib.suppress(psutil.NoSuchProcess):
                parent = psutil.Process(pid)
                found += [parent, *parent.children(recursive=True)]
        return found

    def postmaster_pid(self) -> int | None:
        """Process id of the installation's database server, if it runs."""
        with contextlib.suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
            pid = int((self.postgres_folder / "postmaster.pid").read_text().splitlines()[0])
            if psutil.Process(pid).name() == "postgres":
                return pid
        return None

    def child(self, role: str) -> psutil.Process:
        """The process of one role: gateway, worker or portal."""
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.cmdline()[-1:] == [role]:
                    return child
        raise AssertionError(f"no process of role {role}")

    # --- what it says -------------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RADMETER_")}
        ours = {
            "RADMETER_DATA": str(self.data),
            "RADMETER_DICOM_PORT": str(self.dicom_port),
            "RADMETER_HTTP_PORT": str(self.http_port),
            "TMPDIR": str(self.sandbox / "tmp"),
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        }
        return inherited | ours | {f"RADMETER_{name}": value for name, value in self.options.items()}

    @property
    def log_path(self) -> Path:
        return self.sandbox / "server.log"

    @property
    def output_path(self) -> Path:
        return self.sandbox / "server.out"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def database_url(self) -> str:
        if "DATABASE_URL" in self.options:
            return self.options["DATABASE_URL"]
        url = running_url(Settings(data_directory=self.data))
        assert url is not None, "the embedded database does not run"
        return url

    @property
    def admin_password(self) -> str:
        """As it was printed once at the first start."""
        match = re.search(r"password: (\S+)", self.output_path.read_text())
        assert match is not None, self.output_path.read_text()
        return match[1]

    def readiness(self) -> int | None:
        """Status of /readyz; None while nobody listens."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=20, verify=False).status_code
        except httpx.HTTPError:
            return None

    def log_tail(self, lines: int = 40) -> str:
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    @contextlib.contextmanager
    def signed_in(self) -> Iterator[httpx.Client]:
        """A browser-like client, signed in as the first admin."""
        with httpx.Client(base_url=self.url, headers={"Origin": self.url}, timeout=60) as client:
            answer = client.post("/sign-in", data={"name": "admin", "password": self.admin_password})
            if answer.status_code == 401:  # it was changed before
                answer = client.post("/sign-in", data={"name": "admin", "password": OWN_PASSWORD})
            else:
                form = {"present": self.admin_password, "new": OWN_PASSWORD, "again": OWN_PASSWORD}
                answer = client.post("/account/password", data=form)
            assert answer.status_code == 303, answer.text
            yield client

    # --- its database -------------------------------------------------------------------------------------

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows as the owner of the schema sees them."""
        with owner_connection(self.database_url) as conn:
            return conn.execute(query, values).fetchall()

    def add_peer(self, ae_title: str, port: int, *, quiet_time_s: float = 1.0, **values: Any) -> None:
        with owner_connection(self.database_url) as conn:
            peers.save_peer(
                conn, FIRST_TENANT, ae_title=ae_title, host="127.0.0.1", port=port,
                quiet_time_s=quiet_time_s, **values,
            )  # fmt: skip

    def study(self, study_instance_uid: str) -> dict[str, Any]:
        """The row of the study, {} while there is none."""
        found = self.rows("SELECT * FROM study WHERE study_instance_uid = %s", study_instance_uid)
        return found[0] if found else {}

    def wait_for_end(self, study_instance_uid: str, timeout_s: float = 180.0) -> dict[str, Any]:
        """The row of the study once it has come to an end and its arrivals are closed."""
        query = """SELECT count(*) AS open FROM arrival a JOIN study s ON s.id = a.study_id
                   WHERE s.study_instance_uid = %s AND a.closed_at IS NULL"""

        def has_ended() -> bool:
            ended = self.study(study_instance_uid).get("status") in TERMINAL
            return ended and self.rows(query, study_instance_uid)[0]["open"] == 0

        self.wait(has_ended, timeout_s, "the study has come to an end")
        return self.study(study_instance_uid)

    def wait(self, claim: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait until `claim` holds; fail early when the supervisor has ended."""
        deadline = time.monotonic() + timeout_s
        while not claim():
            if self.process is None or self.process.poll() is not None:
                raise AssertionError(f"the server ended while waiting until {what}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout_s:g} s: {what}\n{self.log_tail()}")
            time.sleep(0.1)

    def command(self, *arguments: str | Path, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run `radmeter …` against this installation."""
        return radmeter(arguments, self.environment, self.sandbox / "cwd", timeout_s)


def radmeter(
    arguments: Sequence[str | Path],
    environment: dict[str, str],
    folder: Path | None = None,
    timeout_s: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process."""
    return subprocess.run(
        [sys.executable, "-m", "server", *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def living(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; a zombie only waits for the system to count it."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def two_free_ports() -> tuple[int, int]:
    """Not of the range that the system gives out by itself: the server binds them much later."""
    return free_port(), free_port()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def end(process: subprocess.Popen[Any]) -> None:
    """End a peer that a test has started."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    if process.poll() is None:
        process.kill()
        process.wait(5)
