"""A database that cannot answer in time: A700H, nothing piles up, and it goes on by itself."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from pipeline import database, group_commit
from pipeline.bounded_connection import DatabaseSilent
from pipeline.database import Database
from pipeline.readiness import database_problem
from tests.dicom_harm import rss_bytes
from tests.dicom_peers import RawPeer, ct_data_set, wait_until
from tests.pipeline.conftest import Clinic
from tests.pipeline.services import running_gateway


def test_a_session_that_holds_a_lock_ends_in_a700_and_the_next_image_is_taken(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "LOCK_TIMEOUT_S", 0.3)
    with running_gateway(clinic) as port, RawPeer(port) as peer:
        peer.associate(calling="PACS", called="ALPHA")
        assert peer.store(ct_data_set("1.2.1"), "1.2.1") == 0
        with psycopg.connect(clinic.database.url) as holder:
            holder.execute("SELECT 1 FROM arrival FOR UPDATE")
            began = time.monotonic()
            assert peer.store(ct_data_set("1.2.2"), "1.2.2") == 0xA700
            assert time.monotonic() - began < 5
            holder.rollback()
        assert peer.store(ct_data_set("1.2.2"), "1.2.2") == 0
        peer.release()
    assert {row["sop_instance_uid"] for row in clinic.rows("SELECT sop_instance_uid FROM instance")} == {
        "1.2.1",
        "1.2.2",
    }


def test_a_connection_cut_while_images_come_costs_no_image(clinic: Clinic) -> None:
    with running_gateway(clinic) as port, RawPeer(port) as peer:
        peer.associate(calling="PACS", called="ALPHA")
        for number in range(1, 9):
            uid = f"1.2.{number}"
            assert peer.store(ct_data_set(uid), uid) == 0
            clinic.owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'radmeter-receive'"
            )
        peer.release()
    assert len(clinic.rows("SELECT 1 FROM instance")) == 8


def test_a_frozen_database_process_ends_in_a700_for_a_sender_that_would_wait_for_ever(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen it acknowledges every byte, so no time-out of TCP notices."""
    monkeypatch.setattr(group_commit, "ANSWER_WITHIN_S", 0.5)
    with running_gateway(clinic) as port, RawPeer(port) as peer:
        peer.associate(calling="PACS", called="ALPHA")
        assert peer.store(ct_data_set("1.2.1"), "1.2.1") == 0
        (session,) = clinic.rows(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'radmeter-receive'"
        )
        os.kill(session["pid"], signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert peer.store(ct_data_set("1.2.2"), "1.2.2") == 0xA700
            assert time.monotonic() - began < 5
            assert peer.store(ct_data_set("1.2.2"), "1.2.2") == 0
        finally:
            os.kill(session["pid"], signal.SIGCONT)
        assert peer.store(ct_data_set("1.2.3"), "1.2.3") == 0
        peer.release()
    assert len(clinic.rows("SELECT 1 FROM instance")) == 3


def test_a_pool_lets_go_of_a_frozen_connection_and_readiness_says_so(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_CHECK_WITHIN_S", 0.3)
    pool = Database(clinic.database.url, pool_size_max=1, answer_within_s=0.5)
    with pool.system_transaction() as conn:
        pid = conn.info.backend_pid
        with pytest.raises(DatabaseSilent):
            conn.execute("SELECT pg_sleep(30)")
    with pool.system_transaction() as conn:
        pid = conn.info.backend_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        problem = database_problem(pool)
        assert problem is None or "does not answer" in problem
        with pool.system_transaction() as conn:
            assert conn.info.backend_pid != pid
    finally:
        os.kill(pid, signal.SIGCONT)
        pool.close()


def test_ten_times_more_than_can_be_written_down_waits_its_turn_and_nothing_piles_up(clinic: Clinic) -> None:
    """A database that takes a hundred images a second, and twenty senders that would each bring it as many."""
    clinic.owner.execute(
        """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.01); RETURN new; END';
           CREATE TRIGGER slow BEFORE INSERT ON instance FOR EACH ROW EXECUTE FUNCTION slow()"""
    )
    answers: list[tuple[str, int, float]] = []
    ends_at = time.monotonic() + 2.5

    def send(number: int) -> None:
        with RawPeer(port, f"127.0.1.{number}") as peer:
            peer.associate(calling="PACS", called="ALPHA")
            for image in itertools.count():
                if time.monotonic() > ends_at:
                    break
                uid, began = f"1.2.{number}.{image}", time.monotonic()
                status = peer.store(ct_data_set(uid, study=f"1.9.{number}"), uid)
                answers.append((uid, status, time.monotonic() - began))
            peer.release()

    with running_gateway(clinic) as port:
        threads, memory = threading.active_count(), rss_bytes()
        with ThreadPoolExecutor(20) as senders:
            list(senders.map(send, range(1, 21)))
        wait_until(lambda: threading.active_count() <= threads + 1)
        assert rss_bytes() - memory < 32 << 20
        with RawPeer(port) as peer:
            peer.associate(calling="PACS", called="ALPHA")
    assert {status for _, status, _ in answers} <= {0, 0xA700}
    taken = {uid for uid, status, _ in answers if status == 0}
    assert {row["sop_instance_uid"] for row in clinic.rows("SELECT sop_instance_uid FROM instance")} == taken
    waits = sorted(seconds for _, _, seconds in answers)
    assert waits[len(waits) // 2] > 0.1, "ten times as long as writing one down"
    assert waits[-1] < 15
