"""What the database knows becomes evidence, the decision and its reason are stored, and looks come when they should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
import pytest
from psycopg.types.json import Jsonb

from dicom_gateway.write_ct import write_ct_series
from pipeline.ask_counts import WHOLE_STUDY
from pipeline.completion_text import sentence
from tests.pipeline.conftest import ALPHA, Clinic, make_instance


def step(clinic: Clinic, numbers: range, status: str = "COMPLETED", series: str = "1.2.3.1") -> None:
    """A performed procedure step that lists these instances of study 1.2.3."""
    listed = [{"series_instance_uid": series, "sop_instance_uids": [f"1.2.3.1.{n}" for n in numbers]}]
    clinic.owner.execute(
        """INSERT INTO performed_procedure_step (tenant, sop_instance_uid, ae_title, study_instance_uid, status, series)
           VALUES (%s, %s, 'CT1', '1.2.3', %s, %s)
           ON CONFLICT (tenant, sop_instance_uid) DO UPDATE SET status = excluded.status, series = excluded.series""",
        (ALPHA, f"2.25.{series}", status, Jsonb(listed)),
    )


def counted(clinic: Clinic, counts: dict[str, int], state: str = "answered") -> None:
    """The sender's archive answers now."""
    study = clinic.study(make_instance())
    clinic.owner.execute("DELETE FROM archive_count")
    clinic.owner.execute("DELETE FROM archive_question")
    clinic.owner.execute(
        "INSERT INTO archive_question (tenant, study_id, state, attempts) VALUES (%s, %s, %s, 1)",
        (ALPHA, study.id, state),
    )
    for uid, count in counts.items():
        clinic.owner.execute(
            """INSERT INTO archive_count (tenant, study_id, series_instance_uid, instance_count, source)
               VALUES (%s, %s, %s, %s, 'qido')""",
            (ALPHA, study.id, uid, count),
        )


def receive(clinic: Clinic, numbers: range, **changes: Any) -> None:
    for number in numbers:
        clinic.receive(make_instance(number=number, **changes))


def said(clinic: Clinic, language: str = "en") -> str:
    row = clinic.rows("SELECT decision FROM arrival ORDER BY id DESC LIMIT 1")[0]
    return sentence(row["decision"], language)


def believed(clinic: Clinic) -> None:
    """Three earlier studies came as the sender's MPPS had listed them."""
    for number in range(3):
        clinic.receive(make_instance(f"1.8.{number}"))
    clinic.fall_silent()
    clinic.assemble()
    clinic.owner.execute("UPDATE longest_pause SET steps_listed_less = false, series_not_sent = 0")


@pytest.fixture
def asked(clinic: Clinic) -> Clinic:
    """A clinic whose PACS can be asked, and had each of its last ten studies before it sent it."""
    clinic.owner.execute("UPDATE peer SET query_kind = 'dimse'")
    for number in range(10):
        clinic.receive(make_instance(f"1.8.{number}"))
    clinic.fall_silent()
    clinic.assemble()
    clinic.owner.execute("UPDATE longest_pause SET archive_grew = false")
    clinic.owner.execute("DELETE FROM study_event")
    return clinic


class TestCounts:
    def test_the_archive_had_the_study_before_it_sent_it_so_its_count_ends_the_wait(
        self, asked: Clinic
    ) -> None:
        receive(asked, range(1, 2))
        counted(asked, {"1.2.3.1": 8})
        assert len(asked.assemble()) == 1
        assert said(asked) == "waiting for 7 slices of a CT series"
        receive(asked, range(2, 9))
        assert len(asked.assemble()) == 1  # what it said is older than the last image
        counted(asked, {"1.2.3.1": 8})
        assert asked.assemble() == []
        assert asked.study(make_instance()).completion == "the PACS has 8 images in 1 series; all are here"

    def test_the_count_of_a_whole_study_serves_too(self, asked: Clinic) -> None:
        receive(asked, range(1, 3))
        counted(asked, {WHOLE_STUDY: 9})
        asked.assemble()
        assert said(asked) == "waiting for 7 images"
        receive(asked, range(3, 10))
        counted(asked, {WHOLE_STUDY: 9})
        assert asked.assemble() == []

    def test_what_an_archive_does_while_it_sends_is_kept_for_the_next_studies(self, asked: Clinic) -> None:
        receive(asked, range(1, 2))
        counted(asked, {"1.2.3.1": 2})
        asked.assemble()
        receive(asked, range(2, 4))
        counted(asked, {"1.2.3.1": 3})
        asked.fall_silent()
        asked.assemble()
        study = asked.study(make_instance())
        assert asked.rows("SELECT archive_grew FROM longest_pause WHERE study_id = %s", study.id) == [
            {"archive_grew": True}
        ]

    def test_an_archive_that_is_not_known_yet_is_not_believed(self, asked: Clinic) -> None:
        asked.owner.execute("DELETE FROM longest_pause")
        receive(asked, range(1, 9))
        counted(asked, {"1.2.3.1": 8})
        asked.owner.execute("UPDATE arrival SET last_at = last_at - interval '1 minute'")
        asked.assemble()
        assert said(asked).startswith("the PACS itself may still be filled")

    @pytest.mark.parametrize(("habit", "jobs"), [("complete", 0), ("fills", 1), ("learned", 1)])
    def test_of_an_archive_that_is_not_known_yet_the_operator_may_say_what_it_does(
        self, clinic: Clinic, habit: str, jobs: int
    ) -> None:
        clinic.owner.execute("UPDATE peer SET query_kind = 'dimse', archive_habit = %s", (habit,))
        receive(clinic, range(1, 3))
        counted(clinic, {"1.2.3.1": 2})
        assert len(clinic.assemble()) == jobs

    def test_an_archive_that_is_being_filled_while_it_sends_is_not_believed(self, asked: Clinic) -> None:
        receive(asked, range(1, 2))
        counted(asked, {"1.2.3.1": 8})
        asked.assemble()
        receive(asked, range(2, 10))
        counted(asked, {"1.2.3.1": 9})
        asked.owner.execute("UPDATE arrival SET last_at = last_at - interval '1 minute'")
        assert len(asked.assemble()) == 1
        assert said(asked) == "the PACS itself may still be filled; 9 images are here"
        asked.fall_silent()
        assert asked.assemble() == []

    def test_it_is_asked_once_after_each_silence(self, asked: Clinic, changed: Any) -> None:
        questions: list[object] = []
        services = changed(ask_counts=lambda conn, tenant, study_id: questions.append(study_id))
        receive(asked, range(1, 3))
        asked.assemble(services=services)
        asked.assemble(services=services)
        assert questions == [asked.study(make_instance()).id]
        receive(asked, range(3, 4))
        asked.assemble(services=services)
        assert len(questions) == 2

    def test_what_it_said_about_an_earlier_arrival_is_not_taken_for_growth(self, asked: Clinic) -> None:
        receive(asked, range(1, 3))
        counted(asked, {"1.2.3.1": 2})
        asked.fall_silent()
        asked.assemble()
        asked.set_status(make_instance(), "delivered")
        asked.owner.execute("UPDATE archive_question SET asked_at = asked_at - interval '1 hour'")
        receive(asked, range(3, 4))
        asked.assemble()
        counted(asked, {"1.2.3.1": 3})
        asked.owner.execute("UPDATE arrival SET last_at = last_at - interval '20 seconds'")
        counted(asked, {"1.2.3.1": 3})
        assert asked.assemble() == []


class TestGeometry:
    def test_a_hole_in_the_stack_is_waited_for_by_number_of_slices_and_series(self, clinic: Clinic) -> None:
        paths = write_ct_series(
            np.zeros((20, 16, 16), np.int16), (2.0, 1.0, 1.0), clinic.services.folders.instances
        )
        headers = [pydicom.dcmread(path) for path in paths]
        for path, header in zip(paths, headers, strict=True):
            if header.InstanceNumber not in (8, 9, 10):
                one = make_instance(
                    str(header.StudyInstanceUID),
                    series_instance_uid=str(header.SeriesInstanceUID),
                    sop_instance_uid=str(header.SOPInstanceUID),
                    location=path.name,
                )
                clinic.receive(one)
        clinic.owner.execute("UPDATE arrival SET last_at = last_at - interval '20 seconds'")
        assert len(clinic.assemble()) == 1
        assert said(clinic) == f"waiting for 3 slices inside series {headers[0].SeriesNumber}"
        clinic.fall_silent()
        clinic.assemble()
        assert clinic.rows("SELECT status FROM study") == [{"status": "assembled"}]
        assert said(clinic).startswith("3 slices are missing inside series")


class TestLooks:
    def test_many_looks_leave_one_job_in_the_queue(self, clinic: Clinic) -> None:
        """Each look at an arrival that waits for the same moment finds the next one queued."""
        receive(clinic, range(1, 2))
        assert len(clinic.assemble()) == 1
        assert clinic.assemble() == []
        assert clinic.study(make_instance()).status == "receiving"

    def test_the_end_of_an_association_is_looked_at_at_once(self, clinic: Clinic) -> None:
        peer = clinic.peer()
        association = clinic.sink.open_association(peer)
        clinic.sink.record(association, peer, make_instance())
        clinic.assemble()
        assert said(clinic).startswith("the association is open")
        jobs = len(clinic.jobs("assemble"))
        clinic.sink.close_association(association, peer, "released")
        assert len(clinic.jobs("assemble")) == jobs + 1

    def test_an_association_that_has_gone_on_to_another_study_is_done_with_this_one(
        self, clinic: Clinic
    ) -> None:
        peer = clinic.peer()
        association = clinic.sink.open_association(peer)
        clinic.sink.record(association, peer, make_instance())
        clinic.sink.record(association, peer, make_instance("1.2.4"))
        clinic.owner.execute("UPDATE arrival SET last_at = last_at - interval '6 seconds'")
        clinic.assemble()
        assert clinic.study(make_instance()).status == "assembled"
        assert clinic.study(make_instance("1.2.4")).status == "receiving"
