"""Rows that share a commit: all of them, or those that can; never a wrong answer, never for ever."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, LiteralString

import psycopg
import pytest

from dicom_gateway.instance_sink import ReceivedInstance, RecordOutcome
from pipeline import group_commit
from pipeline.group_commit import GroupCommit
from tests.pipeline.conftest import ALPHA, BETA, Clinic, make_instance


class Recorder:
    """A `GroupCommit` that notes how many instances each commit held."""

    def __init__(self, clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commits = GroupCommit(clinic.database.url)
        self.sizes: list[int] = []
        self.pool = ThreadPoolExecutor(16)
        record = self.commits._record

        def noted(group: list[group_commit._Entry]) -> None:
            self.sizes.append(len(group))
            record(group)

        monkeypatch.setattr(self.commits, "_record", noted)

    def record(self, received: ReceivedInstance, tenant: str = ALPHA) -> Future[RecordOutcome | None]:
        return self.pool.submit(self.commits.record, tenant, 1, received)

    def wait_for(self, count: int) -> None:
        """Until so many stand in line behind the commit in progress."""
        deadline = time.monotonic() + 10
        while len(self.commits._waiting) < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def recorder(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    clinic.receive(make_instance())  # opens the arrival
    made = Recorder(clinic, monkeypatch)
    yield made
    made.pool.shutdown()
    made.commits.close()


@pytest.fixture
def held(clinic: Clinic) -> Iterator[psycopg.Connection]:
    """A session that holds the lock on every arrival until it rolls back."""
    with psycopg.connect(clinic.database.url) as conn:
        conn.execute("SELECT 1 FROM arrival FOR UPDATE")
        yield conn
        conn.rollback()


class TestGroups:
    def test_whoever_waits_shares_the_next_commit(
        self, clinic: Clinic, recorder: Recorder, held: psycopg.Connection
    ) -> None:
        first = recorder.record(make_instance(number=2))
        while not recorder.sizes:
            time.sleep(0.01)
        others = [recorder.record(make_instance(number=number)) for number in range(3, 11)]
        recorder.wait_for(8)
        held.rollback()
        assert {one.result(10) for one in [first, *others]} == {RecordOutcome.STORED}
        assert recorder.sizes == [1, 8]
        assert clinic.rows("SELECT new_count FROM arrival") == [{"new_count": 10}]
        assert len(clinic.rows("SELECT 1 FROM instance")) == 10

    def test_one_object_twice_at_once_is_stored_once_and_identical_once(
        self, recorder: Recorder, held: psycopg.Connection
    ) -> None:
        recorder.record(make_instance(number=2))
        while not recorder.sizes:
            time.sleep(0.01)
        twice = [recorder.record(make_instance(number=3)) for _ in range(2)]
        recorder.wait_for(2)
        held.rollback()
        assert {one.result(10) for one in twice} == {RecordOutcome.STORED, RecordOutcome.IDENTICAL}

    def test_what_is_new_and_what_came_before_share_a_group(
        self, clinic: Clinic, recorder: Recorder, held: psycopg.Connection
    ) -> None:
        held.rollback()
        clinic.receive(make_instance("1.2.77"))
        held.execute("SELECT 1 FROM arrival FOR UPDATE")
        recorder.record(make_instance(number=2))
        while not recorder.sizes:
            time.sleep(0.01)
        sent = [
            make_instance(number=3),
            make_instance(),
            make_instance("1.2.77", number=2),
            make_instance("1.2.99"),
        ]
        outcomes = [recorder.record(one) for one in sent]
        recorder.wait_for(4)
        held.rollback()
        stored, identical = RecordOutcome.STORED, RecordOutcome.IDENTICAL
        assert [one.result(10) for one in outcomes] == [stored, identical, stored, None]
        assert recorder.sizes == [1, 4]
        assert clinic.rows("SELECT new_count, identical_count FROM arrival ORDER BY id") == [
            {"new_count": 3, "identical_count": 1},
            {"new_count": 2, "identical_count": 0},
        ]

    def test_what_needs_more_than_a_row_is_left_to_a_transaction_of_its_own(
        self, clinic: Clinic, recorder: Recorder
    ) -> None:
        """A study without an open arrival, other bytes under a known UID, our own result."""
        clinic.add_result_object(clinic.study(make_instance()), "2.25.1")
        for one in (
            make_instance("1.2.99"),
            make_instance(blake3="f" * 64),
            make_instance("1.2.99", sop_instance_uid=make_instance().sop_instance_uid),
            make_instance(sop_instance_uid="2.25.1"),
        ):
            assert recorder.record(one).result(10) is None
        assert len(clinic.rows("SELECT 1 FROM instance")) == 1
        assert clinic.rows("SELECT new_count, identical_count FROM arrival") == [
            {"new_count": 1, "identical_count": 0}
        ]

    def test_a_group_is_of_one_hospital(
        self, clinic: Clinic, recorder: Recorder, held: psycopg.Connection
    ) -> None:
        held.rollback()
        clinic.receive(make_instance(), BETA)
        held.execute("SELECT 1 FROM arrival FOR UPDATE")
        recorder.record(make_instance(number=2))
        while not recorder.sizes:
            time.sleep(0.01)
        others = [recorder.record(make_instance(number=3), tenant) for tenant in (ALPHA, BETA)]
        recorder.wait_for(2)
        held.rollback()
        assert [one.result(10) for one in others] == [RecordOutcome.STORED] * 2
        assert recorder.sizes == [1, 1, 1]
        assert clinic.rows("SELECT tenant, new_count FROM arrival ORDER BY tenant") == [
            {"tenant": ALPHA, "new_count": 3},
            {"tenant": BETA, "new_count": 2},
        ]


class TestFailures:
    def test_a_row_that_cannot_be_recorded_spoils_no_other(
        self, clinic: Clinic, recorder: Recorder, held: psycopg.Connection
    ) -> None:
        recorder.record(make_instance(number=2))
        while not recorder.sizes:
            time.sleep(0.01)
        good = [recorder.record(make_instance(number=number)) for number in range(3, 6)]
        bad = recorder.record(make_instance(number=9, modality="C\0T"))
        recorder.wait_for(4)
        held.rollback()
        assert [one.result(10) for one in good] == [RecordOutcome.STORED] * 3
        with pytest.raises(psycopg.DataError):
            bad.result(10)
        assert clinic.rows("SELECT new_count FROM arrival") == [{"new_count": 5}]

    def test_what_was_committed_stays_so_when_the_rest_fails(
        self, clinic: Clinic, recorder: Recorder, held: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        execute = recorder.commits._execute

        def fails_later(
            tenant: str, statement: LiteralString, arguments: Sequence[str]
        ) -> list[tuple[Any, ...]]:
            if "record_instances" in statement:
                raise psycopg.DataError
            return execute(tenant, statement, arguments)

        monkeypatch.setattr(recorder.commits, "_execute", fails_later)
        recorder.record(make_instance(number=2))
        while not recorder.sizes:
            time.sleep(0.01)
        new, known = recorder.record(make_instance(number=3)), recorder.record(make_instance())
        recorder.wait_for(2)
        held.rollback()
        assert new.result(10) is RecordOutcome.STORED
        with pytest.raises(psycopg.DataError):
            known.result(10)
        assert clinic.rows("SELECT new_count FROM arrival") == [{"new_count": 3}]

    def test_a_lock_that_is_not_let_go_ends_in_an_error_and_other_studies_go_on(
        self, clinic: Clinic, recorder: Recorder, held: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(group_commit, "LOCK_TIMEOUT_S", 0.3)
        clinic.receive(make_instance("1.2.77"))  # after the lock was taken: not held
        began = time.monotonic()
        stuck = [recorder.record(make_instance(number=number)) for number in range(2, 6)]
        free = recorder.record(make_instance("1.2.77", number=2))
        for one in stuck:
            with pytest.raises(psycopg.errors.LockNotAvailable):
                one.result(10)
        assert free.result(10) is RecordOutcome.STORED
        assert time.monotonic() - began < 5
        held.rollback()
        assert recorder.record(make_instance(number=2)).result(10) is RecordOutcome.STORED

    def test_a_connection_that_was_cut_is_made_anew_without_an_error(
        self, clinic: Clinic, recorder: Recorder
    ) -> None:
        assert recorder.record(make_instance(number=2)).result(10) is RecordOutcome.STORED
        clinic.owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'radmeter-receive'"
        )
        assert recorder.record(make_instance(number=3)).result(10) is RecordOutcome.STORED

    def test_two_processes_with_the_same_studies_never_deadlock(self, clinic: Clinic) -> None:
        studies = [f"1.2.{number}" for number in range(50, 56)]
        for study in studies:
            clinic.receive(make_instance(study))
        desks = [GroupCommit(clinic.database.url) for _ in range(2)]
        numbers = itertools.count(2)
        barrier = threading.Barrier(12)

        def send(desk: GroupCommit, order: list[str]) -> list[RecordOutcome | None]:
            barrier.wait(20)
            return [
                desk.record(ALPHA, 1, make_instance(study, next(numbers)))
                for study in order
                for _ in range(8)
            ]

        with ThreadPoolExecutor(12) as pool:
            sent = [
                pool.submit(send, desk, studies[turn:] + studies[:turn][:: -1 if turn % 2 else 1])
                for desk in desks
                for turn in range(6)
            ]
            outcomes = [outcome for one in sent for outcome in one.result(60)]
        for desk in desks:
            desk.close()
        assert outcomes == [RecordOutcome.STORED] * (12 * 6 * 8)
        assert {row["new_count"] for row in clinic.rows("SELECT new_count FROM arrival")} == {1 + 12 * 8}
