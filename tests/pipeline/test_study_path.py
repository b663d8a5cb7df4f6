"""Steps as durable jobs: refused, failed, tried again, given up, killed and run twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from billing.contracts import store as billing_store
from dicom_gateway.arrival_evidence import Order
from pipeline import retry, store, study_path
from pipeline.database import Connection
from pipeline.errors import StudyFailed, StudyRefused
from pipeline.order_study import order_study
from pipeline.services import Observer, Outcome, Services
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.study_path import STEP_AFTER, Step, take_step
from tests.conftest import ROOT
from tests.pipeline.conftest import ALPHA, BETA, Clinic, make_instance

Work = Callable[[Services, StudyRecord], Outcome]


class Killed(BaseException):
    """Stands for SIGKILL: nothing on the path may catch it."""


@pytest.fixture
def replace_work(monkeypatch: pytest.MonkeyPatch) -> Callable[[StudyStatus, Work], None]:
    """`replace_work(status, work)`: the step that takes this status does `work` instead."""

    def replace(takes: StudyStatus, work: Work) -> None:
        step = dataclasses.replace(STEP_AFTER[takes], work=work)
        monkeypatch.setitem(study_path.STEP_AFTER, takes, step)

    return replace


def assembled(clinic: Clinic) -> StudyRecord:
    clinic.receive(make_instance())
    clinic.fall_silent()
    clinic.assemble()
    return clinic.study(make_instance())


def at(clinic: Clinic, status: StudyStatus) -> StudyRecord:
    """A study in `status`, routed to the one product."""
    study = assembled(clinic)
    clinic.set_status(make_instance(), status)
    clinic.owner.execute("""UPDATE study SET route = '[{"product": "lung_nodule_ct"}]'""")
    return dataclasses.replace(study, status=status)


def take(clinic: Clinic, study: StudyRecord, attempts: int = 0, services: Services | None = None) -> None:
    take_step(services or clinic.services, ALPHA, str(study.id), study.revision, attempts=attempts)


def usage(clinic: Clinic) -> list[tuple[str, str, str]]:
    with clinic.database.transaction(ALPHA) as conn:
        recorded = billing_store.usage_for_study(conn, ALPHA, str(clinic.study(make_instance()).id))
    return [(one.event.kind, one.decision.outcome, one.decision.reason_code) for one in recorded]


def raising(error: BaseException) -> Work:
    def work(services: Services, study: StudyRecord) -> Outcome:
        raise error

    return work


def state(clinic: Clinic) -> tuple[Any, ...]:
    """Everything that a step may change."""
    return (
        clinic.rows("SELECT * FROM study"),
        clinic.rows("SELECT * FROM study_event ORDER BY id"),
        clinic.rows("SELECT * FROM result"),
        clinic.rows("SELECT id, status, args FROM procrastinate_jobs ORDER BY id"),
        clinic.rows("SELECT * FROM billing.usage_event"),
        clinic.rows("SELECT * FROM billing.event_decision"),
    )


class TestOutcome:
    def test_result_status_timeline_and_next_job_commit_together(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None]
    ) -> None:
        def save(conn: Connection, study: StudyRecord) -> None:
            store.set_route(conn, study, [{"product": "x"}])

        replace_work(StudyStatus.ASSEMBLED, lambda *_: Outcome(save, {"explanation": ["why"]}))
        observed: list[tuple[str, str]] = []

        class Noting(Observer):
            def routed(self, study: StudyRecord) -> None:
                observed.extend(("chosen", one["product"]) for one in study.route)

            def step_ended(self, step: str, gives: str, duration_s: float) -> None:
                observed.append((step, gives))

        services = dataclasses.replace(clinic.services, observer=Noting())
        study = assembled(clinic)
        take(clinic, study, services=services)
        after = clinic.study(make_instance())
        assert (after.status, after.route) == ("routed", [{"product": "x"}])
        last = clinic.rows("SELECT event, detail, duration_ms FROM study_event ORDER BY id DESC LIMIT 1")[0]
        assert (last["event"], last["detail"]) == ("study_routed", {"explanation": ["why"]})
        assert last["duration_ms"] >= 0
        assert len(clinic.jobs("take_step")) == 2
        assert observed == [("chosen", "x"), ("route", "routed")]
        assert usage(clinic) == []

    def test_one_part_that_fails_undoes_all(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None]
    ) -> None:
        """The next job cannot be queued: then the status has not changed and the result is not stored either."""

        def no_queue(conn: Connection, study: StudyRecord) -> None:
            raise psycopg.OperationalError("gone")

        replace_work(
            StudyStatus.ASSEMBLED,
            lambda *_: Outcome(lambda conn, one: store.set_route(conn, one, [{"a": 1}])),
        )
        study = assembled(clinic)
        before = state(clinic)
        with pytest.raises(psycopg.OperationalError):
            take(clinic, study, services=dataclasses.replace(clinic.services, defer_step=no_queue))
        assert state(clinic) == before

    def test_a_refusal_ends_the_study_with_code_and_sentence(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None]
    ) -> None:
        study = at(clinic, StudyStatus.ROUTED)
        replace_work(StudyStatus.ROUTED, raising(StudyRefused("GANTRY_TILT", "The gantry was tilted.")))
        take(clinic, study)
        after = clinic.study(make_instance())
        assert (after.status, after.reason_code, after.reason_text) == (
            "rejected",
            "GANTRY_TILT",
            "The gantry was tilted.",
        )
        assert usage(clinic) == [("refused", "not_billable", "refused")]
        assert len(clinic.jobs("take_step")) == 1

    def test_a_refusal_before_any_route_is_an_event_for_each_subscribed_product(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None]
    ) -> None:
        study = assembled(clinic)
        reason = ("WRONG_MODALITY", "It is an MR.")
        replace_work(StudyStatus.ASSEMBLED, lambda *_: Outcome(gives=StudyStatus.REJECTED, reason=reason))
        take(clinic, study)
        assert usage(clinic) == [("refused", "not_billable", "refused")]

    def test_a_failure_ends_the_study_with_code_and_sentence(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None]
    ) -> None:
        study = at(clinic, StudyStatus.DECODED)
        replace_work(
            StudyStatus.DECODED, raising(StudyFailed("INFERENCE_FAILED", "A score is not a number."))
        )
        take(clinic, study)
        after = clinic.study(make_instance())
        assert (after.status, after.reason_code) == ("failed", "INFERENCE_FAILED")
        assert usage(clinic) == [("failed", "not_billable", "failed")]

    def test_late_instances_that_change_nothing_end_without_an_event(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None]
    ) -> None:
        study = assembled(clinic)
        replace_work(StudyStatus.ASSEMBLED, lambda *_: Outcome(gives=StudyStatus.DELIVERED, unchanged=True))
        take(clinic, study)
        assert clinic.study(make_instance()).status == "delivered"
        assert usage(clinic) == []


class TestMoney:
    def test_a_delivery_is_billed_once_and_a_second_revision_of_it_not_again(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None]
    ) -> None:
        with clinic.database.transaction(ALPHA) as conn:
            billing_store.add_contract(conn, ALPHA, (ROOT / "examples/contract_per_case.yaml").read_text())
        replace_work(StudyStatus.ENCODED, lambda *_: Outcome())
        take(clinic, at(clinic, StudyStatus.ENCODED))
        assert usage(clinic) == [("result_delivered", "billable", "first_delivery")]
        clinic.receive(make_instance(number=2))
        clinic.fall_silent()
        clinic.assemble()
        clinic.set_status(make_instance(), "encoded")
        take(clinic, clinic.study(make_instance()))
        assert sorted(usage(clinic)) == [
            ("result_delivered", "billable", "first_delivery"),
            ("result_delivered", "not_billable", "already_charged"),
        ]

    def test_the_delivery_to_a_test_peer_is_never_billed(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None]
    ) -> None:
        clinic.owner.execute("UPDATE peer SET is_test = true")
        with clinic.database.transaction(ALPHA) as conn:
            billing_store.add_contract(conn, ALPHA, (ROOT / "examples/contract_per_case.yaml").read_text())
        replace_work(StudyStatus.ENCODED, lambda *_: Outcome())
        take(clinic, at(clinic, StudyStatus.ENCODED))
        assert usage(clinic) == [("result_delivered", "not_billable", "test_peer")]

    def test_billing_sees_neither_the_study_uid_nor_the_patient(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None]
    ) -> None:
        replace_work(StudyStatus.ENCODED, lambda *_: Outcome())
        study = at(clinic, StudyStatus.ENCODED)
        clinic.owner.execute(
            """UPDATE study SET study_instance_uid = '2.25.999000999',
                   header = '{"patient_name": "CANARY", "patient_id": "CANARY", "accession_number": "CANARY"}'"""
        )
        take(clinic, study)
        rows = clinic.rows("SELECT row_to_json(e)::text AS text FROM billing.usage_event e")
        rows += clinic.rows("SELECT row_to_json(d)::text AS text FROM billing.event_decision d")
        assert len(rows) == 2
        for row in rows:
            assert "CANARY" not in row["text"]
            assert "2.25.999000999" not in row["text"]


class TestAgain:
    @pytest.mark.parametrize(
        "error", [OSError(28, "no space"), MemoryError(), psycopg.OperationalError("gone")], ids=repr
    )
    def test_what_may_pass_is_raised_for_the_queue_to_try_again(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None], error: Exception
    ) -> None:
        study = at(clinic, StudyStatus.ROUTED)
        replace_work(StudyStatus.ROUTED, raising(error))
        before = state(clinic)
        for attempts in range(retry.ATTEMPTS_MAX):
            with pytest.raises(type(error)):
                take(clinic, study, attempts)
        assert state(clinic) == before
        take(clinic, study, retry.ATTEMPTS_MAX)
        after = clinic.study(make_instance())
        assert (after.status, after.reason_code) == ("failed", "STEP_GAVE_UP")
        assert after.reason_text is not None
        assert type(error).__name__ in after.reason_text

    def test_our_own_mistake_fails_the_study_at_once_without_its_message(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None]
    ) -> None:
        """A message may quote the input."""
        study = at(clinic, StudyStatus.INFERRED)
        replace_work(StudyStatus.INFERRED, raising(ValueError("CANARY^MARY")))
        take(clinic, study)
        after = clinic.study(make_instance())
        assert (after.status, after.reason_code) == ("failed", "STEP_GAVE_UP")
        assert after.reason_text == "The step “encode” could not be done: ValueError."

    @pytest.mark.parametrize("status", [StudyStatus.ASSEMBLED, StudyStatus.ROUTED, StudyStatus.DECODED])
    def test_a_study_that_ends_its_worker_every_time_is_given_up_untouched(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None], status: StudyStatus
    ) -> None:
        """A poison study: the job comes back with a count of attempts, and nobody lived to say why."""
        study = at(clinic, status)
        replace_work(status, raising(Killed()))
        for attempts in range(retry.ATTEMPTS_MAX + 1):
            with pytest.raises(Killed):
                take(clinic, study, attempts)
        take(clinic, study, retry.ATTEMPTS_MAX + 1)
        after = clinic.study(make_instance())
        assert (after.status, after.reason_code) == ("failed", "STEP_GAVE_UP")
        assert usage(clinic) == [("failed", "not_billable", "failed")]

    def test_a_study_that_was_given_up_is_charged_once_when_it_begins_anew_and_is_delivered(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None]
    ) -> None:
        with clinic.database.transaction(ALPHA) as conn:
            billing_store.add_contract(conn, ALPHA, (ROOT / "examples/contract_per_case.yaml").read_text())
        take(clinic, at(clinic, StudyStatus.DECODED), retry.ATTEMPTS_MAX + 1)
        study = clinic.study(make_instance())
        assert study.status is StudyStatus.FAILED
        with clinic.database.transaction(ALPHA) as conn:
            order_study(clinic.queue, conn, ALPHA, study.id, Order.PROCESS, by="operator")
        clinic.set_status(make_instance(), "encoded")
        replace_work(StudyStatus.ENCODED, lambda *_: Outcome())
        for _ in range(2):
            take(clinic, clinic.study(make_instance()))
        assert sorted(usage(clinic)) == [
            ("failed", "not_billable", "failed"),
            ("result_delivered", "billable", "first_delivery"),
        ]


class TestKilled:
    @pytest.mark.parametrize("step", study_path.PATH, ids=lambda step: step.name)
    def test_killed_before_its_commit_a_step_is_taken_again(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None], step: Step
    ) -> None:
        study = at(clinic, step.takes)
        before = state(clinic)

        def killed(conn: Connection, study: StudyRecord) -> None:
            store.set_header(conn, study, {"half": "done"})
            raise Killed

        replace_work(step.takes, lambda *_: Outcome(killed))
        with pytest.raises(Killed):
            take(clinic, study)
        assert state(clinic) == before
        replace_work(step.takes, lambda *_: Outcome())
        take(clinic, study, attempts=1)
        assert clinic.study(make_instance()).status is step.gives

    @pytest.mark.parametrize("step", study_path.PATH, ids=lambda step: step.name)
    def test_killed_after_its_commit_the_job_run_again_changes_nothing(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None], step: Step
    ) -> None:
        """The queue had not heard that the job was done. The next step must not be done in its name either."""
        study = at(clinic, step.takes)
        replace_work(step.takes, lambda *_: Outcome())
        take(clinic, study)
        before = state(clinic)
        if step.gives in STEP_AFTER:
            # The next job is in the queue too: two jobs for one step; the second finds it done.
            replace_work(step.gives, lambda *_: Outcome())
            take(clinic, study, attempts=1)
            take(clinic, study)
            steps = clinic.rows("SELECT event FROM study_event WHERE event = %s", f"study_{step.gives}")
            assert len(steps) == 1
        else:
            take(clinic, study, attempts=1)
            assert state(clinic) == before

    def test_two_workers_with_the_same_job_commit_one_step(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None]
    ) -> None:
        """A worker that was taken for dead comes back while its study is worked on by another."""
        study = at(clinic, StudyStatus.ROUTED)

        def slow(services: Services, record: StudyRecord) -> Outcome:
            replace_work(StudyStatus.ROUTED, lambda *_: Outcome())
            take(clinic, study)  # the other one, from start to commit
            return Outcome(lambda *_: pytest.fail("the slower worker saved its outcome"))

        replace_work(StudyStatus.ROUTED, slow)
        take(clinic, study)
        assert clinic.study(make_instance()).status == "decoded"
        assert len(clinic.rows("SELECT 1 FROM study_event WHERE event = 'study_decoded'")) == 1

    def test_a_job_of_an_earlier_revision_is_void(
        self, clinic: Clinic, replace_work: Callable[[StudyStatus, Work], None]
    ) -> None:
        study = at(clinic, StudyStatus.ROUTED)
        clinic.owner.execute("UPDATE study SET revision = 2")
        replace_work(StudyStatus.ROUTED, lambda *_: pytest.fail("it worked for a revision that is gone"))
        take(clinic, study)
        assert clinic.study(make_instance()).status == "routed"

    def test_a_job_of_another_hospital_finds_no_study(self, clinic: Clinic) -> None:
        study = at(clinic, StudyStatus.ROUTED)
        with pytest.raises(store.StudyNotFound):
            take_step(clinic.services, BETA, str(study.id), 1, attempts=0)
