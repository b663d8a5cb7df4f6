"""What is not settled yet is told as a draft would bill it, and as disputes hold it."""

from __future__ import annotations

from datetime import UTC, datetime

from billing.books import outstanding
from billing.claims import disputes
from billing.contracts import store
from billing.metering import meter
from billing.money import Money
from billing.statements import statement

TENANT = "hospital-a"
DECEMBER_5 = datetime(2026, 12, 5, tzinfo=UTC)


def test_usage_without_a_statement_is_told_period_by_period(transact, per_case: str, make_event) -> None:
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, per_case.replace("2026-01-01", "2026-11-01"))
        for number, month in ((1, 11), (2, 11), (3, 12)):
            event = make_event(number, occurred_at=datetime(2026, month, 4, tzinfo=UTC))
            meter.record(conn, event, received_at=DECEMBER_5)
        before = outstanding.accrued_unbilled(conn, TENANT, DECEMBER_5)
        statement.issue(conn, TENANT, contract_id, datetime(2026, 11, 4, tzinfo=UTC), now=DECEMBER_5)
        after = outstanding.accrued_unbilled(conn, TENANT, DECEMBER_5)
    told = [(one.period.starts_on.month, one.amount.amount_minor, one.is_over) for one in before]
    assert told == [(11, 20000, True), (12, 10000, False)]
    assert after == before[1:]


def test_a_contract_that_begins_later_has_nothing_yet(transact, per_case: str) -> None:
    with transact() as conn:
        store.add_contract(conn, TENANT, per_case.replace("2026-01-01", "2027-03-01"))
        assert outstanding.accrued_unbilled(conn, TENANT, DECEMBER_5) == []


def test_what_is_in_dispute_is_told_until_it_is_decided(transact, owing) -> None:
    with transact() as conn:
        now = datetime(2027, 1, 3, tzinfo=UTC)
        opened = disputes.open_dispute(
            conn, TENANT, owing[0], [(1, 5000)], reason="r", by="hospital", now=now
        )
        (one,) = outstanding.disputed(conn, TENANT)
        assert (one.number, one.amount) == ("RM-HOSPITAL-A-000001", Money(5300, "CNY"))
        disputes.reject(conn, TENANT, opened.dispute_id, reason="no", by="finance", now=now)
        assert outstanding.disputed(conn, TENANT) == []
