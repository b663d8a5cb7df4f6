"""Months of the books: closed in order, by two people, and then no posting gets in."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from billing.books import accounting, ledger
from billing.books.accounting import State
from billing.books.books_errors import MonthIsClosed, MonthNotChanged, SecondPersonNeeded, ZoneNotKnown
from billing.books.ledger import Posting
from billing.contracts import store
from billing.metering import meter
from billing.money import Money
from billing.statements import statement

TENANT = "hospital-a"
DECEMBER_2 = datetime(2026, 12, 2, tzinfo=UTC)
SALE = (Posting("receivable:buyer", Money(100, "CNY")), Posting("revenue", Money(-100, "CNY")))


def book(conn, key: str, at: datetime) -> ledger.Entry:
    return ledger.post(
        conn, TENANT, template="statement_issued", idempotency_key=key, reference=key, postings=SALE, effective_at=at,
        booked_at=DECEMBER_2,
    )  # fmt: skip


def close_month(conn, name: str, now: datetime = DECEMBER_2) -> None:
    month = accounting.month_named(conn, TENANT, name)
    accounting.begin_closing(conn, TENANT, month, by="ann", now=now)
    accounting.close(conn, TENANT, month, requested_by="ann", approved_by="bo", now=now)


@pytest.mark.parametrize(
    ("zone", "starts", "hours"),
    [
        ("Asia/Shanghai", datetime(2026, 10, 31, 16, tzinfo=UTC), 720),
        ("America/New_York", datetime(2026, 11, 1, 4, tzinfo=UTC), 721),
        ("Europe/London", datetime(2026, 11, 1, tzinfo=UTC), 720),
        ("Asia/Kolkata", datetime(2026, 10, 31, 18, 30, tzinfo=UTC), 720),
    ],
)
def test_a_month_begins_at_midnight_in_the_zone_of_the_books(transact, zone, starts, hours) -> None:
    with transact() as conn:
        accounting.set_zone(conn, TENANT, zone)
        month = accounting.month_of(conn, TENANT, datetime(2026, 11, 15, tzinfo=UTC))
        assert month == accounting.month_named(conn, TENANT, "2026-11")
    assert (month.start_at, month.end_at - month.start_at) == (starts, timedelta(hours=hours))


def test_a_closed_month_takes_no_postings_and_the_next_does(transact) -> None:
    last_instant = datetime(2026, 11, 30, 23, 59, 59, 999999, tzinfo=UTC)
    with transact() as conn:
        book(conn, "in time", last_instant)
        close_month(conn, "2026-11")
        for at in (last_instant, datetime(2025, 1, 1, tzinfo=UTC)):
            with pytest.raises(MonthIsClosed, match="next open month"):
                book(conn, "too late", at)
            assert accounting.posting_time(conn, TENANT, at) == datetime(2026, 12, 1, tzinfo=UTC)
        assert book(conn, "in time", last_instant).sequence == 1, "the same key is the first entry again"
        book(conn, "late", accounting.posting_time(conn, TENANT, last_instant))
        assert accounting.posting_time(conn, TENANT, DECEMBER_2) == DECEMBER_2
        problems = ledger.check(conn, TENANT)
    # Entries alone: no statement stands behind the receivable.
    assert [problem for problem in problems if not problem.startswith("account ")] == []


def test_the_database_refuses_what_the_code_forgot(transact, monkeypatch) -> None:
    with transact() as conn:
        close_month(conn, "2026-11")
    monkeypatch.setattr(ledger, "closed_until", lambda conn, tenant: None)
    with transact() as conn, pytest.raises(psycopg.errors.RestrictViolation, match="books are closed until"):
        book(conn, "k", datetime(2026, 11, 5, tzinfo=UTC))


def test_months_close_in_order_and_only_when_they_are_over(transact) -> None:
    with transact() as conn:
        november = accounting.month_named(conn, TENANT, "2026-11")
        with pytest.raises(MonthNotChanged, match="not over"):
            accounting.begin_closing(
                conn, TENANT, november, by="ann", now=november.end_at - timedelta(seconds=1)
            )
        with pytest.raises(MonthNotChanged, match="from open to closed"):
            accounting.close(conn, TENANT, november, requested_by="ann", approved_by="bo", now=DECEMBER_2)
        close_month(conn, "2026-09")
        with pytest.raises(MonthNotChanged, match="2026-11 of the books cannot go from open to collecting"):
            accounting.begin_closing(conn, TENANT, november, by="ann", now=DECEMBER_2)
        close_month(conn, "2026-10")
        close_month(conn, "2026-11")
        with pytest.raises(MonthNotChanged, match="from closed to collecting"):
            accounting.begin_closing(conn, TENANT, november, by="ann", now=DECEMBER_2)
        assert accounting.state_of(conn, TENANT, november) is State.CLOSED
        august = accounting.month_named(conn, TENANT, "2026-08")
        assert accounting.state_of(conn, TENANT, august) is State.CLOSED, "what lies before is closed with it"


def test_closing_and_reopening_need_two_people_and_a_reason(transact) -> None:
    with transact() as conn:
        month = accounting.month_named(conn, TENANT, "2026-11")
        accounting.begin_closing(conn, TENANT, month, by="ann", now=DECEMBER_2)
        with pytest.raises(SecondPersonNeeded, match="ann"):
            accounting.close(conn, TENANT, month, requested_by="ann", approved_by="ann", now=DECEMBER_2)
        accounting.close(conn, TENANT, month, requested_by="ann", approved_by="bo", now=DECEMBER_2)
        with pytest.raises(MonthNotChanged, match="nobody asked"):
            accounting.approve_reopening(conn, TENANT, month, by="bo", now=DECEMBER_2)
        with pytest.raises(MonthNotChanged, match="say why"):
            accounting.request_reopening(conn, TENANT, month, by="ann", reason=" ", now=DECEMBER_2)
        accounting.request_reopening(
            conn, TENANT, month, by="ann", reason="a site is missing", now=DECEMBER_2
        )
        with pytest.raises(MonthIsClosed):
            book(conn, "k", datetime(2026, 11, 5, tzinfo=UTC))
        with pytest.raises(SecondPersonNeeded, match="another person"):
            accounting.approve_reopening(conn, TENANT, month, by="ann", now=DECEMBER_2)
        accounting.approve_reopening(conn, TENANT, month, by="cy", now=DECEMBER_2)
        book(conn, "k", datetime(2026, 11, 5, tzinfo=UTC))
        assert accounting.state_of(conn, TENANT, month) is State.OPEN
        close_month(conn, "2026-11")
        steps = [(one.state, one.requested_by, one.approved_by) for one in accounting.history(conn, TENANT)]
    assert steps == [
        ("collecting", "ann", None),
        ("closed", "ann", "bo"),
        ("reopening", "ann", None),
        ("open", "ann", "cy"),
        ("collecting", "ann", None),
        ("closed", "ann", "bo"),
    ]


def test_only_the_last_closed_month_is_reopened_and_a_request_can_be_refused(transact) -> None:
    with transact() as conn:
        close_month(conn, "2026-10")
        close_month(conn, "2026-11")
        october, november = (accounting.month_named(conn, TENANT, name) for name in ("2026-10", "2026-11"))
        with pytest.raises(MonthNotChanged, match="2026-10"):
            accounting.request_reopening(conn, TENANT, october, by="ann", reason="r", now=DECEMBER_2)
        accounting.request_reopening(conn, TENANT, november, by="ann", reason="r", now=DECEMBER_2)
        accounting.refuse_reopening(conn, TENANT, november, by="bo", now=DECEMBER_2)
        assert accounting.state_of(conn, TENANT, november) is State.CLOSED


def test_one_person_cannot_reopen_past_the_code(transact) -> None:
    """The second wall: straight SQL."""
    row = """INSERT INTO billing.accounting_period VALUES
        (%s, '2026-11-01', %s, %s, '2026-11-01Z', '2026-12-01Z', 'ann', %s, 'r', '2026-12-02Z')"""
    with transact() as conn:
        close_month(conn, "2026-11")
        month = accounting.month_named(conn, TENANT, "2026-11")
        accounting.request_reopening(conn, TENANT, month, by="ann", reason="r", now=DECEMBER_2)
    for approver in ("ann", None):
        with transact() as conn, pytest.raises(psycopg.errors.CheckViolation):
            conn.execute(row, (TENANT, 4, "open", approver))
    with transact() as conn, pytest.raises(psycopg.errors.RestrictViolation):
        conn.execute(row, (TENANT, 3, "open", "bo"))


def test_closing_waits_for_a_posting_under_way(transact) -> None:
    """Or the entry would land in a month that closed while it was written."""
    outcome: list[str] = []

    def close_now() -> None:
        with transact() as conn:
            month = accounting.month_named(conn, TENANT, "2026-11")
            accounting.close(conn, TENANT, month, requested_by="ann", approved_by="bo", now=DECEMBER_2)
            entries = conn.execute("SELECT count(*) AS n FROM billing.journal_entry").fetchone()
            outcome.append(f"closed after {entries['n']}")

    with transact() as conn:
        month = accounting.month_named(conn, TENANT, "2026-11")
        accounting.begin_closing(conn, TENANT, month, by="ann", now=DECEMBER_2)
    with transact() as conn:
        book(conn, "k", datetime(2026, 11, 5, tzinfo=UTC))
        closing = threading.Thread(target=close_now)
        closing.start()
        time.sleep(0.3)
        assert outcome == [], "it waits"
    closing.join(timeout=20)
    assert outcome == ["closed after 1"]


def test_the_zone_is_set_once_and_not_after_the_first_closing(transact) -> None:
    with transact() as conn:
        with pytest.raises(ZoneNotKnown):
            accounting.set_zone(conn, TENANT, "China")
        accounting.set_zone(conn, TENANT, "Asia/Shanghai")
        accounting.set_zone(conn, TENANT, "Asia/Shanghai")
        with pytest.raises(MonthNotChanged):
            accounting.set_zone(conn, TENANT, "UTC")
    with transact("hospital-b") as conn:
        month = accounting.month_named(conn, "hospital-b", "2026-11")
        accounting.begin_closing(conn, "hospital-b", month, by="ann", now=DECEMBER_2)
        with pytest.raises(MonthNotChanged):
            accounting.set_zone(conn, "hospital-b", "Asia/Shanghai")


def test_a_statement_counts_in_the_month_that_earned_it_or_the_next_open_one(
    transact, per_case: str, make_event
) -> None:
    """Late usage keeps its service period; its money goes where the books are open."""
    with transact() as conn:
        accounting.set_zone(conn, TENANT, "Asia/Shanghai")
        contract_id = store.add_contract(conn, TENANT, per_case)
        for month in (9, 10, 11):
            meter.record(conn, make_event(month, occurred_at=datetime(2026, month, 10, tzinfo=UTC)))
        statement.issue(conn, TENANT, contract_id, datetime(2026, 9, 10, tzinfo=UTC), now=DECEMBER_2)
        close_month(conn, "2026-09")
        close_month(conn, "2026-10")
        for month in (10, 11):
            statement.issue(conn, TENANT, contract_id, datetime(2026, month, 10, tzinfo=UTC), now=DECEMBER_2)
        times = [
            row["effective_at"]
            for row in conn.execute("SELECT effective_at FROM billing.journal_entry ORDER BY 1")
        ]
        assert ledger.check(conn, TENANT) == []
    start_of_november = datetime(2026, 10, 31, 16, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    assert times == [
        datetime(2026, 9, 30, 16, tzinfo=UTC) - tick,
        start_of_november,
        datetime(2026, 11, 30, 16, tzinfo=UTC) - tick,
    ]
