"""Priors from a real archive: found by rule, fetched, kept, not analysed; and what makes one a study of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import peers, prior_studies, store
from pipeline.fetch_prior import fetch_prior
from pipeline.find_priors import find_priors
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from tests import archive_peers
from tests.archive_peers import RunningArchive, write_study
from tests.dicom_peers import data_set_of
from tests.pipeline.conftest import ALPHA, Clinic, make_instance
from tests.pipeline.services import running_gateway

pytestmark = pytest.mark.peer

NOW, PRIOR, OLDER, STRANGER, KNEE, SILENT, MR = (f"1.2.826.{number}" for number in range(1, 8))
PRIORS = {"newest": 1, "within_months": 36}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("studies")
    made = {
        NOW: {"StudyDescription": "CT Thorax"},
        PRIOR: {"StudyDescription": "Thorax nativ", "StudyDate": "20250601"},
        OLDER: {"StudyDescription": "CT chest", "StudyDate": "20240601"},
        STRANGER: {"StudyDescription": "CT chest", "StudyDate": "20251201", "PatientBirthDate": "19500505"},
        KNEE: {"StudyDescription": "CT knee", "StudyDate": "20251101"},
        SILENT: {"StudyDescription": "", "StudyDate": "20231001", "BodyPartExamined": "LUNG"},
        MR: {"StudyDescription": "Thorax", "StudyDate": "20251001", "Modality": "MR"},
    }
    return {uid: write_study(folder, uid, (3, 1), **values) for uid, values in made.items()}


@pytest.fixture(scope="module")
def orthanc(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, list[Path]]
) -> Iterator[RunningArchive]:
    with archive_peers.orthanc(tmp_path_factory.mktemp("orthanc"), moves_to="ALPHA") as archive:
        archive.store([path for paths in files.values() for path in paths])
        yield archive


@pytest.fixture(params=["move", "get", "wado"])
def way(request: pytest.FixtureRequest, clinic: Clinic, orthanc: RunningArchive) -> Iterator[str]:
    """The clinic's PACS is Orthanc, which hands studies over in one of three ways."""
    ask_orthanc(clinic, orthanc, request.param)
    with running_gateway(clinic, orthanc.move_port):
        yield request.param


def ask_orthanc(clinic: Clinic, orthanc: RunningArchive, way: str) -> None:
    peers.save_peer(clinic.owner, ALPHA, ae_title="ORTHANC", host="127.0.0.1", port=orthanc.port)
    clinic.owner.execute(
        """UPDATE peer SET query_kind = %s, query_ae_title = 'ORTHANC', query_host = '127.0.0.1', query_port = %s,
             query_url = %s, query_retrieve = %s WHERE tenant = 'alpha'""",
        (
            "dicomweb" if way == "wado" else "dimse",
            orthanc.port,
            orthanc.url,
            "get" if way == "get" else "move",
        ),
    )


def routed_study(clinic: Clinic, uid: str = NOW) -> StudyRecord:
    """The current study as it is after routing."""
    received = make_instance(uid)
    clinic.receive(received)
    study = clinic.study(received)
    header = {
        "patient_id": "P1",
        "patient_name": "Nobody^Test",
        "patient_birth_date": "19700101",
        "study_date": "20260102",
        "description": "CT Thorax",
    }
    with clinic.database.transaction(ALPHA) as conn:
        store.set_header(conn, study, header)
    return clinic.study(received)


def find(
    clinic: Clinic, study: StudyRecord, attempt: int = 0, **priors: Any
) -> dict[str, tuple[str, str | None]]:
    """Run the job; state and reason of each candidate."""
    find_priors(clinic.database, clinic.queue, ALPHA, str(study.id), PRIORS | priors, attempt)
    with clinic.database.transaction(ALPHA) as conn:
        rows = prior_studies.candidates(conn, ALPHA, study.id)
    return {row["study_instance_uid"]: (row["state"], row["reason"]) for row in rows}


def fetch(clinic: Clinic) -> None:
    """Run the jobs that fetch, once each."""
    for job in clinic.jobs("fetch_prior"):
        clinic.owner.execute("DELETE FROM procrastinate_jobs WHERE id = %s", (job["id"],))
        fetch_prior(clinic.database, clinic.queue, clinic.services.folders, sink=clinic.sink, **job["args"])


def pass_time(clinic: Clinic, seconds: int) -> None:
    """Everything that arrived and every retrieval lies so much further back."""
    clinic.owner.execute(
        """UPDATE arrival SET first_at = first_at - make_interval(secs => %s),
             last_at = last_at - make_interval(secs => %s) WHERE closed_at IS NULL""",
        (seconds, seconds),
    )
    clinic.owner.execute(
        """UPDATE expected_prior SET from_at = from_at - make_interval(secs => %s),
             until_at = until_at - make_interval(secs => %s)""",
        (seconds, seconds),
    )


def study_of(clinic: Clinic, uid: str) -> StudyRecord:
    return clinic.study(make_instance(uid))


def fetched(clinic: Clinic) -> tuple[StudyRecord, StudyRecord]:
    """(the current study, its prior), both through the assembly."""
    current = routed_study(clinic)
    clinic.set_status(make_instance(NOW), "routed")
    find(clinic, current)
    fetch(clinic)
    pass_time(clinic, 3600)
    clinic.assemble()
    return current, study_of(clinic, PRIOR)


class TestFind:
    def test_the_rule_says_of_each_study_whether_and_why_not(self, clinic: Clinic, way: str) -> None:
        assert find(clinic, routed_study(clinic)) == {
            STRANGER: ("not_wanted", "the same Patient ID with another birth date"),
            KNEE: ("not_wanted", "another body region"),
            MR: ("not_wanted", "another modality"),
            PRIOR: ("wanted", None),
            OLDER: ("not_wanted", "older than the newest 1"),
            SILENT: ("not_wanted", "older than the newest 1"),
        }
        assert [job["args"]["prior_uid"] for job in clinic.jobs("fetch_prior")] == [PRIOR]

    def test_a_region_that_the_description_does_not_name_is_asked_of_the_series(
        self, clinic: Clinic, way: str
    ) -> None:
        assert find(clinic, routed_study(clinic), newest=3)[SILENT] == ("wanted", None)

    def test_a_study_that_is_here_is_linked_and_not_fetched(self, clinic: Clinic, way: str) -> None:
        clinic.receive(make_instance(PRIOR))
        current = routed_study(clinic)
        assert find(clinic, current)[PRIOR] == ("here", None)
        assert clinic.jobs("fetch_prior") == []
        (link,) = clinic.rows("SELECT study_id, prior_study_id FROM prior_of")
        assert link == {"study_id": current.id, "prior_study_id": study_of(clinic, PRIOR).id}


class TestFetch:
    def test_a_prior_arrives_is_linked_and_ends_quietly(
        self, clinic: Clinic, way: str, files: dict[str, list[Path]]
    ) -> None:
        current, prior = fetched(clinic)
        assert (prior.status, prior.purpose, prior.revision) == (StudyStatus.PRIOR, "prior", 1)
        assert prior.header["description"] == "Thorax nativ"
        with clinic.database.transaction(ALPHA) as conn:
            rows = store.instances(conn, ALPHA, prior.id)
            (candidate,) = [
                row for row in prior_studies.candidates(conn, ALPHA, current.id) if row["state"] == "here"
            ]
        assert candidate["prior_study_id"] == prior.id
        stored = [clinic.services.folders.instances / row["location"] for row in rows]
        assert {data_set_of(path) for path in stored} == {data_set_of(path) for path in files[PRIOR]}
        assert clinic.rows("SELECT study_id, prior_study_id FROM prior_of") == [
            {"study_id": current.id, "prior_study_id": prior.id}
        ]
        steps = {job["args"]["study_id"] for job in clinic.jobs("take_step")}
        assert str(prior.id) not in steps
        assert clinic.rows("SELECT 1 FROM billing.usage_event WHERE study_ref = %s", str(prior.id)) == []


@pytest.fixture
def by_get(clinic: Clinic, orthanc: RunningArchive) -> Clinic:
    ask_orthanc(clinic, orthanc, "get")
    return clinic


class TestTurningIntoAStudyOfItsOwn:
    def test_a_prior_that_the_pacs_sends_later_is_analysed_although_nothing_in_it_is_new(
        self, by_get: Clinic
    ) -> None:
        _, prior = fetched(by_get)
        again = by_get.rows("SELECT * FROM instance WHERE study_id = %s LIMIT 1", prior.id)[0]
        received = make_instance(
            PRIOR,
            sop_instance_uid=again["sop_instance_uid"],
            series_instance_uid=again["series_instance_uid"],
            blake3=again["blake3"],
            location=again["location"],
        )
        by_get.receive(received)
        pass_time(by_get, 600)
        by_get.assemble()
        promoted = study_of(by_get, PRIOR)
        assert (promoted.status, promoted.purpose) == (StudyStatus.ASSEMBLED, "clinical")
        assert (promoted.revision, promoted.ae_title) == (1, "PACS")
        assert str(prior.id) in {job["args"]["study_id"] for job in by_get.jobs("take_step")}
        events = {
            row["event"] for row in by_get.rows("SELECT event FROM study_event WHERE study_id = %s", prior.id)
        }
        assert {"study_prior", "study_promoted", "study_assembled"} <= events

    def test_images_that_come_after_the_retrieval_make_it_one_before_it_was_ever_closed(
        self, by_get: Clinic
    ) -> None:
        current = routed_study(by_get)
        by_get.set_status(make_instance(NOW), "routed")
        find(by_get, current)
        fetch(by_get)
        by_get.owner.execute("UPDATE expected_prior SET until_at = clock_timestamp()")
        by_get.receive(make_instance(PRIOR, number=99))
        pass_time(by_get, 600)
        by_get.assemble()
        promoted = study_of(by_get, PRIOR)
        assert (promoted.status, promoted.purpose) == (StudyStatus.ASSEMBLED, "clinical")

    def test_a_prior_that_is_fetched_again_stays_one(self, by_get: Clinic) -> None:
        current, _ = fetched(by_get)
        with by_get.database.transaction(ALPHA) as conn:
            prior_studies.expect(conn, ALPHA, PRIOR, 600)
        by_get.receive(make_instance(PRIOR, number=1))
        by_get.owner.execute(
            "UPDATE arrival SET last_at = last_at - interval '1 min', first_at = first_at - interval '1 min'"
        )
        by_get.owner.execute("UPDATE expected_prior SET from_at = from_at - interval '2 min'")
        by_get.assemble()
        prior = study_of(by_get, PRIOR)
        assert (prior.status, prior.purpose) == (StudyStatus.PRIOR, "prior")
        assert by_get.rows("SELECT 1 FROM arrival WHERE closed_at IS NULL AND study_id = %s", prior.id) == []
        assert current.purpose == "clinical"

    def test_a_study_that_came_by_itself_before_is_never_a_prior(self, by_get: Clinic) -> None:
        by_get.receive(make_instance(PRIOR))
        with by_get.database.transaction(ALPHA) as conn:
            prior_studies.expect(conn, ALPHA, PRIOR, 600)
        by_get.receive(make_instance(PRIOR, number=2))
        assert study_of(by_get, PRIOR).purpose == "clinical"

    def test_a_window_that_nobody_closed_closes_by_itself(self, by_get: Clinic) -> None:
        with by_get.database.transaction(ALPHA) as conn:
            prior_studies.expect(conn, ALPHA, PRIOR, -1)
        by_get.receive(make_instance(PRIOR))
        assert study_of(by_get, PRIOR).purpose == "clinical"


class TestWhatGoesWrong:
    def test_an_archive_that_is_down_is_asked_again_and_the_page_says_so(self, by_get: Clinic) -> None:
        current = routed_study(by_get)
        by_get.owner.execute("UPDATE peer SET query_port = %s", (archive_peers.free_port(),))
        assert find(by_get, current) == {}
        (job,) = by_get.jobs("find_priors")
        assert job["args"]["attempt"] == 1
        (event,) = by_get.rows("SELECT detail FROM study_event WHERE event = 'priors_not_asked'")
        assert event["detail"] == {"reason": "no connection to the peer"}
        find(by_get, current, attempt=3)
        assert len(by_get.jobs("find_priors")) == 1

    def test_a_retrieval_that_fails_is_tried_again_and_then_left_with_its_reason(
        self, by_get: Clinic
    ) -> None:
        current = routed_study(by_get)
        find(by_get, current)
        by_get.owner.execute("UPDATE peer SET query_retrieve = 'move'")  # and no gateway takes it
        fetch(by_get)
        with by_get.database.transaction(ALPHA) as conn:
            rows = prior_studies.candidates(conn, ALPHA, current.id)
        (row,) = [row for row in rows if row["study_instance_uid"] == PRIOR]
        assert row["state"] == "failed"
        assert row["reason"]
        (job,) = by_get.jobs("fetch_prior")
        assert job["args"]["attempt"] == 1
        assert by_get.rows("SELECT 1 FROM study WHERE study_instance_uid = %s", PRIOR) == []

    @pytest.mark.parametrize("patient_id", ["", "*", "P?", "P1\\P2"])
    def test_a_patient_id_that_would_ask_for_others_is_not_asked_for(
        self, by_get: Clinic, patient_id: str
    ) -> None:
        current = routed_study(by_get)
        with by_get.database.transaction(ALPHA) as conn:
            store.set_header(conn, current, {"patient_id": patient_id})
        assert find(by_get, current) == {}
        (event,) = by_get.rows("SELECT detail FROM study_event WHERE event = 'priors_not_asked'")
        assert event["detail"] == {"reason": "the Patient ID cannot be asked for"}
