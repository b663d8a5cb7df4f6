"""An acceptor of our own on a free port; difficult cases made from a real series."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.peers import Peer
from dicom_gateway.receive_dimse import Acceptor, AcceptorSettings, Listener
from dicom_gateway.retrieved_instances import RetrievedInstances, RetrieveLimits
from dicom_gateway.service_desk import ServiceDesk
from tests.dicom_peers import MemorySink, RunningAcceptor, StartAcceptor

__all__ = ["MemorySink", "RunningAcceptor", "StartAcceptor"]


@pytest.fixture
def start_acceptor(tmp_path: Path) -> Iterator[StartAcceptor]:
    """A function that starts an acceptor: keyword arguments are settings, `sink=` a sink of your own."""
    running: list[RunningAcceptor] = []

    def start(
        sink: MemorySink | None = None,
        durable: bool = True,
        desk: ServiceDesk | None = None,
        listeners: Sequence[Listener] = (),
        **settings: object,
    ) -> RunningAcceptor:
        root = tmp_path / f"store{len(running)}"
        own_sink = sink or MemorySink()
        values = {
            "port": 0,
            "free_bytes_min": 0,
            "free_bytes_for_associations": 0,
            "reserve_bytes": 0,
        } | settings
        acceptor = Acceptor(
            AcceptorSettings(storage_root=root, **values),
            own_sink,
            durable=durable,
            desk=desk,
            listeners=listeners,
        )
        port, *_ = acceptor.listen()
        thread = threading.Thread(target=acceptor.serve_forever, name="acceptor", daemon=True)
        thread.start()
        running.append(RunningAcceptor(acceptor, own_sink, port, root, thread))
        return running[-1]

    yield start
    for each in running:
        each.stop(grace_s=0.5)


@pytest.fixture
def acceptor(start_acceptor: StartAcceptor) -> RunningAcceptor:
    """An acceptor with default limits."""
    return start_acceptor()


@pytest.fixture
def taken(tmp_path: Path) -> Callable[..., RetrievedInstances]:
    """Where a retrieval goes: a store below `tmp_path` and books in memory. Keyword arguments are limits."""
    sink = MemorySink()

    def make(study: str = "1.2.3", **limits: float) -> RetrievedInstances:
        store = InstanceStore(tmp_path / "store", durable=False)
        return RetrievedInstances(store, sink, Peer("clinic", "PACS"), study, RetrieveLimits(**limits))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def made_cases(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Difficult series and hostile files, derived from a real series of eight slices."""
    out = tmp_path_factory.mktemp("cases")
    tool = shared_data.parent / "tools" / "make_cases.py"
    source = shared_data / "ct_chest_lungdx_A0002" / "dicom"
    subprocess.run(
        [sys.executable, str(tool), str(source), str(out), "--slices", "8"],
        check=True, capture_output=True, env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    return out
