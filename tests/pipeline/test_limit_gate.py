"""A limit before a study is analysed: elective work waits visibly and goes on by itself, urgent work runs flagged."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.contracts import store as billing_store
from billing.guarding import guard, limits, wallet_sale
from pipeline import audit, study_path
from pipeline.limit_gate import hold_back, look_at_limits, tenants
from pipeline.services import Outcome, Services
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.study_path import STEP_AFTER, take_step
from tests.billing.limits_builders import MEMBERSHIP, with_limits
from tests.conftest import ROOT
from tests.pipeline.conftest import ALPHA, BETA, Clinic, make_instance

ONE_A_DAY = "quotas: {id: daily, units: 1, per: day, when_reached: wait, alerts: [100]}"


@pytest.fixture
def contract_id(clinic: Clinic) -> int:
    """One case a day; the rest of it is as in the example."""
    text = with_limits((ROOT / "examples/contract_per_case.yaml").read_text(), ONE_A_DAY)
    with clinic.database.transaction(ALPHA) as conn:
        return billing_store.add_contract(conn, ALPHA, text)


def routed(clinic: Clinic, number: int, **changes: object) -> StudyRecord:
    """The study of that number, routed to the one product."""
    received = make_instance(f"1.2.{number}")
    clinic.receive(received)
    clinic.fall_silent()
    clinic.assemble()
    clinic.set_status(received, "routed")
    values = {"route": '[{"product": "lung_nodule_ct", "series_instance_uid": "1"}]', **changes}
    columns = ", ".join(f"{name} = %s" for name in values)
    clinic.owner.execute(
        f"UPDATE study SET {columns} WHERE study_instance_uid = %s",
        (*values.values(), received.study_instance_uid),
    )
    return clinic.study(received)


def deliver(clinic: Clinic, number: int, monkeypatch: pytest.MonkeyPatch) -> StudyRecord:
    """The study of that number goes to its end."""
    received = make_instance(f"1.2.{number}")
    clinic.set_status(received, "encoded")
    done = dataclasses.replace(STEP_AFTER[StudyStatus.ENCODED], work=lambda *_: Outcome())
    monkeypatch.setitem(study_path.STEP_AFTER, StudyStatus.ENCODED, done)
    take(clinic, clinic.study(received))
    return clinic.study(received)


def take(clinic: Clinic, study: StudyRecord) -> None:
    take_step(clinic.services, ALPHA, str(study.id), study.revision, attempts=0)


def look(clinic: Clinic, now: datetime | None = None) -> int:
    return look_at_limits(clinic.database, clinic.queue, ALPHA, now=now or datetime.now(UTC))


def decode_is_reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the studies that pass the gate; nothing is decoded in this test."""
    passed: list[str] = []

    def work(services: Services, study: StudyRecord) -> Outcome:
        held = hold_back(services.database, study, now=datetime.now(UTC))
        if held is None:
            passed.append(str(study.id))
        return held or Outcome()

    step = dataclasses.replace(STEP_AFTER[StudyStatus.ROUTED], work=work)
    monkeypatch.setitem(study_path.STEP_AFTER, StudyStatus.ROUTED, step)
    return passed


def usage_evidence(clinic: Clinic, study: StudyRecord) -> list[dict[str, object]]:
    with clinic.database.transaction(ALPHA) as conn:
        recorded = billing_store.usage_for_study(conn, ALPHA, str(study.id))
    return [dict(one.event.evidence) for one in recorded]


class TestHeld:
    def test_the_second_study_of_the_day_waits_with_its_sentence_and_the_decode_step_has_not_run(
        self, clinic: Clinic, contract_id: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        routed(clinic, 1)
        deliver(clinic, 1, monkeypatch)
        study = routed(clinic, 2)
        take(clinic, study)  # the real decode step: it would fail, for there is no file
        after = clinic.study(make_instance("1.2.2"))
        assert (after.status, after.reason_code) == ("held", "LIMIT_REACHED")
        assert after.reason_text is not None
        assert "quota daily of contract per-case-2026 is reached: 1 of 1" in after.reason_text
        last = clinic.rows("SELECT event, detail FROM study_event ORDER BY id DESC LIMIT 1")[0]
        assert (last["event"], last["detail"]["limit"]) == ("study_held", "daily")
        with clinic.database.transaction(ALPHA) as conn:
            (decision,) = guard.list_decisions(conn, ALPHA)
        assert (decision["verdict"], decision["study_ref"], decision["explanation"]) == (
            "wait", str(study.id), after.reason_text,
        )  # fmt: skip
        assert usage_evidence(clinic, study) == []

    def test_a_limit_of_one_site_holds_only_what_that_site_sends(
        self, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        of_east = ONE_A_DAY.replace("units: 1", "for: {site: east}, units: 1")
        text = with_limits((ROOT / "examples/contract_per_case.yaml").read_text(), of_east)
        with clinic.database.transaction(ALPHA) as conn:
            billing_store.add_contract(conn, ALPHA, text)
        clinic.owner.execute("UPDATE peer SET site = 'east' WHERE tenant = %s", (ALPHA,))
        routed(clinic, 1)
        deliver(clinic, 1, monkeypatch)
        take(clinic, routed(clinic, 2))
        assert clinic.study(make_instance("1.2.2")).status == "held"
        clinic.owner.execute("UPDATE peer SET site = 'west' WHERE tenant = %s", (ALPHA,))
        assert hold_back(clinic.database, routed(clinic, 3), now=datetime.now(UTC)) is None

    def test_it_goes_on_when_the_limit_is_raised(
        self, clinic: Clinic, contract_id: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        routed(clinic, 1)
        deliver(clinic, 1, monkeypatch)
        study = routed(clinic, 2)
        take(clinic, study)
        assert look(clinic) == 0
        with clinic.database.transaction(ALPHA) as conn:
            now = datetime.now(UTC)
            limits.change(conn, ALPHA, contract_id, "daily", Decimal(2), by="finance", reason="flu", now=now)
        jobs = len(clinic.jobs("take_step"))
        assert look(clinic) == 1
        after = clinic.study(make_instance("1.2.2"))
        assert (after.status, after.reason_code, after.reason_text) == ("routed", None, None)
        assert len(clinic.jobs("take_step")) == jobs + 1
        passed = decode_is_reached(monkeypatch)
        take(clinic, after)
        assert passed == [str(study.id)]
        with clinic.database.transaction(ALPHA) as conn:
            assert [one["verdict"] for one in guard.list_decisions(conn, ALPHA)] == ["run", "wait"]
        assert look(clinic) == 0

    def test_it_goes_on_when_the_day_turns(
        self, clinic: Clinic, contract_id: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        routed(clinic, 1)
        deliver(clinic, 1, monkeypatch)
        take(clinic, routed(clinic, 2))
        assert look(clinic, datetime.now(UTC) + timedelta(days=1)) == 1

    def test_only_as_many_go_on_as_there_is_room_for_the_emergencies_and_the_oldest_first(
        self, clinic: Clinic, contract_id: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        routed(clinic, 1)
        deliver(clinic, 1, monkeypatch)
        for number in (2, 3, 4):
            take(clinic, routed(clinic, number, priority="off_peak" if number == 2 else "normal"))
        with clinic.database.transaction(ALPHA) as conn:
            now = datetime.now(UTC)
            limits.change(conn, ALPHA, contract_id, "daily", Decimal(2), by="finance", reason="flu", now=now)
        assert look(clinic) == 1
        assert [clinic.study(make_instance(f"1.2.{one}")).status for one in (2, 3, 4)] == [
            "held",
            "routed",
            "held",
        ]

    def test_what_is_under_way_leaves_no_room(
        self, clinic: Clinic, contract_id: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        routed(clinic, 1)
        clinic.set_status(make_instance("1.2.1"), "decoded")
        take(clinic, routed(clinic, 2))
        after = clinic.study(make_instance("1.2.2"))
        assert after.status == "held"
        assert "0 of 1 in this day are used and 1 are under way" in str(after.reason_text)

    def test_images_that_come_meanwhile_join_it(
        self, clinic: Clinic, contract_id: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        routed(clinic, 1)
        deliver(clinic, 1, monkeypatch)
        take(clinic, routed(clinic, 2))
        clinic.receive(make_instance("1.2.2", number=2))
        clinic.fall_silent()
        assert clinic.assemble() == []
        after = clinic.study(make_instance("1.2.2"))
        assert (after.status, after.revision, after.reason_code) == ("assembled", 1, None)

    def test_another_hospital_and_a_test_system_are_not_held(
        self, clinic: Clinic, contract_id: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        routed(clinic, 1)
        deliver(clinic, 1, monkeypatch)
        passed = decode_is_reached(monkeypatch)
        clinic.owner.execute("UPDATE peer SET is_test = true WHERE tenant = %s", (ALPHA,))
        study = routed(clinic, 2)
        take(clinic, study)
        assert passed == [str(study.id)]
        assert look_at_limits(clinic.database, clinic.queue, BETA, now=datetime.now(UTC)) == 0
        assert tenants(clinic.database)[:2] == [ALPHA, BETA]

    def test_shadow_runs_are_not_held(
        self, clinic: Clinic, contract_id: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        routed(clinic, 1)
        deliver(clinic, 1, monkeypatch)
        passed = decode_is_reached(monkeypatch)
        take(clinic, routed(clinic, 2, route='[{"product": "lung_nodule_ct", "shadow": true}]'))
        assert len(passed) == 1


class TestUrgent:
    def test_an_emergency_runs_and_its_usage_names_the_limit(
        self, clinic: Clinic, contract_id: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        routed(clinic, 1)
        within = deliver(clinic, 1, monkeypatch)
        passed = decode_is_reached(monkeypatch)
        study = routed(clinic, 2, priority="emergency")
        take(clinic, study)
        assert passed == [str(study.id)]
        deliver(clinic, 2, monkeypatch)
        assert [one.get("over_limit") for one in usage_evidence(clinic, study)] == ["daily"]
        assert [one.get("over_limit") for one in usage_evidence(clinic, within)] == [None]
        with clinic.database.transaction(ALPHA) as conn:
            (decision,) = guard.list_decisions(conn, ALPHA)
        assert decision["verdict"] == "run_flagged"
        assert decision["explanation"].endswith("It is urgent and runs all the same.")


def test_a_threshold_is_told_once_in_the_audit_trail(
    clinic: Clinic, contract_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    routed(clinic, 1)
    deliver(clinic, 1, monkeypatch)
    look(clinic)
    look(clinic)
    with clinic.database.transaction(ALPHA) as conn:
        told = [one for one in audit.recent(conn, ALPHA) if one["action"] == "limit_reached"]
        assert len(limits.list_alerts(conn, ALPHA)) == 1
    assert [one["detail"] for one in told] == [
        {"contract": "per-case-2026", "limit": "daily", "percent": 100}
    ]


def test_the_look_ends_packages_that_are_over_their_time(clinic: Clinic) -> None:
    bought_at = datetime(2020, 1, 2, tzinfo=UTC)
    text = MEMBERSHIP.replace("2026-01-01", "2020-01-01")
    with clinic.database.transaction(ALPHA) as conn:
        contract_id = billing_store.add_contract(conn, ALPHA, text)
        wallet_sale.sell(conn, ALPHA, contract_id, "three-screenings", "P-1", member="m", now=bought_at)
    look(clinic)
    assert clinic.rows("SELECT remaining::int FROM billing.wallet_lot") == [{"remaining": 0}]
    assert clinic.rows("SELECT kind FROM billing.wallet_entry") == [{"kind": "expired"}]
