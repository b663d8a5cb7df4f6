"""The row of each received instance: one transaction, whoever sends, however often, from however many sides."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from procrastinate.exceptions import ConnectorException
from psycopg import DataError

from dicom_gateway.errors import HostNotAllowed
from dicom_gateway.instance_sink import RecordOutcome
from tests.pipeline.conftest import ALPHA, BETA, Clinic, make_instance


class TestPeers:
    def test_a_peer_is_known_by_both_ae_titles(self, clinic: Clinic) -> None:
        assert clinic.peer(ALPHA).tenant == ALPHA
        assert clinic.peer(BETA).tenant == BETA
        assert clinic.sink.find_peer("OTHER", "ALPHA", "127.0.0.1") is None
        assert clinic.sink.find_peer("PACS", "GAMMA", "127.0.0.1") is None
        assert clinic.sink.called_ae_title_exists("ALPHA")
        assert not clinic.sink.called_ae_title_exists("GAMMA")

    def test_a_peer_that_is_switched_off_is_not_known(self, clinic: Clinic) -> None:
        clinic.owner.execute("UPDATE peer SET enabled = false WHERE tenant = 'alpha'")
        assert clinic.sink.find_peer("PACS", "ALPHA", "127.0.0.1") is None
        assert clinic.sink.find_peer("PACS", "BETA", "127.0.0.1") is not None

    def test_a_peer_may_be_bound_to_its_address(self, clinic: Clinic) -> None:
        clinic.owner.execute("UPDATE peer SET check_host = true")
        with pytest.raises(HostNotAllowed):
            clinic.sink.find_peer("PACS", "ALPHA", "127.0.0.2")
        assert clinic.sink.find_peer("PACS", "ALPHA", "127.0.0.1") is not None


class TestRecord:
    def test_the_first_instance_opens_study_arrival_and_the_job_that_assembles(self, clinic: Clinic) -> None:
        one = make_instance()
        assert clinic.receive(one) is RecordOutcome.STORED
        study = clinic.study(one)
        assert (study.status, study.revision, study.ae_title) == ("receiving", 1, "PACS")
        (row,) = clinic.rows("SELECT * FROM instance")
        assert row["study_id"] == study.id
        for name in (
            "sop_instance_uid",
            "series_instance_uid",
            "location",
            "blake3",
            "size_bytes",
            "modality",
        ):
            assert row[name] == getattr(one, name)
        (job,) = clinic.jobs("assemble")
        assert job["args"]["tenant"] == ALPHA
        # It looks at once, to ask the sender's archive, and nobody else's instances start a second one.
        assert job["scheduled_at"] is None
        clinic.receive(make_instance(number=2))
        assert len(clinic.jobs("assemble")) == 1

    def test_identical_bytes_are_counted_and_not_stored_again(self, clinic: Clinic) -> None:
        clinic.receive(make_instance())
        assert clinic.receive(make_instance()) is RecordOutcome.IDENTICAL
        assert clinic.rows("SELECT new_count, identical_count FROM arrival") == [
            {"new_count": 1, "identical_count": 1}
        ]
        assert len(clinic.rows("SELECT 1 FROM instance")) == 1

    def test_other_bytes_under_a_known_uid_are_quarantined_and_the_first_are_kept(
        self, clinic: Clinic
    ) -> None:
        first = make_instance()
        other = make_instance(blake3="f" * 64, location="other.dcm")
        clinic.receive(first)
        assert clinic.receive(other) is RecordOutcome.CONFLICT
        (row,) = clinic.rows("SELECT * FROM instance")
        assert (row["blake3"], row["location"]) == (first.blake3, first.location)
        (kept_aside,) = clinic.rows("SELECT * FROM quarantined_instance")
        assert kept_aside["blake3"] == other.blake3
        assert kept_aside["study_id"] == clinic.study(first).id

    def test_an_instance_that_moves_to_another_study_is_a_conflict_there(self, clinic: Clinic) -> None:
        clinic.receive(make_instance())
        moved = make_instance(study_instance_uid="1.2.99")
        assert clinic.receive(moved) is RecordOutcome.CONFLICT
        assert [row["study_id"] for row in clinic.rows("SELECT study_id FROM instance")] == [
            clinic.study(make_instance()).id
        ]

    def test_hospitals_may_hold_the_same_uids(self, clinic: Clinic) -> None:
        one = make_instance()
        assert clinic.receive(one, ALPHA) is RecordOutcome.STORED
        assert clinic.receive(one, BETA) is RecordOutcome.STORED
        assert clinic.study(one, ALPHA).id != clinic.study(one, BETA).id

    def test_our_own_result_sent_back_is_known_and_starts_nothing(self, clinic: Clinic) -> None:
        """A PACS that forwards whatever it stores sends our results to us: without this, a loop."""
        source = make_instance()
        clinic.receive(source)
        clinic.add_result_object(clinic.study(source), "2.25.1")
        clinic.fall_silent()
        clinic.assemble()
        jobs = len(clinic.jobs("assemble"))
        result = make_instance(sop_instance_uid="2.25.1", blake3="a" * 64)
        assert clinic.receive(result) is RecordOutcome.IDENTICAL
        assert len(clinic.rows("SELECT 1 FROM instance")) == 1
        assert len(clinic.rows("SELECT 1 FROM arrival")) == 1
        assert len(clinic.jobs("assemble")) == jobs

    def test_nothing_is_recorded_when_the_job_cannot_be_queued(self, clinic: Clinic) -> None:
        """Instance and job commit together: an instance without its job would never be looked at."""
        clinic.owner.execute("ALTER TABLE procrastinate_jobs RENAME TO gone")
        with pytest.raises(ConnectorException):
            clinic.receive(make_instance())
        clinic.owner.execute("ALTER TABLE gone RENAME TO procrastinate_jobs")
        assert clinic.rows("SELECT 1 FROM instance UNION ALL SELECT 1 FROM study") == []


class TestRecordMany:
    def test_each_of_a_batch_has_its_own_outcome_in_the_order_given(self, clinic: Clinic) -> None:
        clinic.receive(make_instance(number=2))
        batch = [
            make_instance("1.2.9"),
            make_instance(number=2),
            make_instance(number=1),
            make_instance(number=2, blake3="f" * 64, location="other.dcm"),
        ]
        association = clinic.sink.open_association(clinic.peer())
        assert clinic.sink.record_many(association, clinic.peer(), batch) == [
            RecordOutcome.STORED, RecordOutcome.IDENTICAL, RecordOutcome.STORED, RecordOutcome.CONFLICT,
        ]  # fmt: skip
        assert len(clinic.jobs("assemble")) == 2  # one for each study
        assert len(clinic.rows("SELECT 1 FROM quarantined_instance")) == 1

    def test_a_batch_is_recorded_whole_or_not_at_all(self, clinic: Clinic) -> None:
        batch = [make_instance(number=1), make_instance(number=2, sop_class_uid="\0")]
        association = clinic.sink.open_association(clinic.peer())
        with pytest.raises(DataError):
            clinic.sink.record_many(association, clinic.peer(), batch)
        assert clinic.rows("SELECT 1 FROM instance") == []

    def test_batches_of_the_same_studies_in_opposite_order_wait_for_each_other(self, clinic: Clinic) -> None:
        batch = [make_instance(f"1.2.{study}", number) for number in range(5) for study in range(8)]
        barrier = threading.Barrier(4)

        def send(step: int) -> list[RecordOutcome]:
            peer = clinic.peer()
            association = clinic.sink.open_association(peer)
            barrier.wait(20)
            return clinic.sink.record_many(association, peer, batch[::step])

        with ThreadPoolExecutor(4) as pool:
            outcomes = list(itertools.chain.from_iterable(pool.map(send, (1, -1, 1, -1), timeout=60)))
        assert outcomes.count(RecordOutcome.STORED) == 40
        assert outcomes.count(RecordOutcome.IDENTICAL) == 120


class TestConcurrentSenders:
    def test_eight_associations_bring_the_same_study_at_once(self, clinic: Clinic) -> None:
        instances = [make_instance(number=number) for number in range(1, 31)]
        barrier = threading.Barrier(8)

        def send(offset: int) -> list[RecordOutcome]:
            peer = clinic.peer()
            association = clinic.sink.open_association(peer)
            barrier.wait(20)
            ordered = instances[offset:] + instances[:offset]
            outcomes = [clinic.sink.record(association, peer, one) for one in ordered]
            clinic.sink.close_association(association, peer, "released")
            return outcomes

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(itertools.chain.from_iterable(pool.map(send, range(0, 24, 3), timeout=60)))
        assert outcomes.count(RecordOutcome.STORED) == 30
        assert outcomes.count(RecordOutcome.IDENTICAL) == 7 * 30
        assert len(clinic.rows("SELECT 1 FROM instance")) == 30
        assert len(clinic.rows("SELECT 1 FROM study")) == 1
        (arrival,) = clinic.rows("SELECT new_count, identical_count, conflict_count FROM arrival")
        assert arrival == {"new_count": 30, "identical_count": 210, "conflict_count": 0}
        assert len(clinic.jobs("assemble")) == 1

    def test_of_different_bytes_under_one_uid_exactly_one_wins(self, clinic: Clinic) -> None:
        barrier = threading.Barrier(6)

        def send(number: int) -> RecordOutcome:
            barrier.wait(20)
            return clinic.receive(make_instance(blake3=f"{number:064x}", location=f"{number}.dcm"))

        with ThreadPoolExecutor(6) as pool:
            outcomes = list(pool.map(send, range(6), timeout=60))
        assert sorted(outcome.value for outcome in outcomes) == ["conflict"] * 5 + ["stored"]
        assert len(clinic.rows("SELECT 1 FROM quarantined_instance")) == 5

    def test_a_late_instance_and_the_closing_of_its_arrival_never_miss_each_other(
        self, clinic: Clinic
    ) -> None:
        """Each instance ends in a closed arrival that counted it, or in an open one with a job to come."""
        for turn in range(15):
            study = f"1.2.{turn + 10}"
            clinic.receive(make_instance(study, 1))
            clinic.fall_silent()
            barrier = threading.Barrier(2)

            def arrive(study: str = study, barrier: threading.Barrier = barrier) -> RecordOutcome:
                barrier.wait(20)
                return clinic.receive(make_instance(study, 2))

            def close(barrier: threading.Barrier = barrier) -> list[float]:
                barrier.wait(20)
                return clinic.assemble()

            with ThreadPoolExecutor(2) as pool:
                late, closing = pool.submit(arrive), pool.submit(close)
                assert late.result(60) is RecordOutcome.STORED
                closing.result(60)
        for row in clinic.rows("""
            SELECT a.closed_at, a.new_count, count(i.*) AS instance_count
            FROM arrival a JOIN instance i ON i.arrival_id = a.id GROUP BY a.id"""):
            assert row["new_count"] == row["instance_count"]
        queued = {job["args"]["arrival_id"] for job in clinic.jobs("assemble")}
        for row in clinic.rows("SELECT id FROM arrival WHERE closed_at IS NULL"):
            assert row["id"] in queued
