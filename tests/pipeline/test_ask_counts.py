"""How many instances the sender's archive has: the answer, or the reason why there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dicom_gateway.archive_match import Level, QueryAnswer, QueryLimits, make_match
from dicom_gateway.scu_association import Destination
from pipeline.archives import Archive
from pipeline.ask_counts import (
    WHOLE_STUDY,
    archive_answer,
    archive_counts,
    ask_counts,
    count_instances,
    defer_count,
)
from pipeline.store import StudyRecord
from tests import archive_peers
from tests.archive_peers import RunningArchive, write_study
from tests.pipeline.conftest import ALPHA, Clinic, make_instance

A = "1.2.826.1"


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    with archive_peers.orthanc(tmp_path_factory.mktemp("orthanc")) as archive:
        archive.store(write_study(tmp_path_factory.mktemp("study"), A, (3, 2)))
        yield archive


def ask_at(clinic: Clinic, **columns: Any) -> None:
    names = ", ".join(f"{name} = %s" for name in columns)
    assert re.fullmatch(r"[a-z_=%s, ]+", names)
    clinic.owner.execute(f"UPDATE peer SET {names}", tuple(columns.values()))  # type: ignore[arg-type]


def asked(clinic: Clinic, study_uid: str = A, attempt: int = 0) -> StudyRecord:
    """The study arrives and its archive is asked once."""
    received = make_instance(study_uid)
    clinic.receive(received)
    study = clinic.study(received)
    ask_counts(clinic.database, clinic.queue, ALPHA, str(study.id), attempt)
    return study


def answer(clinic: Clinic, study: StudyRecord) -> tuple[Any, Any, dict[str, int]]:
    with clinic.database.transaction(ALPHA) as conn:
        row = archive_answer(conn, ALPHA, study.id)
        assert row is not None
        return row["state"], row["reason"], archive_counts(conn, ALPHA, study.id)


@pytest.mark.peer
class TestOrthanc:
    @pytest.mark.parametrize("kind", ["dimse", "dicomweb"])
    def test_counts_of_each_series_are_stored(
        self, clinic: Clinic, orthanc: RunningArchive, kind: str
    ) -> None:
        self.at(clinic, orthanc, kind)
        study = asked(clinic)
        assert answer(clinic, study) == ("answered", None, {f"{A}.1": 3, f"{A}.2": 2})
        (source,) = {row["source"] for row in clinic.rows("SELECT source FROM archive_count")}
        assert source == {"dimse": "c-find", "dicomweb": "qido"}[kind]
        assert clinic.jobs("ask_counts") == []

    @pytest.mark.parametrize("kind", ["dimse", "dicomweb"])
    def test_a_study_that_the_archive_does_not_know_is_no_missing_answer(
        self, clinic: Clinic, orthanc: RunningArchive, kind: str
    ) -> None:
        self.at(clinic, orthanc, kind)
        assert answer(clinic, asked(clinic, "1.2.3.404")) == ("unknown_study", None, {})
        assert clinic.jobs("ask_counts") == []

    def test_asking_again_replaces_the_answer_and_silence_does_not(
        self, clinic: Clinic, orthanc: RunningArchive
    ) -> None:
        self.at(clinic, orthanc, "dimse")
        study = asked(clinic)
        clinic.owner.execute(
            "UPDATE archive_count SET instance_count = 1, series_instance_uid = 'x' || instance_count"
        )
        ask_counts(clinic.database, clinic.queue, ALPHA, str(study.id), 0)
        assert answer(clinic, study)[2] == {f"{A}.1": 3, f"{A}.2": 2}
        ask_at(clinic, query_port=archive_peers.free_port())
        ask_counts(clinic.database, clinic.queue, ALPHA, str(study.id), 0)
        state, reason, counts = answer(clinic, study)
        assert (state, reason) == ("no_answer", "no connection to the peer")
        assert counts == {f"{A}.1": 3, f"{A}.2": 2}

    @staticmethod
    def at(clinic: Clinic, orthanc: RunningArchive, kind: str) -> None:
        ask_at(
            clinic, query_kind=kind, query_ae_title="ORTHANC", query_port=orthanc.port, query_url=orthanc.url
        )


@pytest.mark.peer
def test_an_archive_that_does_not_count_is_asked_for_its_instances(tmp_path: Path) -> None:
    """dcmqrscp leaves Number of Series Related Instances empty."""
    with archive_peers.dcmqrscp(tmp_path) as archive:
        archive.store(write_study(tmp_path, A, (3, 2)))
        found = count_instances(Archive("PACS", archive.destination), A)
        assert (found.state, found.counts) == ("answered", {f"{A}.1": 3, f"{A}.2": 2})
        assert count_instances(Archive("PACS", archive.destination), "1.2.3.404").state == "unknown_study"


class TestNoAnswer:
    def test_no_archive_is_set(self, clinic: Clinic) -> None:
        assert answer(clinic, asked(clinic)) == ("no_archive", None, {})
        assert clinic.jobs("ask_counts") == []

    def test_it_is_asked_again_with_growing_pauses_and_then_left(self, clinic: Clinic) -> None:
        ask_at(clinic, query_kind="dimse", query_port=archive_peers.free_port())
        study = asked(clinic)
        assert answer(clinic, study) == ("no_answer", "no connection to the peer", {})
        (job,) = clinic.jobs("ask_counts")
        assert job["args"] == {"tenant": ALPHA, "study_id": str(study.id), "attempt": 1}
        assert job["queue_name"] == "archives"
        ask_counts(clinic.database, clinic.queue, ALPHA, str(study.id), 3)
        assert len(clinic.jobs("ask_counts")) == 1

    def test_the_question_is_put_in_the_callers_transaction(self, clinic: Clinic) -> None:
        received = make_instance(A)
        clinic.receive(received)
        study = clinic.study(received)
        with clinic.database.transaction(ALPHA) as conn:
            defer_count(clinic.queue, conn, ALPHA, study.id, 2.0)
            conn.execute("ROLLBACK")
        assert clinic.jobs("ask_counts") == []
        with clinic.database.transaction(ALPHA) as conn:
            defer_count(clinic.queue, conn, ALPHA, study.id, 2.0)
        (job,) = clinic.jobs("ask_counts")
        assert job["lock"] == f"counts-{study.id}"


class CountsOnlyStudies(Archive):
    """An archive that knows how large a study is and lists no more than five instances."""

    def search(self, level: Level, keys: Mapping[str, str], limits: QueryLimits) -> QueryAnswer:
        if level == "STUDY":
            values = {"StudyInstanceUID": A, "NumberOfStudyRelatedInstances": "7"}
        elif level == "SERIES":
            values = {"SeriesInstanceUID": f"{A}.1"}
        else:
            return QueryAnswer((), "more than 5 matches")
        match = make_match(level, values)
        assert match is not None
        return QueryAnswer((match,), None)


def test_the_whole_study_is_counted_where_series_cannot_be() -> None:
    node = Destination("127.0.0.1", 104, "PACS", "RADMETER")
    assert count_instances(CountsOnlyStudies("PACS", node), A).counts == {WHOLE_STUDY: 7}
