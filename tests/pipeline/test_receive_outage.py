"""A database that cannot answer in time: A700H, nothing piles up, and it goes on by itself."""

from __future__ import annotations

import time

import psycopg
import pytest

from pipeline import group_commit
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
