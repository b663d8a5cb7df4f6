"""What an arrival was, decided once it has fallen silent: a new study, more of one, or the same again."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billing.contracts import store as billing_store
from dicom_gateway.instance_sink import RecordOutcome
from pipeline.assemble_study import assemble_study
from pipeline.study_path import take_step
from tests.conftest import ROOT
from tests.pipeline.conftest import ALPHA, BETA, Clinic, make_instance


def delivered(clinic: Clinic) -> None:
    """A study of one instance that was assembled and delivered."""
    one = make_instance()
    clinic.receive(one)
    clinic.fall_silent()
    clinic.assemble()
    clinic.set_status(one, "delivered")
    clinic.add_result_object(clinic.study(one), "2.25.1")


class TestQuietTime:
    def test_an_arrival_waits_for_the_quiet_time_of_its_peer(self, clinic: Clinic) -> None:
        clinic.receive(make_instance())
        (delay_s,) = clinic.assemble()
        assert 3 < delay_s <= 5
        assert clinic.study(make_instance()).status == "receiving"
        assert clinic.jobs("take_step") == []

    def test_each_instance_starts_the_quiet_time_anew(self, clinic: Clinic) -> None:
        clinic.receive(make_instance())
        clinic.fall_silent()
        clinic.receive(make_instance(number=2))
        assert len(clinic.assemble()) == 1
        assert clinic.study(make_instance()).status == "receiving"

    def test_silence_closes_it_with_the_reason_and_the_next_step(self, clinic: Clinic) -> None:
        clinic.receive(make_instance())
        clinic.receive(make_instance(number=2), ends="aborted")
        clinic.fall_silent()
        assert clinic.assemble() == []
        study = clinic.study(make_instance())
        assert (study.status, study.revision) == ("assembled", 1)
        assert study.completion is not None
        assert study.completion.startswith("2 images, then quiet for 3600")
        assert study.completion.endswith("the association was aborted before it was released")
        (arrival,) = clinic.rows("SELECT * FROM arrival")
        assert (arrival["outcome"], arrival["completion"]) == ("assembled", study.completion)
        assert arrival["closed_at"] is not None
        (job,) = clinic.jobs("take_step")
        assert job["args"] == {"tenant": ALPHA, "study_id": str(study.id), "revision": 1}
        (event,) = clinic.rows("SELECT event, detail FROM study_event")
        assert event == {
            "event": "study_assembled",
            "detail": {"reason": study.completion, "instances": 2},
        }

    def test_the_job_run_twice_changes_nothing_the_second_time(self, clinic: Clinic) -> None:
        clinic.receive(make_instance())
        clinic.fall_silent()
        clinic.assemble()
        arrival_id = clinic.rows("SELECT id FROM arrival")[0]["id"]
        assemble_study(clinic.services, ALPHA, arrival_id, defer_again=lambda *_: pytest.fail("deferred"))
        assert len(clinic.jobs("take_step")) == 1
        assert len(clinic.rows("SELECT 1 FROM study_event")) == 1

    def test_another_hospital_cannot_close_it(self, clinic: Clinic) -> None:
        clinic.receive(make_instance())
        clinic.fall_silent()
        arrival_id = clinic.rows("SELECT id FROM arrival")[0]["id"]
        assemble_study(clinic.services, BETA, arrival_id, defer_again=lambda *_: pytest.fail("deferred"))
        assert clinic.study(make_instance()).status == "receiving"


class TestSeenAgain:
    def test_the_same_instances_again_are_noted_and_not_charged(self, clinic: Clinic) -> None:
        with clinic.database.transaction(ALPHA) as conn:
            billing_store.add_contract(conn, ALPHA, (ROOT / "examples/contract_per_case.yaml").read_text())
        delivered(clinic)
        steps = len(clinic.jobs("take_step"))
        assert clinic.receive(make_instance()) is RecordOutcome.IDENTICAL
        clinic.fall_silent()
        assert clinic.assemble() == []
        study = clinic.study(make_instance())
        assert (study.status, study.revision) == ("delivered", 1)
        assert len(clinic.jobs("take_step")) == steps
        assert clinic.rows("SELECT outcome FROM arrival ORDER BY id")[1]["outcome"] == "seen_again"
        with clinic.database.transaction(ALPHA) as conn:
            (recorded,) = billing_store.usage_for_study(conn, ALPHA, str(study.id))
        assert (recorded.event.kind, recorded.event.quantity) == ("seen_again", Decimal(1))
        assert (recorded.decision.outcome, recorded.decision.reason_code) == ("not_billable", "seen_again")

    def test_each_further_time_is_an_event_of_its_own(self, clinic: Clinic) -> None:
        delivered(clinic)
        for _ in range(3):
            clinic.receive(make_instance())
            clinic.fall_silent()
            clinic.assemble()
        with clinic.database.transaction(ALPHA) as conn:
            recorded = billing_store.usage_for_study(conn, ALPHA, str(clinic.study(make_instance()).id))
        assert [one.event.kind for one in recorded] == ["seen_again"] * 3
        assert len({one.event.event_id for one in recorded}) == 3

    def test_a_study_that_was_refused_and_comes_again_is_not_tried_again(self, clinic: Clinic) -> None:
        clinic.receive(make_instance())
        clinic.fall_silent()
        clinic.assemble()
        clinic.set_status(make_instance(), "rejected", "TOO_FEW_SLICES")
        clinic.receive(make_instance())
        clinic.fall_silent()
        clinic.assemble()
        study = clinic.study(make_instance())
        assert (study.status, study.reason_code, study.revision) == ("rejected", "TOO_FEW_SLICES", 1)


class TestLateInstances:
    @pytest.mark.parametrize("status", ["delivered", "rejected", "failed"])
    def test_after_the_end_they_open_the_next_revision(self, clinic: Clinic, status: str) -> None:
        clinic.receive(make_instance())
        clinic.fall_silent()
        clinic.assemble()
        clinic.set_status(make_instance(), status, None if status == "delivered" else "CODE")
        clinic.receive(make_instance(number=2))
        clinic.fall_silent()
        clinic.assemble()
        study = clinic.study(make_instance())
        assert (study.status, study.revision, study.reason_code) == ("assembled", 2, None)
        assert [job["args"]["revision"] for job in clinic.jobs("take_step")] == [1, 2]

    @pytest.mark.parametrize("status", ["assembled", "routed", "decoded", "inferred", "encoded"])
    def test_on_the_way_they_wait_for_the_end_of_the_revision(self, clinic: Clinic, status: str) -> None:
        clinic.receive(make_instance())
        clinic.fall_silent()
        clinic.assemble()
        clinic.set_status(make_instance(), status)
        clinic.receive(make_instance(number=2))
        clinic.fall_silent()
        assert len(clinic.assemble()) == 1
        study = clinic.study(make_instance())
        assert (study.status, study.revision) == (status, 1)
        clinic.set_status(make_instance(), "delivered")
        clinic.assemble()
        assert clinic.study(make_instance()).revision == 2

    def test_new_and_known_instances_together_are_more_of_the_study(self, clinic: Clinic) -> None:
        delivered(clinic)
        clinic.receive(make_instance())
        clinic.receive(make_instance(number=2))
        clinic.fall_silent()
        clinic.assemble()
        assert clinic.study(make_instance()).revision == 2
        with clinic.database.transaction(ALPHA) as conn:
            assert billing_store.usage_for_study(conn, ALPHA, str(clinic.study(make_instance()).id)) == []


class TestConflicts:
    def test_other_bytes_for_a_delivered_study_start_nothing(self, clinic: Clinic) -> None:
        """A billed input is never silently replaced."""
        delivered(clinic)
        clinic.receive(make_instance(blake3="f" * 64, location="other"))
        clinic.fall_silent()
        clinic.assemble()
        study = clinic.study(make_instance())
        assert (study.status, study.revision) == ("delivered", 1)

    def test_a_study_of_conflicts_alone_ends_visibly(self, clinic: Clinic) -> None:
        """Its instances belong to another study: there is nothing to read, and a person must see that."""
        clinic.receive(make_instance())
        stolen = make_instance(study_instance_uid="1.2.99")
        assert clinic.receive(stolen) is RecordOutcome.CONFLICT
        clinic.fall_silent()
        clinic.assemble()
        study = clinic.study(stolen)
        assert study.status == "assembled"
        take_step(clinic.services, ALPHA, str(study.id), 1, attempts=0)
        study = clinic.study(stolen)
        assert (study.status, study.reason_code) == ("rejected", "INSTANCES_IN_CONFLICT")
        assert study.reason_text
