"""C-FIND and QIDO-RS against real archives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_gateway import dicomweb_client, query_dimse
from dicom_gateway.archive_match import QueryAnswer, QueryLimits
from dicom_gateway.dicomweb_client import DicomWebServer
from dicom_gateway.scu_association import Destination
from tests import archive_peers
from tests.archive_peers import RunningArchive, write_study

pytestmark = pytest.mark.peer

A, B = "1.2.826.1", "1.2.826.2"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("studies")
    first = write_study(folder, A, (3, 2), StudyDescription="CT Thorax", PatientName="Müller^Ada")
    return first + write_study(folder, B, (1,), PatientID="P2")


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


@pytest.fixture(scope="module", params=["orthanc c-find", "orthanc qido", "dcmqrscp"])
def ask(request: pytest.FixtureRequest) -> object:
    """A question to one of the archives, in its language."""
    archive: RunningArchive = request.getfixturevalue(request.param.split()[0])
    if request.param.endswith("qido"):
        server = DicomWebServer(archive.url)
        return lambda *question: dicomweb_client.search(server, *question)
    return lambda *question: query_dimse.find(archive.destination, *question)


class TestEveryArchive:
    def test_studies_of_a_patient(self, ask) -> None:  # type: ignore[no-untyped-def]
        answer: QueryAnswer = ask("STUDY", {"PatientID": "P1"})
        assert (answer.error, answer.unusable) == (None, 0)
        (match,) = answer.matches
        assert (match.uid, match.get("StudyDescription"), match.get("StudyDate")) == (
            A,
            "CT Thorax",
            "20260102",
        )
        assert match.get("PatientBirthDate") == "19700101"

    def test_series_of_a_study_and_instances_of_a_series(self, ask) -> None:  # type: ignore[no-untyped-def]
        series = ask("SERIES", {"StudyInstanceUID": A})
        assert {match.uid: match.get("Modality") for match in series.matches} == {
            f"{A}.1": "CT",
            f"{A}.2": "CT",
        }
        instances = ask("IMAGE", {"StudyInstanceUID": A, "SeriesInstanceUID": f"{A}.1"})
        assert {match.uid for match in instances.matches} == {f"{A}.1.1", f"{A}.1.2", f"{A}.1.3"}

    def test_nothing_found_is_an_answer(self, ask) -> None:  # type: ignore[no-untyped-def]
        assert ask("SERIES", {"StudyInstanceUID": "1.2.3.404"}) == QueryAnswer((), None)

    def test_more_matches_than_wanted_are_cut_off_and_said(self, ask) -> None:  # type: ignore[no-untyped-def]
        keys = {"StudyInstanceUID": A, "SeriesInstanceUID": f"{A}.1"}
        answer = ask("IMAGE", keys, QueryLimits(matches_max=2))
        assert (len(answer.matches), answer.error) == (2, "more than 2 matches")


@pytest.mark.parametrize("language", ["c-find", "qido"])
def test_orthanc_counts_the_instances_of_each_series(orthanc: RunningArchive, language: str) -> None:
    keys = {"StudyInstanceUID": A}
    if language == "qido":
        answer = dicomweb_client.search(DicomWebServer(orthanc.url), "SERIES", keys)
    else:
        answer = query_dimse.find(orthanc.destination, "SERIES", keys)
    assert {match.uid: match.instance_count for match in answer.matches} == {f"{A}.1": 3, f"{A}.2": 2}


def test_qido_pages_through_more_than_a_page(
    orthanc: RunningArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicomweb_client, "_PAGE_MATCHES", 2)
    keys = {"StudyInstanceUID": A, "SeriesInstanceUID": f"{A}.1"}
    answer = dicomweb_client.search(DicomWebServer(orthanc.url), "IMAGE", keys)
    assert (len(answer.matches), answer.error) == (3, None)


def test_an_archive_that_does_not_know_us_or_is_not_there(dcmqrscp: RunningArchive) -> None:
    stranger = Destination("127.0.0.1", dcmqrscp.port, "NOBODY", "RADMETER")
    refused = query_dimse.find(stranger, "STUDY", {"PatientID": "P1"})
    assert refused.error == "association rejected: Called AE title not recognised"
    nowhere = Destination("127.0.0.1", archive_peers.free_port(), "NOBODY", "RADMETER")
    assert query_dimse.find(nowhere, "STUDY", {"PatientID": "P1"}).error == "no connection to the peer"
    server = DicomWebServer(f"http://127.0.0.1:{archive_peers.free_port()}/dicom-web")
    assert dicomweb_client.search(server, "STUDY", {}).error == "no connection to the server"
