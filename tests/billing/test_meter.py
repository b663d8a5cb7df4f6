"""What happened is recorded once and decided once, whatever is sent again, at once or out of order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from billing.contracts import store
from billing.errors import NotQuarantined, UsageEventConflict, UsageEventNotFound
from billing.metering import meter
from billing.metering.usage import UsageEvent

TENANT = "hospital-a"
SIDES = 50
MakeEvent = Callable[..., UsageEvent]


@pytest.fixture
def contract_id(transact, per_case: str) -> int:
    with transact() as conn:
        return store.add_contract(conn, TENANT, per_case)


def test_a_first_delivery_is_billable(transact, contract_id: int, make_event: MakeEvent) -> None:
    with transact() as conn:
        decision = meter.record(conn, make_event(1))
    assert (decision.outcome, decision.reason_code) == ("billable", "first_delivery")
    assert (decision.contract_id, decision.case_key) == (contract_id, "case-1")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "seen_again"}, "seen_again"),
        ({"kind": "refused"}, "refused"),
        ({"kind": "failed"}, "failed"),
        ({"dimensions": {"purpose": "test_peer"}}, "test_peer"),
        ({"dimensions": {"purpose": "shadow"}}, "shadow"),
        ({"product": "unknown"}, "no_contract"),
        ({"occurred_at": datetime(2025, 12, 31, 15, 59, tzinfo=UTC)}, "no_contract"),
    ],
)
def test_everything_else_is_recorded_and_not_billed(
    transact, contract_id: int, make_event: MakeEvent, changes: dict[str, object], reason: str
) -> None:
    with transact() as conn:
        decision = meter.record(conn, make_event(1, **changes))
        [row] = store.list_usage(conn, TENANT)
    assert (decision.outcome, decision.reason_code) == ("not_billable", reason)
    assert row.decision == decision
    assert decision.explanation


def test_a_use_is_charged_by_its_own_meter_and_never_as_a_result(
    transact, contract_id: int, make_event: MakeEvent, owner
) -> None:
    """A sender cannot have a delivery charged that nobody acknowledged by calling it a use."""
    use = {"kind": "usage", "meter": "api_call"}
    with transact() as conn:
        assert meter.record(conn, make_event(1, **use)).reason_code == "no_contract"
    owner.execute(
        "INSERT INTO billing.contract_rate VALUES (%s, %s, 1, 'lung_nodule_ct', 'per_unit', 'api_call')",
        (TENANT, contract_id),
    )
    with transact() as conn:
        decision = meter.record(conn, make_event(2, **use))
        [row, _] = store.list_usage(conn, TENANT)
        assert meter.record(conn, make_event(3, kind="usage", meter="bed")).reason_code == "no_contract"
    assert (decision.outcome, decision.reason_code, row.event.meter) == ("billable", "used", "api_call")


def test_an_outcome_and_its_amount_are_recorded(transact, contract_id: int, make_event: MakeEvent) -> None:
    said = {"kind": "outcome", "dimensions": {"verdict": "rejected"}, "case_key": "case-1:verdict"}
    carried = {"amount_minor": 12_50, "amount_currency": "CNY"}
    with transact() as conn:
        assert meter.record(conn, make_event(1, **carried)).is_billable
        decision = meter.record(conn, make_event(2, **said))
        [outcome, delivery] = store.list_usage(conn, TENANT)
    assert (decision.reason_code, decision.contract_id) == ("outcome", contract_id)
    assert (outcome.event.meter, delivery.event.amount_minor) == ("outcome", 12_50)
    assert delivery.event.payload_hash == make_event(1, **carried).payload_hash


def test_the_contract_begins_at_local_midnight(transact, contract_id: int, make_event: MakeEvent) -> None:
    midnight = datetime(2025, 12, 31, 16, tzinfo=UTC)  # 1 January in Shanghai
    with transact() as conn:
        assert meter.record(conn, make_event(1, occurred_at=midnight)).is_billable
        before = meter.record(conn, make_event(2, occurred_at=midnight - timedelta(milliseconds=1)))
    assert before.reason_code == "no_contract"


def test_the_same_event_again_gets_the_first_answer_and_writes_nothing(
    transact, contract_id: int, make_event: MakeEvent
) -> None:
    with transact() as conn:
        first = meter.record(conn, make_event(1))
    with transact() as conn:
        assert meter.record(conn, make_event(1, quantity=Decimal("1.0"))) == first
        assert len(store.list_usage(conn, TENANT)) == 1


def test_the_same_id_with_another_payload_is_a_conflict(
    transact, contract_id: int, make_event: MakeEvent
) -> None:
    with transact() as conn:
        meter.record(conn, make_event(1))
    with transact() as conn, pytest.raises(UsageEventConflict):
        meter.record(conn, make_event(1, quantity=Decimal(2)))
    with transact() as conn:
        [row] = store.list_usage(conn, TENANT)
    assert row.event.quantity == 1


def test_a_case_is_charged_once_whatever_the_event(transact, contract_id: int, make_event: MakeEvent) -> None:
    with transact() as conn:
        assert meter.record(conn, make_event(1)).is_billable
        again = meter.record(conn, make_event(2, case_key="case-1"))
        other = meter.record(conn, make_event(3, case_key="case-other"))
    assert (again.outcome, again.reason_code) == ("not_billable", "already_charged")
    assert other.is_billable


def test_a_rollback_takes_event_and_decision_with_it(
    transact, contract_id: int, make_event: MakeEvent
) -> None:
    with transact() as conn:
        meter.record(conn, make_event(1))
        conn.rollback()
    with transact() as conn:
        assert store.list_usage(conn, TENANT) == []
        assert meter.record(conn, make_event(1)).is_billable


@pytest.mark.parametrize("same_event", [True, False], ids=["one event", "many events of one case"])
def test_at_once_from_fifty_sides_one_is_billable(
    transact, contract_id: int, make_event: MakeEvent, same_event: bool
) -> None:
    barrier = threading.Barrier(SIDES)
    decisions: list[meter.Decision] = []

    def deliver(number: int) -> None:
        event = make_event(
            0 if same_event else number, case_key="case", study_ref="s", occurred_at=make_event(0).occurred_at
        )
        with transact() as conn:
            barrier.wait()
            decisions.append(meter.record(conn, event))

    threads = [threading.Thread(target=deliver, args=(number,)) for number in range(SIDES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decisions) == SIDES
    with transact() as conn:
        rows = store.list_usage(conn, TENANT)
    assert sum(row.decision.is_billable for row in rows) == 1
    assert len(rows) == (1 if same_event else SIDES)
    # One event gives one answer to all; of many events one is charged.
    assert sum(decision.is_billable for decision in decisions) == (SIDES if same_event else 1)


def test_one_id_with_many_payloads_at_once_keeps_one_of_them(
    transact, contract_id: int, make_event: MakeEvent
) -> None:
    barrier = threading.Barrier(SIDES)
    outcomes: list[str] = []

    def deliver(number: int) -> None:
        with transact() as conn:
            barrier.wait()
            try:
                meter.record(conn, make_event(1, quantity=Decimal(number + 1)))
                outcomes.append("recorded")
            except UsageEventConflict:
                outcomes.append("conflict")

    threads = [threading.Thread(target=deliver, args=(number,)) for number in range(SIDES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["conflict"] * (SIDES - 1) + ["recorded"]
    with transact() as conn:
        assert len(store.list_usage(conn, TENANT)) == 1


def test_an_event_from_the_future_waits_for_a_person(
    transact, contract_id: int, make_event: MakeEvent
) -> None:
    now = make_event(1).occurred_at
    with transact() as conn:
        ahead = make_event(1, occurred_at=now + timedelta(hours=2))
        held = meter.record(conn, ahead, received_at=now)
        assert (held.outcome, held.reason_code) == ("quarantined", "clock_ahead")
        assert meter.record(
            conn, make_event(2, occurred_at=now + timedelta(minutes=59)), received_at=now
        ).is_billable
    with transact() as conn:
        released = meter.release(conn, TENANT, "test", ahead.event_id, "a.person")
        assert released.is_billable
        assert meter.record(conn, ahead, received_at=now) == held  # the first answer stays the first answer
        with pytest.raises(NotQuarantined):
            meter.dismiss(conn, TENANT, "test", ahead.event_id, "a.person")
        assert [row.decision.outcome for row in store.list_usage(conn, TENANT)] == ["billable", "billable"]


def test_a_quarantined_event_can_be_dismissed(transact, contract_id: int, make_event: MakeEvent) -> None:
    now = make_event(1).occurred_at
    with transact() as conn:
        meter.record(conn, make_event(1), received_at=now - timedelta(days=1))
        decision = meter.dismiss(conn, TENANT, "test", "delivery:1", "a.person")
        with pytest.raises(UsageEventNotFound):
            meter.release(conn, TENANT, "test", "delivery:2", "a.person")
    assert (decision.outcome, decision.reason_code) == ("not_billable", "dismissed")


def test_only_a_delivery_can_be_billable_even_for_the_tables_owner(
    transact, contract_id: int, make_event: MakeEvent, owner
) -> None:
    """The constraint that keeps "a usage event is billable only for an acknowledged delivery"."""
    with transact() as conn:
        meter.record(conn, make_event(1, kind="refused"))
        meter.record(conn, make_event(2, kind="refused"))
    insert = """
        INSERT INTO billing.event_decision (tenant, ingest_sequence, kind, revision, outcome, reason_code,
            explanation, policy, contract_id, contract_version, case_key, decided_by, decided_at)
        SELECT tenant, ingest_sequence, %s, 2, 'billable', 'x', 'x', 'x', %s, 1, 'k', 'x', now()
        FROM billing.usage_event LIMIT 1
    """
    owner.execute("ALTER TABLE billing.event_decision DISABLE TRIGGER settled")
    with pytest.raises(psycopg.errors.CheckViolation, match="only_what_happened_is_billable"):
        owner.execute(insert, ("refused", contract_id))
    # Lying about the kind does not help: the decision refers to the event with its kind.
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        owner.execute(insert, ("result_delivered", contract_id))


def test_a_second_billable_decision_for_a_case_is_refused_by_the_database(
    transact, contract_id: int, make_event: MakeEvent, owner
) -> None:
    with transact() as conn:
        meter.record(conn, make_event(1))
        meter.record(conn, make_event(2, case_key="case-1"))
    with pytest.raises(psycopg.errors.UniqueViolation, match="one_billable_decision_per_case"):
        owner.execute(
            """INSERT INTO billing.event_decision (tenant, ingest_sequence, kind, revision, outcome,
                reason_code,
                explanation, policy, contract_id, contract_version, case_key, decided_by, decided_at)
            SELECT tenant, ingest_sequence, kind, 2, 'billable', 'x', 'x', 'x', %s, 1, 'case-1', 'x', now()
            FROM billing.usage_event WHERE event_id = 'delivery:2'""",
            (contract_id,),
        )


def test_case_keys_name_the_question_and_hide_the_study() -> None:
    uid = "1.2.840.113619.2.55.3"
    key = meter.case_key(b"secret", uid, "ct", "request-1")
    assert key == meter.case_key(b"secret", uid, "ct", "request-1")
    others = {
        meter.case_key(b"another", uid, "ct", "request-1"),
        meter.case_key(b"secret", uid + "1", "ct", "request-1"),
        meter.case_key(b"secret", uid, "mr", "request-1"),
        meter.case_key(b"secret", uid, "ct", "request-2"),
        meter.case_key(b"secret", uid + "c", "t", "request-1"),
    }
    assert len(others | {key}) == 6
    assert len(key) == 64
    assert uid not in key


def test_usage_comes_in_pages(transact, contract_id: int, make_event: MakeEvent) -> None:
    with transact() as conn:
        for number in range(7):
            meter.record(conn, make_event(number, study_ref="s" if number % 2 else "t"))
        first = store.list_usage(conn, TENANT, 3)
        second = store.list_usage(conn, TENANT, 3, before=first[-1].ingest_sequence)
        third = store.list_usage(conn, TENANT, 3, before=second[-1].ingest_sequence)
        ids = [row.event.event_id for row in (*first, *second, *third)]
        assert ids == [f"delivery:{number}" for number in range(6, -1, -1)]
        of_study = store.usage_for_study(conn, TENANT, "s")
    assert [row.event.event_id for row in of_study] == ["delivery:1", "delivery:3", "delivery:5"]
