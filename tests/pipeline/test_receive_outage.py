"""A database that cannot answer in time: A700H, nothing piles up, and it goes on by itself."""

from __future__ import annotations

import os
import signal
import time

import psycopg
import pytest

from pipeline import database, group_commit
from pipeline.bounded_connection import DatabaseSilent
from pipeline.database import Database
from pipeline.readiness import database_problem
from tests.dicom_peers import RawPeer, ct_data_set
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
