"""The audit trail: appended by everybody, changed by nobody, and a flood leaves few rows."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from dicom_gateway.instance_sink import RecordOutcome
from dicom_gateway.security_alert import SecurityAlert
from pipeline import audit
from pipeline.alert_desk import AlertDesk
from pipeline.audit import AuditEvent
from tests.pipeline.conftest import ALPHA, BETA, Clinic, make_instance


def tamper(clinic: Clinic, statement: str) -> None:
    """As somebody who owns the tables and knows how to go round their triggers."""
    clinic.owner.execute("ALTER TABLE audit_event DISABLE TRIGGER USER")
    clinic.owner.execute(statement)  # type: ignore[call-overload]  # a literal of this file
    clinic.owner.execute("ALTER TABLE audit_event ENABLE TRIGGER USER")


def alerts(clinic: Clinic, action: str) -> list[dict[str, Any]]:
    return clinic.rows("SELECT * FROM audit_event WHERE action = %s ORDER BY sequence", action)


@pytest.fixture
def trail(clinic: Clinic) -> Clinic:
    """Twenty events of both tenants and of none."""
    for number in range(20):
        audit.record(
            clinic.owner,
            (ALPHA, BETA, None)[number % 3],
            AuditEvent.SIGN_IN_FAILED,
            {"user": f"Ärztin {number}"},
        )
    return clinic


TAMPERINGS = (
    ("UPDATE audit_event SET detail = '{}' WHERE sequence = 9", "audit event 9: its hash does not fit"),
    ("UPDATE audit_event SET tenant = 'beta' WHERE sequence = 9", "audit event 9: its hash does not fit"),
    ("UPDATE audit_event SET at = at + interval '1 us' WHERE sequence = 9", "audit event 9: its hash"),
    ("DELETE FROM audit_event WHERE sequence = 9", "events are missing"),
    ("UPDATE audit_event SET sequence = 99 WHERE sequence = 9", "events are missing"),
    ("DELETE FROM audit_event WHERE sequence > 15", "does not contain the head"),
    ("DELETE FROM audit_event", "does not contain the head"),
)


class TestChain:
    def test_a_trail_is_whole(self, trail: Clinic) -> None:
        assert audit.find_problems(trail.owner) == []
        assert audit.find_problems(trail.owner, (audit.head(trail.owner),)) == []

    def test_every_change_shows(self, trail: Clinic) -> None:
        for statement, words in TAMPERINGS:
            with trail.owner.transaction(force_rollback=True):
                tamper(trail, statement)
                problems = audit.find_problems(trail.owner)
                assert any(words in problem for problem in problems), (statement, problems)
        assert audit.find_problems(trail.owner) == []

    def test_a_trail_written_anew_is_found_by_a_head_kept_elsewhere(self, trail: Clinic) -> None:
        kept = audit.head(trail.owner)
        tamper(trail, "DELETE FROM audit_event")
        trail.owner.execute("UPDATE audit_head SET sequence = 0, hash = %s", (audit.GENESIS,))
        for _ in range(30):
            audit.record(trail.owner, ALPHA, AuditEvent.SIGNED_IN, {"user": "x"})
        assert audit.find_problems(trail.owner) == []
        assert audit.find_problems(trail.owner, (kept,)) == [f"the chain does not contain the head {kept}"]

    def test_writers_at_the_same_time_make_one_chain(self, clinic: Clinic) -> None:
        def write() -> None:
            for _ in range(10):
                with clinic.database.transaction(ALPHA) as conn:
                    audit.record(conn, ALPHA, AuditEvent.SIGNED_IN, {"user": "x"})

        threads = [threading.Thread(target=write) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(alerts(clinic, "signed_in")) == 80
        assert audit.find_problems(clinic.owner) == []


class TestWalls:
    def test_not_even_the_owner_changes_it(self, trail: Clinic) -> None:
        for statement in (
            "UPDATE audit_event SET outcome = 0",
            "DELETE FROM audit_event",
            "TRUNCATE audit_event",
        ):
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                trail.owner.execute(statement)  # type: ignore[call-overload]  # a literal of this list

    def test_the_role_of_the_processes_only_appends(self, trail: Clinic) -> None:
        for statement in (
            "INSERT INTO audit_event SELECT * FROM audit_event",
            "UPDATE audit_event SET outcome = 0",
            "DELETE FROM audit_event",
            "UPDATE audit_head SET sequence = 0",
            "SELECT * FROM audit_head",
        ):
            with (
                pytest.raises(psycopg.errors.InsufficientPrivilege),
                trail.database.transaction(ALPHA) as conn,
            ):
                conn.execute(statement)  # type: ignore[call-overload]  # a literal of this list

    def test_a_tenant_reads_its_own_only_and_appends_for_itself_only(self, trail: Clinic) -> None:
        with trail.database.transaction(BETA) as conn:
            seen = conn.execute("SELECT DISTINCT tenant FROM audit_event").fetchall()
            assert seen == [{"tenant": BETA}]
            assert audit.recent(conn, ALPHA) == []
        with (
            pytest.raises(psycopg.errors.RaiseException, match="another tenant"),
            trail.database.transaction(BETA) as conn,
        ):
            audit.record(conn, ALPHA, AuditEvent.SIGNED_IN, {})

    def test_what_is_nobodys_belongs_to_the_only_tenant(self, clinic: Clinic) -> None:
        clinic.owner.execute("DELETE FROM peer WHERE tenant = 'beta'")
        audit.record(clinic.owner, None, AuditEvent.ASSOCIATION_REJECTED, {"host": "192.0.2.1"})
        tamper(clinic, "DELETE FROM audit_event WHERE tenant = 'beta'")
        clinic.owner.execute("DELETE FROM tenant WHERE tenant = 'beta'")
        audit.record(clinic.owner, None, AuditEvent.ASSOCIATION_REJECTED, {"host": "192.0.2.1"})
        assert [row["tenant"] for row in alerts(clinic, "association_rejected")] == [None, ALPHA]


class TestFlood:
    def test_what_follows_within_a_minute_is_counted(self, clinic: Clinic) -> None:
        now = [0.0]
        desk = AlertDesk(clinic.database, now=lambda: now[0])
        alert = SecurityAlert("association_rejected", "no", "192.0.2.1", "CT1", "ALPHA")
        for _ in range(1000):
            desk.report(alert)
        assert [row["detail"].get("count") for row in alerts(clinic, "association_rejected")] == [None]
        now[0] = 61.0
        desk.report(alert)
        rows = alerts(clinic, "association_rejected")
        assert [row["detail"].get("count") for row in rows] == [None, 999, None]
        assert {row["tenant"] for row in rows} == {ALPHA}
        desk.close()

    def test_a_host_that_calls_itself_by_many_names_leaves_few_rows(self, clinic: Clinic) -> None:
        desk = AlertDesk(clinic.database, now=lambda: 0.0)
        for number in range(1000):
            desk.report(SecurityAlert("association_rejected", "no", "192.0.2.1", f"AE{number}", "ALPHA"))
        desk.close()
        rows = [row["detail"] for row in alerts(clinic, "association_rejected")]
        assert [one.get("calling_ae_title") for one in rows] == [f"AE{n}" for n in range(10)] + [None, None]
        assert sum(one.get("count", 1) for one in rows) == 1000

    def test_many_hosts_leave_few_rows_and_every_alert_is_counted(self, clinic: Clinic) -> None:
        desk = AlertDesk(clinic.database, now=lambda: 0.0)
        for number in range(1000):
            host = f"10.0.{number // 250}.{number % 250}"
            desk.report(SecurityAlert("tls_failed", "no", host))
            desk.report(SecurityAlert("tls_failed", "no", host))
        desk.close()
        rows = alerts(clinic, "tls_failed")
        assert sum(row["detail"].get("count", 1) for row in rows) == 2000
        assert len(rows) <= 402
        assert audit.find_problems(clinic.owner) == []

    def test_the_count_is_written_although_nothing_more_comes(self, clinic: Clinic) -> None:
        from tests.dicom_peers import wait_until

        desk = AlertDesk(clinic.database, window_s=0.2)
        for _ in range(5):
            desk.report(SecurityAlert("tls_failed", "no", "192.0.2.1"))
        wait_until(lambda: len(alerts(clinic, "tls_failed")) == 2)
        assert alerts(clinic, "tls_failed")[1]["detail"]["count"] == 4

    def test_a_database_that_is_down_stops_no_association(self, clinic: Clinic) -> None:
        desk = AlertDesk(clinic.database)
        clinic.database.close()
        desk.report(SecurityAlert("tls_failed", "no", "192.0.2.1"))


def test_different_bytes_under_a_known_uid_raise_one_alert_for_each_study(clinic: Clinic) -> None:
    clinic.receive(make_instance())
    for number in range(5):
        assert clinic.receive(make_instance(blake3=f"{number:063d}f")) is RecordOutcome.CONFLICT
    clinic.sink.close()
    rows = alerts(clinic, "instance_differs")
    assert [row["detail"].get("count", 1) for row in rows] == [1, 4]
    study = clinic.study(make_instance())
    assert {row["detail"]["study"] for row in rows} == {str(study.id)}
    assert {row["tenant"] for row in rows} == {ALPHA}
    assert not any("1.2.3" in str(row["detail"]) for row in rows)  # our id, never a UID


def test_what_came_is_in_the_trail_once_its_arrival_is_closed(clinic: Clinic) -> None:
    for number in (1, 2, 2):
        clinic.receive(make_instance(number=number))
    assert alerts(clinic, "instances_received") == []
    clinic.fall_silent()
    clinic.assemble()
    (row,) = alerts(clinic, "instances_received")
    assert row["event"] == "DICOM Instances Transferred"
    study = clinic.study(make_instance())
    assert row["detail"] == {"study": str(study.id), "calling_ae_title": "PACS", "instances": 3}
