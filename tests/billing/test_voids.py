"""What should not have been recorded is declared void: decided again, taken off the next statement, never erased."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import psycopg
import pytest

from billing.books import ledger
from billing.contracts import store
from billing.errors import InvalidUsageEvent, UsageEventConflict, UsageEventNotFound, VoidRefused
from billing.metering import meter, voids
from billing.metering.usage import UsageEvent
from billing.statements import statement
from tests.billing.limits_builders import MEMBERSHIP, balance

TENANT = "hospital-a"
SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2027, 1, 1, tzinfo=UTC)
MakeEvent = Callable[..., UsageEvent]


@pytest.fixture
def contract_id(transact, per_case: str) -> int:
    with transact() as conn:
        return store.add_contract(conn, TENANT, per_case)


def void(conn, event_id: str, reason: str = "sent by mistake") -> meter.Decision:
    return voids.void(conn, TENANT, "test", event_id, reason=reason, by="a.person", now=NOW)


def decisions(conn) -> dict[str, str]:
    """Event id → reason of the current decision."""
    return {
        row.event.event_id: row.decision.reason_code.value for row in store.list_usage(conn, TENANT, 1000)
    }


def test_a_void_takes_the_decision_back_and_keeps_the_event(
    transact, contract_id: int, make_event: MakeEvent
) -> None:
    event = make_event(1)
    with transact() as conn:
        first = meter.record(conn, event)
        decision = void(conn, "delivery:1")
        [told, voided] = store.list_usage(conn, TENANT)
        assert meter.record(conn, event) == first  # the first answer stays the first answer
        draft = statement.draft(conn, TENANT, contract_id, event.occurred_at)
    assert (decision.outcome, decision.reason_code, decision.contract_id) == (
        "not_billable", "voided", contract_id
    )  # fmt: skip
    assert voided.event == event
    assert told.event.evidence == {
        "voided_source": "test", "voided_event_id": "delivery:1", "reason": "sent by mistake"
    }  # fmt: skip
    assert (told.decision.outcome, told.decision.reason_code) == ("not_billable", "void")
    assert draft.total.amount_minor == 0
    assert draft.not_charged == {"voided": 1}


def test_what_cannot_be_void_is_refused(transact, contract_id: int, make_event: MakeEvent) -> None:
    with transact() as conn:
        meter.record(conn, make_event(1))
        void(conn, "delivery:1")
        told = next(one.event for one in store.list_usage(conn, TENANT) if one.event.kind == "void")
        with pytest.raises(VoidRefused, match="already"):
            void(conn, "delivery:1", "another reason")
        with pytest.raises(VoidRefused, match="itself a void"):
            voids.void(conn, TENANT, told.source, told.event_id, reason="x", by="a.person", now=NOW)
        with pytest.raises(UsageEventNotFound):
            void(conn, "delivery:2")
        meter.record(conn, make_event(2))
        with pytest.raises(InvalidUsageEvent):
            void(conn, "delivery:2", reason="about 1.2.840.113619.2.55.3")
    with transact() as conn:
        assert len(store.list_usage(conn, TENANT)) == 3


def test_a_correction_is_a_void_and_a_new_event(transact, contract_id: int, make_event: MakeEvent) -> None:
    with transact() as conn:
        meter.record(conn, make_event(1, quantity=Decimal(3)))
        void(conn, "delivery:1", "counted three instead of two")
        corrected = make_event(1, event_id="delivery:1:corrected", quantity=Decimal(2))
        assert meter.record(conn, corrected).is_billable
        with pytest.raises(UsageEventConflict):
            meter.record(conn, make_event(1, quantity=Decimal(2)))
        draft = statement.draft(conn, TENANT, contract_id, corrected.occurred_at)
    assert draft.subtotal.amount_minor == 2 * 100_00


def test_the_next_delivery_of_the_case_takes_the_place_of_the_voided(
    transact, contract_id: int, make_event: MakeEvent
) -> None:
    """The case is charged once as long as one delivery of it stands, whichever came first."""
    with transact() as conn:
        for number in (1, 2, 3):
            meter.record(conn, make_event(number, case_key="case"))
        void(conn, "delivery:2")  # was not charged: nothing moves
        assert decisions(conn)["delivery:1"] == "first_delivery"
        void(conn, "delivery:1")
        assert decisions(conn)["delivery:3"] == "in_place"
        void(conn, "delivery:3")
        assert meter.record(conn, make_event(4, case_key="case")).is_billable
        assert ledger.check(conn, TENANT) == []


class TestAfterBilling:
    @pytest.fixture
    def november(self, transact, contract_id: int, make_event: MakeEvent) -> statement.Statement:
        with transact() as conn:
            for number in (1, 2, 3):
                meter.record(conn, make_event(number))
            meter.record(conn, make_event(4, case_key="case-3"))
            at = make_event(1).occurred_at
            return statement.issue(conn, TENANT, contract_id, at, now=NOW, nil=True)

    def issue(self, transact, contract_id: int, month: int, year: int = 2026) -> statement.Statement:
        with transact() as conn:
            at = datetime(year, month, 10, tzinfo=SHANGHAI)
            return statement.issue(
                conn, TENANT, contract_id, at, now=datetime(2028, 1, 1, tzinfo=UTC), nil=True
            )

    def test_the_next_statement_takes_it_off_once(
        self, transact, contract_id: int, make_event: MakeEvent, november
    ) -> None:
        with transact() as conn:
            void(conn, "delivery:1")
            for number in range(10, 12):
                at = datetime(2026, 12, 10, tzinfo=SHANGHAI)
                meter.record(conn, make_event(number, occurred_at=at), received_at=NOW)
            drafted = statement.draft(conn, TENANT, contract_id, at)
            shown = store.usage_of_statement(conn, TENANT, drafted)
        december = self.issue(transact, contract_id, 12)
        assert december.lines == drafted.lines
        usage, correction = [line.rated for line in december.lines]
        assert (usage.amount.amount_minor, correction.amount.amount_minor) == (200_00, -100_00)
        assert (correction.kind, correction.service_start) == ("correction", november.period.starts_on)
        with transact() as conn:
            cases = store.usage_of_statement(conn, TENANT, december)
            before = store.usage_of_statement(conn, TENANT, november)
            assert ledger.check(conn, TENANT) == []
        assert [case.event.event_id for case in cases] == [case.event.event_id for case in shown]
        assert cases[0].decision.reason_code == "voided"
        assert [case.decision.outcome for case in before] == ["billable"] * 3 + ["not_billable"]
        january = self.issue(transact, contract_id, 1, 2027)
        assert "correction" not in [line.rated.kind for line in january.lines]

    def test_one_that_moves_to_another_delivery_changes_nothing(
        self, transact, contract_id: int, november
    ) -> None:
        with transact() as conn:
            void(conn, "delivery:3")
            assert decisions(conn)["delivery:4"] == "in_place"
        december = self.issue(transact, contract_id, 12)
        assert [line.rated for line in december.lines if line.rated.kind == "correction"] == []
        with transact() as conn:
            assert ledger.check(conn, TENANT) == []

    def test_a_statement_takes_nothing_more_after_issue(self, november, transact, owner) -> None:
        with pytest.raises(psycopg.errors.RestrictViolation, match="takes nothing more"):
            owner.execute(
                "INSERT INTO billing.statement_void VALUES (%s, 1, %s, '2026-11-01')",
                (TENANT, november.statement_id),
            )


class TestPrepaid:
    @pytest.fixture
    def membership(self, transact) -> int:
        with transact() as conn:
            return store.add_contract(conn, TENANT, MEMBERSHIP)

    def test_a_voided_use_returns_to_its_package_and_the_next_delivery_takes_it(
        self, transact, membership: int, happen
    ) -> None:
        happen(1, "member_year")
        happen(2, "screening", case_key="a")
        assert happen(3, "screening", case_key="a") == ("not_billable", "already_charged")
        happen(4, "screening", case_key="b")
        assert balance(transact, membership) == 1
        with transact() as conn:
            void(conn, "delivery:4")
            void(conn, "delivery:2")
            assert decisions(conn)["delivery:3"] == "prepaid"
            assert ledger.check(conn, TENANT) == []
        assert balance(transact, membership) == 2

    def test_a_purchase_that_was_used_cannot_be_void(self, transact, membership: int, happen) -> None:
        happen(1, "member_year")
        happen(2, "screening")
        with transact() as conn:
            with pytest.raises(VoidRefused, match="taken from the package"):
                void(conn, "delivery:1")
            void(conn, "delivery:2")
            void(conn, "delivery:1")
            assert ledger.check(conn, TENANT) == []
        assert balance(transact, membership) == 0
