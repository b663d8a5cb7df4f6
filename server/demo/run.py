"""The demo's course: start the server and the PACS, send, watch, show."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console

from billing.contracts import store as billing_store
from pipeline import peers, store
from portal import auth
from server.demo import show
from server.demo.pacs import AE_TITLE as PACS_AE_TITLE
from server.demo.phantom import TrueNodule, phantom_study
from server.embedded_postgres import running_url
from server.errors import CommandFailed
from server.installation import FIRST_TENANT, owner_connection
from server.settings import Settings, load_settings

CONTRACT = Path(__file__).resolve().parent.parent.parent / "examples/contract_per_case.yaml"
_QUIET_TIME_S = 2.0
_START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Stage:
    """The running demo: its settings, its folders, its sign-in."""

    settings: Settings
    pacs_port: int
    received: Path
    password: str

    @property
    def url(self) -> str:
        return f"http://{self.settings.http_host}:{self.settings.http_port}"


def run(study: Path | None, *, again: bool, stay: bool) -> int:
    """Exit code 0 when the study was delivered (or refused with a reason, for a study of the user's)."""
    console = Console()
    # Also when it is told to end, it leaves by the `finally` that ends its server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    settings = _settings()
    truth: list[TrueNodule] = []
    if study is None:
        console.print("Making a synthetic chest CT with known nodules (once, kept for later runs) …")
        study, truth = phantom_study(settings.data_directory / "phantom")
    with _stage(settings, console) as stage:
        outcome = _play(stage, study, console)
        if again:
            console.rule("the same study once more")
            outcome = _play(stage, study, console)
        show.show_result(stage, outcome, truth, console)
        if stay:
            console.print("\nThe portal stays up until Ctrl-C.")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    return 0 if outcome.status in ("delivered", "rejected") else 1


def _settings() -> Settings:
    """The demo's own data directory; the usual ports, or free ones where those are taken."""
    environment = {"RADMETER_DATA": str(Path("demo-data").resolve())} | dict(os.environ)
    settings = load_settings(environment)
    settings.data_directory.mkdir(parents=True, exist_ok=True)
    return replace(
        settings,
        dicom_port=_free_port(settings.dicom_port),
        http_port=_free_port(settings.http_port),
        dicom_host="127.0.0.1",
        http_host="127.0.0.1",
    )


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise CommandFailed("no free TCP port")


@contextmanager
def _stage(settings: Settings, console: Console) -> Iterator[Stage]:
    """Server up, peer and contract known, a sign-in that works; everything ended at the end."""
    console.print("Starting radmeter (PostgreSQL, DICOM, worker, portal) …")
    environment = os.environ | {
        "RADMETER_DATA": str(settings.data_directory),
        "RADMETER_DICOM_HOST": settings.dicom_host,
        "RADMETER_DICOM_PORT": str(settings.dicom_port),
        "RADMETER_HTTP_HOST": settings.http_host,
        "RADMETER_HTTP_PORT": str(settings.http_port),
    }
    with (settings.data_directory / "server.log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "server", "serve"],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_ready(server, settings)
        stage = Stage(
            settings=replace(settings, database_url=running_url(settings) or ""),
            pacs_port=_free_port(0),
            received=settings.data_directory / "pacs",
            password=secrets.token_urlsafe(12),
        )
        _prepare(stage)
        yield stage
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(settings.drain_s + 10)
        if server.poll() is None:
            server.kill()


def _wait_until_ready(server: subprocess.Popen[bytes], settings: Settings) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    url = f"http://127.0.0.1:{settings.http_port}/readyz"
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200 and _listens(server.pid, settings.http_port):
                return
        time.sleep(0.2)
    log = settings.data_directory / "server.log"
    last_words = log.read_text("utf-8", errors="replace").strip().rpartition("\n")[2][:300]
    raise CommandFailed(f"the server did not start; the end of {log} says: {last_words}")


def _listens(pid: int, port: int) -> bool:
    """Whether the process or one of its children listens on the port: another server may have taken it."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return any(
        one.laddr.port == port
        for process in family
        for one in process.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN
    )


def _prepare(stage: Stage) -> None:
    """The PACS as a peer, the example contract, a fresh password for the sign-in that is shown at the end."""
    with owner_connection(stage.settings.database_url) as conn:
        peers.save_peer(
            conn,
            FIRST_TENANT,
            ae_title=PACS_AE_TITLE,
            host="127.0.0.1",
            port=stage.pacs_port,
            quiet_time_s=_QUIET_TIME_S,
        )
        if not billing_store.list_contracts(conn, FIRST_TENANT):
            this_month = datetime.now(UTC).strftime("%Y-%m-01")
            text = re.sub(
                r"(?m)^effective_from: .*$", f"effective_from: {this_month}", CONTRACT.read_text("utf-8")
            )
            billing_store.add_contract(conn, FIRST_TENANT, text)
        auth.set_password(conn, FIRST_TENANT, "admin", stage.password)


def _play(stage: Stage, study: Path, console: Console) -> store.StudyRecord:
    """One PACS process sends the study and takes the results, while the table shows the steps."""
    with owner_connection(stage.settings.database_url) as conn:
        row = conn.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row is not None
    command = [sys.executable, "-m", "server.demo.pacs", "--port", str(stage.pacs_port), "--received"]
    command += [str(stage.received), "--send", str(study), "--to-port", str(stage.settings.dicom_port)]
    command += ["--to-ae", stage.settings.called_ae_title]
    pacs = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        return show.watch(stage, since=row["now"], pacs=pacs, console=console)
    finally:
        pacs.terminate()
        pacs.wait()
