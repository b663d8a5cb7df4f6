"""Month end: the checklist finds out by itself, and two people sign what it says before a month is closed."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.books import accounting, close_items, ledger, month_end
from billing.books.accounting import State
from billing.books.books_errors import MonthNotChanged, SecondPersonNeeded
from billing.books.month_end import ItemState
from billing.contracts import store
from billing.metering import meter
from billing.statements import statement
from tests.billing.payment_seeds import TENANT, receive

DECEMBER_1 = datetime(2026, 11, 30, 16, tzinfo=UTC)  # midnight in Shanghai
DECEMBER_3 = datetime(2026, 12, 3, tzinfo=UTC)


@pytest.fixture
def november(transact, per_case: str, make_event):
    """Two deliveries in November, billed; one in December; the month is being closed."""
    with transact() as conn:
        accounting.set_zone(conn, TENANT, "Asia/Shanghai")
        contract_id = store.add_contract(conn, TENANT, per_case.replace("2026-01-01", "2026-11-01"))
        for number, day in ((1, 10), (2, 11)):
            meter.record(
                conn,
                make_event(number, occurred_at=datetime(2026, 11, day, tzinfo=UTC)),
                received_at=DECEMBER_3,
            )
        statement.issue(conn, TENANT, contract_id, datetime(2026, 11, 20, tzinfo=UTC), now=DECEMBER_3)
        meter.record(conn, make_event(3, occurred_at=DECEMBER_1), received_at=DECEMBER_3)
        month = accounting.month_named(conn, TENANT, "2026-11")
        accounting.begin_closing(conn, TENANT, month, by="ann", now=DECEMBER_3)
    return month


def open_items(conn, month) -> dict[str, str]:
    found = month_end.checklist(conn, TENANT, month).items
    return {item.name: item.evidence for item in found if item.state is ItemState.OPEN}


def test_a_month_is_closed_once_everything_is_done_and_two_people_signed(transact, november) -> None:
    with transact() as conn:
        assert open_items(conn, november) == {}
        with pytest.raises(SecondPersonNeeded, match="so far: nobody"):
            month_end.close(conn, TENANT, november, now=DECEMBER_3)
        month_end.sign(conn, TENANT, november, by="ann", now=DECEMBER_3)
        again = month_end.sign(conn, TENANT, november, by="ann", now=DECEMBER_3)
        assert [one.signed_by for one in again.sign_offs] == ["ann"], "one person signs once"
        with pytest.raises(SecondPersonNeeded, match="so far: ann"):
            month_end.close(conn, TENANT, november, now=DECEMBER_3)
        month_end.sign(conn, TENANT, november, by="bo", now=DECEMBER_3)
        month_end.close(conn, TENANT, november, now=DECEMBER_3)
        assert accounting.state_of(conn, TENANT, november) is State.CLOSED
        last = accounting.history(conn, TENANT)[-1]
        assert (last.requested_by, last.approved_by) == ("ann", "bo")
        assert ledger.check(conn, TENANT) == []
        with pytest.raises(MonthNotChanged, match="2026-11 is closed"):
            month_end.sign(conn, TENANT, november, by="cy", now=DECEMBER_3)
        with pytest.raises(MonthNotChanged, match="2026-11 is closed"):
            month_end.waive(conn, TENANT, november, "rails", by="cy", reason="r", now=DECEMBER_3)


def test_a_sign_off_ends_when_something_more_is_booked_into_the_month(transact, november) -> None:
    with transact() as conn:
        for name in ("ann", "bo"):
            month_end.sign(conn, TENANT, november, by=name, now=DECEMBER_3)
        receive(
            conn, TENANT, "demo-hospital", 500, received_at=datetime(2026, 11, 29, tzinfo=UTC), now=DECEMBER_3
        )
        assert month_end.checklist(conn, TENANT, november).sign_offs == ()
        with pytest.raises(SecondPersonNeeded, match="so far: nobody"):
            month_end.close(conn, TENANT, november, now=DECEMBER_3)


def test_what_waits_in_quarantine_is_waived_by_somebody_for_a_reason(transact, november, make_event) -> None:
    with transact() as conn:
        early = datetime(2026, 11, 9, tzinfo=UTC)
        meter.record(conn, make_event(4, occurred_at=datetime(2026, 11, 12, tzinfo=UTC)), received_at=early)
        assert open_items(conn, november) == {"quarantine": "test: 1 event(s) wait"}
        with pytest.raises(MonthNotChanged, match=r"still open: quarantine \(test: 1 event"):
            month_end.sign(conn, TENANT, november, by="ann", now=DECEMBER_3)
        for by, reason in (("ann", " "), ("", "a clock ran ahead")):
            with pytest.raises(MonthNotChanged, match="who waives it and why"):
                month_end.waive(conn, TENANT, november, "quarantine", by=by, reason=reason, now=DECEMBER_3)
        month_end.waive(
            conn, TENANT, november, "quarantine", by="ann", reason="a clock ran ahead", now=DECEMBER_3
        )
        signed = month_end.sign(conn, TENANT, november, by="ann", now=DECEMBER_3)
        (item,) = [one for one in signed.items if one.name == "quarantine"]
        assert (item.state, item.waived_by, item.reason) == (ItemState.WAIVED, "ann", "a clock ran ahead")
        meter.record(conn, make_event(5, occurred_at=datetime(2026, 11, 12, tzinfo=UTC)), received_at=early)
        assert open_items(conn, november) == {"quarantine": "test: 2 event(s) wait"}, "that was not waived"


def test_a_source_that_told_nothing_past_the_month_holds_the_month(transact, november, make_event) -> None:
    with transact() as conn:
        meter.record(
            conn,
            make_event(6, source="site-2", occurred_at=datetime(2026, 11, 28, tzinfo=UTC)),
            received_at=DECEMBER_3,
        )
        (evidence,) = open_items(conn, november).values()
        assert evidence.startswith("site-2: last told of 2026-11-28")
        meter.record(conn, make_event(7, source="site-2", occurred_at=DECEMBER_1), received_at=DECEMBER_3)
        assert open_items(conn, november) == {}


def test_a_period_without_a_statement_holds_the_month(transact, november) -> None:
    with transact() as conn:
        december = accounting.month_named(conn, TENANT, "2026-12")
        assert "statements" in open_items(conn, december)
        assert open_items(conn, december)["statements"].endswith("2026-12-01 to 2027-01-01")


def test_a_month_far_from_the_mean_of_its_contract_is_told(transact, november, make_event) -> None:
    """November had two cases; December has one, then three, then a thousand."""
    january = datetime(2027, 1, 5, tzinfo=UTC)
    with transact() as conn:
        december = accounting.month_named(conn, TENANT, "2026-12")
        many = make_event(8, quantity=Decimal(999), occurred_at=datetime(2026, 12, 9, tzinfo=UTC))
        meter.record(conn, many, received_at=january)
        statement.issue(conn, TENANT, 1, datetime(2026, 12, 20, tzinfo=UTC), now=january)
        assert "+49900.0 % of the mean of 1 months" in open_items(conn, december)["variance"]
        november_items = {one.name: one.evidence for one in month_end.checklist(conn, TENANT, november).items}
        assert "no months before" in november_items["variance"]


def test_rating_again_that_gives_another_digest_holds_the_month(transact, november, monkeypatch) -> None:
    with transact() as conn:
        seen = {one.name: one for one in month_end.checklist(conn, TENANT, november).items}
        assert seen["digests"].state is ItemState.DONE
        rate_again = close_items.digest_lines
        digests = iter(f"{number:064d}" for number in range(1000))
        monkeypatch.setattr(close_items, "digest_lines", lambda lines: rate_again(lines) and next(digests))
        assert ", again 0000" in open_items(conn, november)["digests"]


def test_a_statement_whose_usage_changed_behind_it_holds_the_month(transact, november, owner) -> None:
    owner.execute("SET session_replication_role = replica")
    owner.execute("UPDATE billing.usage_event SET quantity = 7 WHERE ingest_sequence = 1")
    with transact() as conn:
        assert "digests" in open_items(conn, november)


def test_an_unsound_book_is_not_closed(transact, november, owner) -> None:
    with transact() as conn:
        for name in ("ann", "bo"):
            month_end.sign(conn, TENANT, november, by=name, now=DECEMBER_3)
    owner.execute("SET session_replication_role = replica")
    owner.execute("UPDATE billing.usage_event SET study_ref = 'other' WHERE ingest_sequence = 1")
    with transact() as conn, pytest.raises(MonthNotChanged, match="usage event 1: it was changed"):
        month_end.close(conn, TENANT, november, now=DECEMBER_3)


def test_a_difference_between_sub_ledger_and_control_account_cannot_be_waived(
    transact, november, owner
) -> None:
    owner.execute("SET session_replication_role = replica")
    owner.execute(
        "UPDATE billing.posting SET amount_minor = amount_minor + 1 WHERE account LIKE 'receivable:%'"
    )
    with transact() as conn:
        assert "account receivable:demo-hospital" in open_items(conn, november)["control_accounts"]
        with pytest.raises(MonthNotChanged, match="cannot be waived"):
            month_end.waive(conn, TENANT, november, "control_accounts", by="ann", reason="r", now=DECEMBER_3)


def test_every_sign_off_keeps_the_checklist_that_was_signed(transact, november) -> None:
    with transact() as conn:
        current = month_end.sign(conn, TENANT, november, by="ann", now=DECEMBER_3)
        stored = conn.execute("SELECT checklist, signed_by FROM billing.close_sign_off").fetchone()
    assert stored == {"checklist": current.text, "signed_by": "ann"}
