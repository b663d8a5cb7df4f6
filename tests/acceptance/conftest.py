"""A small chest phantom that the model can read, as DICOM studies of their own, and a running server."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from dicom_gateway.deliver_dimse import send_instances
from dicom_gateway.scu_association import Destination
from dicom_gateway.write_ct import write_ct_series
from models.lung_nodule_ct.phantom import Phantom
from study.study import Patient
from tests.server_process import RunningServer
from tests.small_chest import small_chest


@dataclass(frozen=True)
class MadeStudy:
    """A study on disk: one series of one phantom."""

    folder: Path
    files: tuple[Path, ...]
    study_instance_uid: str
    patient: Patient


_SERVERS = pytest.StashKey[list[RunningServer]]()

MakeStudy = Callable[[str], MadeStudy]


def send(server: RunningServer, study: MadeStudy) -> None:
    """From the peer PACS, every image acknowledged."""
    destination = Destination("127.0.0.1", server.dicom_port, "RADMETER", "PACS")
    assert all(one.acknowledged for one in send_instances(study.files, destination))


def command(server: RunningServer, *arguments: str | Path) -> str:
    """What a command that succeeds prints."""
    done = server.command(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    return small_chest(nodule_count=3)


@pytest.fixture(scope="session")
def make_study(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> MakeStudy:
    """`make_study("a")`: the phantom as a study of its own for each name."""

    def make(name: str) -> MadeStudy:
        folder = tmp_path_factory.mktemp("study")
        patient = Patient(
            patient_id=f"MARKER-{name}-ID", name=f"Marker^{name}", birth_date="19700101", sex="O"
        )
        files = write_ct_series(phantom.voxels, phantom.spacing_mm, folder, patient=patient, seed=name)
        uid = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
        return MadeStudy(folder, tuple(files), uid, patient)

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what its servers said: their folders are gone when somebody looks."""
    report = yield
    if report.failed:
        for server in item.stash.get(_SERVERS, []):
            report.sections.append(("server.log", server.log_tail(120)))
    return report


@pytest.fixture
def start_server(request: pytest.FixtureRequest) -> Iterator[Callable[..., RunningServer]]:
    """`start_server(WORKER_CONCURRENCY="4")`; every process is ended after the test, however it ends."""
    servers: list[RunningServer] = []
    request.node.stash[_SERVERS] = servers

    def start(**options: str) -> RunningServer:
        servers.append(RunningServer.new(**options))
        return servers[-1].start()

    yield start
    for server in servers:
        server.remove()
