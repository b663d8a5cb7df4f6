"""What the procedure steps of a modality (MPPS) decide about an arrival, as the database knows them."""

from __future__ import annotations

from psycopg.types.json import Jsonb

from pipeline.look_again import look_again
from tests.pipeline.conftest import ALPHA, BETA, Clinic, make_instance
from tests.pipeline.test_completion import believed, receive, said, step


class TestMpps:
    def test_before_three_studies_came_as_listed_a_satisfied_list_is_no_end(self, clinic: Clinic) -> None:
        step(clinic, range(1, 4))
        receive(clinic, range(1, 4))
        assert len(clinic.assemble()) == 1
        assert said(clinic).startswith(
            "too few studies have shown whether this sender's MPPS lists everything"
        )

    def test_a_study_whose_list_is_satisfied_does_not_wait(self, clinic: Clinic) -> None:
        believed(clinic)
        step(clinic, range(1, 4))
        receive(clinic, range(1, 4))
        assert clinic.assemble() == []
        study = clinic.study(make_instance())
        assert (study.status, study.completion) == ("assembled", "all 3 images that MPPS lists are here")

    def test_the_images_that_are_missing_are_counted_and_waited_for(self, clinic: Clinic) -> None:
        step(clinic, range(1, 14))
        receive(clinic, range(1, 2))
        clinic.owner.execute("UPDATE arrival SET last_at = last_at - interval '5 minutes'")
        assert len(clinic.assemble()) == 1
        assert said(clinic) == "waiting for 12 slices of a CT series"
        assert said(clinic, "zh") == "等待一个 CT 序列的 12 层"
        evidence = clinic.rows("SELECT decision->'evidence' AS evidence FROM arrival")[0]["evidence"]
        assert (evidence["series"][0]["listed"], evidence["series"][0]["listed_here"]) == (13, 1)

    def test_an_examination_in_progress_is_waited_for_and_its_end_is_looked_at_at_once(
        self, clinic: Clinic
    ) -> None:
        believed(clinic)
        step(clinic, range(0), status="IN PROGRESS")
        receive(clinic, range(1, 3))
        clinic.owner.execute("UPDATE arrival SET last_at = last_at - interval '1 minute'")
        clinic.assemble()
        assert said(clinic) == "the examination is in progress (MPPS); 2 images are here"
        jobs = len(clinic.jobs("assemble"))
        step(clinic, range(1, 3))
        with clinic.database.transaction(ALPHA) as conn:
            look_again(clinic.queue, conn, ALPHA, "1.2.3")
            look_again(clinic.queue, conn, ALPHA, "1.2.3")
        assert len(clinic.jobs("assemble")) == jobs + 1
        assert clinic.assemble() == []
        assert clinic.study(make_instance()).status == "assembled"

    def test_a_discontinued_step_promises_nothing(self, clinic: Clinic) -> None:
        step(clinic, range(1, 9), status="DISCONTINUED")
        receive(clinic, range(1, 3))
        clinic.fall_silent()
        clinic.assemble()
        assert clinic.study(make_instance()).status == "assembled"

    def test_the_list_of_another_hospital_says_nothing_here(self, clinic: Clinic) -> None:
        step(clinic, range(1, 9))
        clinic.owner.execute("UPDATE performed_procedure_step SET tenant = %s", (BETA,))
        receive(clinic, range(1, 3))
        clinic.fall_silent()
        clinic.assemble()
        assert clinic.study(make_instance()).status == "assembled"

    def test_what_came_and_was_not_listed_takes_the_trust_from_the_mpps_of_its_sender(
        self, clinic: Clinic
    ) -> None:
        believed(clinic)
        step(clinic, range(1, 4))
        receive(clinic, range(1, 4))
        assert clinic.assemble() == []
        clinic.set_status(make_instance(), "delivered")
        receive(clinic, range(4, 6))
        clinic.owner.execute(
            "UPDATE arrival SET last_at = last_at - interval '5 min' WHERE closed_at IS NULL"
        )
        clinic.assemble()
        kept = """SELECT steps_listed_less, series_not_sent FROM longest_pause
                  JOIN study ON study.id = study_id WHERE study_instance_uid = '1.2.3'"""
        assert clinic.rows(kept) == [{"steps_listed_less": True, "series_not_sent": 0}]
        clinic.owner.execute("DELETE FROM performed_procedure_step")
        clinic.owner.execute(
            """INSERT INTO performed_procedure_step
                   (tenant, sop_instance_uid, ae_title, study_instance_uid, status, series)
               VALUES (%s, '2.25.9', 'CT1', '1.2.9', 'COMPLETED', %s)""",
            (ALPHA, Jsonb([{"series_instance_uid": "1.2.9.1", "sop_instance_uids": ["1.2.9.1.1"]}])),
        )
        clinic.receive(make_instance("1.2.9"))
        assert len(clinic.assemble()) == 1
        assert said(clinic) == "this sender's MPPS does not list what it sends; so far 1 image came"

    def test_images_that_somebody_adds_an_hour_later_say_nothing_of_the_mpps(self, clinic: Clinic) -> None:
        believed(clinic)
        step(clinic, range(1, 4))
        receive(clinic, range(1, 4))
        clinic.assemble()
        clinic.set_status(make_instance(), "delivered")
        clinic.fall_silent()
        receive(clinic, range(4, 6))
        clinic.owner.execute("UPDATE arrival SET last_at = now() - interval '1 hour' WHERE closed_at IS NULL")
        clinic.assemble()
        assert not any(row["steps_listed_less"] for row in clinic.rows("SELECT * FROM longest_pause"))
