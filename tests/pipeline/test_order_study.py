"""What a person orders, and what the policies do: process, discard, ask, ignore; visible in every case."""

from __future__ import annotations

import pytest

from billing.contracts import store as billing_store
from dicom_gateway.arrival_evidence import Order
from pipeline.errors import NothingWaits, StudyNotFound
from pipeline.order_study import order_study
from tests.pipeline.conftest import ALPHA, BETA, Clinic, make_instance
from tests.pipeline.test_completion import believed, counted, receive, said, step


def order(clinic: Clinic, wanted: Order, tenant: str = ALPHA) -> None:
    study = clinic.study(make_instance())
    with clinic.database.transaction(tenant) as conn:
        order_study(clinic.queue, conn, tenant, study.id, wanted, by="operator")


def lacking(clinic: Clinic) -> None:
    """A study of which MPPS lists more than is here."""
    step(clinic, range(1, 14))
    receive(clinic, range(1, 2))
    clinic.assemble()


def late(clinic: Clinic, policy: str) -> None:
    """New images of a delivered study."""
    clinic.owner.execute("UPDATE tenant SET late_policy = %s", (policy,))
    receive(clinic, range(1, 2))
    clinic.fall_silent()
    clinic.assemble()
    clinic.set_status(make_instance(), "delivered")
    receive(clinic, range(2, 5))
    clinic.fall_silent()
    clinic.assemble()


def ended(clinic: Clinic, status: str, code: str | None) -> None:
    """A study of one image that has come to this end."""
    receive(clinic, range(1, 2))
    clinic.fall_silent()
    clinic.assemble()
    clinic.set_status(make_instance(), status, code)


def events(clinic: Clinic) -> list[str]:
    return [row["event"] for row in clinic.rows("SELECT event FROM study_event ORDER BY id")]


class TestOrders:
    def test_a_study_that_waits_is_processed_when_a_person_says_so(self, clinic: Clinic) -> None:
        lacking(clinic)
        jobs = len(clinic.jobs("assemble"))
        order(clinic, Order.PROCESS)
        assert len(clinic.jobs("assemble")) == jobs + 1
        clinic.assemble()
        study = clinic.study(make_instance())
        assert (study.status, study.completion) == ("assembled", "a person asked to process what is here")
        assert events(clinic) == ["study_process_ordered", "study_assembled"]

    def test_a_study_that_is_discarded_ends_visibly_and_costs_nothing(self, clinic: Clinic) -> None:
        lacking(clinic)
        order(clinic, Order.DISCARD)
        assert clinic.assemble() == []
        study = clinic.study(make_instance())
        assert (study.status, study.reason_code) == ("rejected", "DISCARDED")
        assert study.reason_text == "A person discarded what is here."
        assert clinic.rows("SELECT outcome, ordered_by FROM arrival") == [
            {"outcome": "discarded", "ordered_by": "operator"}
        ]
        with clinic.database.transaction(ALPHA) as conn:
            (recorded,) = billing_store.usage_for_study(conn, ALPHA, str(study.id))
        assert (recorded.event.kind, recorded.decision.outcome) == ("refused", "not_billable")

    def test_what_comes_after_a_discarded_study_is_its_next_revision(self, clinic: Clinic) -> None:
        believed(clinic)
        lacking(clinic)
        order(clinic, Order.DISCARD)
        clinic.assemble()
        receive(clinic, range(2, 14))
        clinic.assemble()
        study = clinic.study(make_instance())
        assert (study.status, study.revision) == ("assembled", 2)

    def test_there_is_nothing_to_decide_about_a_study_that_does_not_wait(self, clinic: Clinic) -> None:
        receive(clinic, range(1, 2))
        clinic.fall_silent()
        clinic.assemble()
        with pytest.raises(NothingWaits):
            order(clinic, Order.PROCESS)

    @pytest.mark.parametrize("way", ["a person asks", "its sender sends it again"])
    def test_a_study_that_failed_begins_anew(self, clinic: Clinic, way: str) -> None:
        """Attack 46: what was given up for a fault that has passed is no patient without a result for ever."""
        ended(clinic, "failed", "STEP_GAVE_UP")
        if way == "a person asks":
            order(clinic, Order.PROCESS)
            with pytest.raises(NothingWaits):
                order(clinic, Order.PROCESS)
        else:
            receive(clinic, range(1, 2))
            clinic.fall_silent()
            clinic.assemble()
        study = clinic.study(make_instance())
        assert (study.status, study.revision, study.reason_code) == ("assembled", 2, None)
        assert [job["args"]["revision"] for job in clinic.jobs("take_step")] == [1, 2]
        assert ("study_process_ordered" in events(clinic)) == (way == "a person asks")

    @pytest.mark.parametrize(
        ("status", "code"),
        [("rejected", "TOO_FEW_SLICES"), ("failed", "DELIVERY_GAVE_UP"), ("delivered", None)],
    )
    def test_what_was_refused_has_a_result_or_waits_to_be_sent_does_not_begin_anew(
        self, clinic: Clinic, status: str, code: str | None
    ) -> None:
        ended(clinic, status, code)
        with pytest.raises(NothingWaits):
            order(clinic, Order.PROCESS)
        receive(clinic, range(1, 2))
        clinic.fall_silent()
        clinic.assemble()
        study = clinic.study(make_instance())
        assert (study.status, study.revision, study.reason_code) == (status, 1, code)

    def test_nobody_decides_for_another_hospital(self, clinic: Clinic) -> None:
        lacking(clinic)
        with pytest.raises(StudyNotFound):
            order(clinic, Order.DISCARD, tenant=BETA)


class TestForceTime:
    @pytest.mark.parametrize(
        ("policy", "status"), [("process", "assembled"), ("discard", "rejected"), ("ask", "receiving")]
    )
    def test_the_policy_of_the_peer_decides_when_it_is_over(
        self, clinic: Clinic, policy: str, status: str
    ) -> None:
        clinic.owner.execute("UPDATE peer SET force_policy = %s", (policy,))
        lacking(clinic)
        clinic.fall_silent()
        clinic.assemble()
        assert clinic.study(make_instance()).status == status
        assert said(clinic).startswith(
            "12 images are missing" if policy != "process" else "nothing came for 36"
        )

    def test_asked_and_answered(self, clinic: Clinic) -> None:
        clinic.owner.execute("UPDATE peer SET force_policy = 'ask'")
        lacking(clinic)
        clinic.fall_silent()
        clinic.assemble()
        assert said(clinic).endswith("process or discard?")
        order(clinic, Order.PROCESS)
        clinic.assemble()
        assert clinic.study(make_instance()).status == "assembled"


class TestLateImages:
    def test_they_run_again_by_themselves(self, clinic: Clinic) -> None:
        late(clinic, "run")
        assert clinic.study(make_instance()).revision == 2

    def test_they_are_left_aside_and_the_timeline_says_so(self, clinic: Clinic) -> None:
        late(clinic, "ignore")
        study = clinic.study(make_instance())
        assert (study.status, study.revision) == ("delivered", 1)
        assert events(clinic)[-1] == "late_images_left_aside"
        assert clinic.rows("SELECT outcome, completion FROM arrival ORDER BY id")[1] == {
            "outcome": "ignored",
            "completion": "3 images came after the end and are left aside",
        }

    @pytest.mark.parametrize(("wanted", "revision"), [(Order.PROCESS, 2), (Order.DISCARD, 1)])
    def test_a_person_is_asked(self, clinic: Clinic, wanted: Order, revision: int) -> None:
        late(clinic, "ask")
        assert said(clinic) == "3 images came after the end: process them or leave them aside?"
        assert clinic.study(make_instance()).revision == 1
        order(clinic, wanted)
        clinic.assemble()
        study = clinic.study(make_instance())
        assert (study.revision, study.reason_code) == (revision, None)
        assert clinic.rows("SELECT 1 FROM arrival WHERE closed_at IS NULL") == []

    def test_an_archive_that_counts_them_is_not_an_archive_that_is_being_filled(self, clinic: Clinic) -> None:
        clinic.owner.execute("UPDATE peer SET query_kind = 'dimse'")
        late(clinic, "ask")
        counted(clinic, {"1.2.3.1": 4})
        clinic.assemble()
        assert said(clinic) == "3 images came after the end: process them or leave them aside?"
