"""C-MOVE to ourselves, C-GET and WADO-RS from real archives: what arrives is what was stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest

from dicom_gateway import retrieve_dicomweb, retrieve_dimse
from dicom_gateway.dicomweb_client import DicomWebServer
from dicom_gateway.retrieved_instances import RetrievedInstances, RetrieveOutcome
from dicom_gateway.scu_association import Destination
from tests import archive_peers
from tests.archive_peers import RunningArchive, write_study
from tests.dicom_peers import StartAcceptor, data_set_of

pytestmark = pytest.mark.peer

A, RLE = "1.2.826.1", "1.2.840.10008.1.2.5"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_study(tmp_path_factory.mktemp("study"), A, (3, 2))


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory, files: list[Path]) -> Iterator[RunningArchive]:
    with archive_peers.orthanc(tmp_path_factory.mktemp("orthanc")) as archive:
        archive.store(files)
        yield archive


@pytest.fixture(scope="module")
def dcmqrscp(tmp_path_factory: pytest.TempPathFactory, files: list[Path]) -> Iterator[RunningArchive]:
    with archive_peers.dcmqrscp(tmp_path_factory.mktemp("dcmqrscp")) as archive:
        archive.store(files)
        yield archive


def data_sets(paths: list[Path]) -> set[bytes]:
    return {data_set_of(path) for path in paths}


def stored(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "store").glob("??/*/*.dcm"))


@pytest.mark.parametrize("way", ["orthanc get", "dcmqrscp get", "orthanc wado"])
class TestOnOurOwnConnection:
    def fetch(
        self, request: pytest.FixtureRequest, way: str, instances: RetrievedInstances
    ) -> RetrieveOutcome:
        archive: RunningArchive = request.getfixturevalue(way.split()[0])
        study = instances._study_instance_uid
        if way.endswith("wado"):
            return retrieve_dicomweb.retrieve(DicomWebServer(archive.url), study, instances)
        return retrieve_dimse.get(archive.destination, study, instances)

    def test_the_study_arrives_byte_for_byte(
        self, request: pytest.FixtureRequest, way: str, taken: Callable[..., RetrievedInstances],
        tmp_path: Path, files: list[Path],
    ) -> None:  # fmt: skip
        assert self.fetch(request, way, taken(A)) == RetrieveOutcome(5, 0, None)
        assert data_sets(stored(tmp_path)) == data_sets(files)
        assert self.fetch(request, way, taken(A)).completed == 5
        assert len(stored(tmp_path)) == 5, "the same objects again are no second copies"

    def test_more_instances_than_wanted_are_refused(
        self,
        request: pytest.FixtureRequest,
        way: str,
        taken: Callable[..., RetrievedInstances],
        tmp_path: Path,
    ) -> None:
        outcome = self.fetch(request, way, taken(A, instances_max=2))
        assert outcome.completed == 2
        assert outcome.error
        assert len(stored(tmp_path)) == 2
        assert list((tmp_path / "store" / "incoming").rglob("*.part")) == []

    def test_an_unknown_study_brings_nothing_and_says_so_or_is_empty(
        self,
        request: pytest.FixtureRequest,
        way: str,
        taken: Callable[..., RetrievedInstances],
        tmp_path: Path,
    ) -> None:
        assert self.fetch(request, way, taken("1.2.3.404")).completed == 0
        assert stored(tmp_path) == []


@pytest.mark.parametrize("kind", ["orthanc", "dcmqrscp"])
class TestMove:
    def test_the_study_comes_to_our_acceptor(
        self, request: pytest.FixtureRequest, kind: str, start_acceptor: StartAcceptor, files: list[Path]
    ) -> None:
        archive: RunningArchive = request.getfixturevalue(kind)
        acceptor = start_acceptor(port=archive.move_port)
        assert retrieve_dimse.move(archive.destination, A) == RetrieveOutcome(5, 0, None)
        assert data_sets(acceptor.stored_files()) == data_sets(files)

    def test_nobody_takes_what_is_moved(self, request: pytest.FixtureRequest, kind: str) -> None:
        archive: RunningArchive = request.getfixturevalue(kind)
        outcome = retrieve_dimse.move(archive.destination, A)
        assert outcome.completed == 0
        assert outcome.error

    def test_an_archive_that_does_not_know_us_cannot_move(
        self, request: pytest.FixtureRequest, kind: str
    ) -> None:
        archive: RunningArchive = request.getfixturevalue(kind)
        stranger = Destination("127.0.0.1", archive.port, archive.ae_title, "STRANGER")
        outcome = retrieve_dimse.move(stranger, A)
        assert outcome.completed == 0
        assert outcome.error


def test_compressed_instances_come_as_they_are(
    orthanc: RunningArchive, taken: Callable[..., RetrievedInstances], shared_data: Path, tmp_path: Path
) -> None:
    """A real RLE slice by C-GET: nothing is transcoded for us."""
    path = sorted((shared_data / "ct_chest_lungdx_A0002" / "dicom").iterdir())[0]
    header = pydicom.dcmread(path, stop_before_pixels=True)
    assert header.file_meta.TransferSyntaxUID == RLE
    orthanc.store([path])
    study = str(header.StudyInstanceUID)
    assert retrieve_dimse.get(orthanc.destination, study, taken(study)).error is None
    (arrived,) = stored(tmp_path)
    assert data_set_of(arrived) == data_set_of(path)
