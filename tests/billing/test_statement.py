"""A statement is previewed and issued by one path, numbered without gaps, and never changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from billing import errors
from billing.books import ledger
from billing.contracts import store
from billing.metering import meter
from billing.metering.usage import UsageEvent
from billing.period import Period
from billing.statements import statement, statement_record

TENANT = "hospital-a"
NOVEMBER = datetime(2026, 11, 20, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 20, tzinfo=UTC)
NEW_YEAR = datetime(2027, 1, 2, tzinfo=UTC)
MakeEvent = Callable[..., UsageEvent]


@pytest.fixture
def contract_id(transact, per_case: str) -> int:
    with transact() as conn:
        return store.add_contract(conn, TENANT, per_case)


@pytest.fixture
def deliver(transact, make_event: MakeEvent) -> Callable[..., None]:
    """`deliver(1, 2)`: two deliveries in November; `at` moves them."""

    def record(*numbers: int, at: datetime | None = None, **changes: object) -> None:
        with transact() as conn:
            for number in numbers:
                moved = {"occurred_at": at} if at else {}
                meter.record(conn, make_event(number, **moved, **changes), received_at=at or NOVEMBER)

    return record


def issue(transact, contract_id: int, at: datetime, **options: object) -> statement_record.Statement:
    with transact() as conn:
        return statement.issue(
            conn, TENANT, contract_id, at, now=options.pop("now", NEW_YEAR), **{"nil": True, **options}
        )


def test_a_draft_shows_what_is_charged_and_what_is_not(transact, contract_id: int, deliver) -> None:
    deliver(1, 2)
    deliver(3, kind="seen_again")
    deliver(4, case_key="case-1")
    with transact() as conn:
        draft = statement.draft(conn, TENANT, contract_id, NOVEMBER)
    assert draft.status == "draft"
    assert (str(draft.subtotal), str(draft.tax), str(draft.total)) == ("200.00", "12.00", "212.00")
    assert draft.not_charged == {"already_charged": 1, "seen_again": 1}
    assert draft.charged_event_count == 2


def test_the_issued_statement_is_the_draft_with_a_number(transact, contract_id: int, deliver) -> None:
    deliver(1, 2)
    with transact() as conn:
        draft = statement.draft(conn, TENANT, contract_id, NOVEMBER)
    issued = issue(transact, contract_id, NOVEMBER)
    assert issued.number == "RM-HOSPITAL-A-000001"
    assert issued.due_on == date(2027, 2, 1)
    assert issued.evolve(statement_id=None, number=None, issued_at=None, due_on=None) == draft
    with transact() as conn:
        assert issued.statement_id is not None
        assert store.get_statement(conn, TENANT, issued.statement_id) == issued
        assert statement.draft(conn, TENANT, contract_id, NOVEMBER) == issued
        assert store.list_statements(conn, TENANT) == [issued]
        assert ledger.check(conn, TENANT) == []


def test_issuing_again_returns_the_statement_that_exists(transact, contract_id: int, deliver) -> None:
    deliver(1)
    first = issue(transact, contract_id, NOVEMBER)
    deliver(2)
    assert issue(transact, contract_id, NOVEMBER) == first


def test_a_period_without_a_line_is_stated_on_purpose_only(transact, contract_id: int) -> None:
    with pytest.raises(errors.NothingToState, match=r"2026-11-01 to 2026-12-01.*issue a nil statement"):
        issue(transact, contract_id, NOVEMBER, nil=False)


def test_a_period_is_billed_after_its_end(transact, contract_id: int, deliver) -> None:
    deliver(1)
    with transact() as conn:
        period = statement.draft(conn, TENANT, contract_id, NOVEMBER).period
    with pytest.raises(errors.PeriodNotEnded):
        issue(transact, contract_id, NOVEMBER, now=period.end_at - timedelta(milliseconds=1))
    early = issue(transact, contract_id, NOVEMBER, now=NOVEMBER, close_early=True)
    assert early.is_closed_early
    assert str(early.subtotal) == "100.00"


def test_a_delivery_one_millisecond_before_midnight_belongs_to_november(
    transact, contract_id: int, deliver
) -> None:
    midnight = datetime(2026, 11, 30, 16, tzinfo=UTC)
    deliver(1, at=midnight - timedelta(milliseconds=1))
    deliver(2, at=midnight)
    with transact() as conn:
        drafts = [statement.draft(conn, TENANT, contract_id, at) for at in (NOVEMBER, DECEMBER)]
    assert [draft.charged_event_count for draft in drafts] == [1, 1]


def test_late_usage_comes_as_a_correction_with_its_own_service_period(
    transact, contract_id: int, deliver
) -> None:
    deliver(1, 2)
    november = issue(transact, contract_id, NOVEMBER)
    deliver(3, 4, 5)
    deliver(6, at=DECEMBER)
    december = issue(transact, contract_id, DECEMBER)
    kinds = [(line.rated.kind, line.rated.service_start, str(line.rated.amount)) for line in december.lines]
    assert kinds == [("usage", date(2026, 12, 1), "100.00"), ("correction", date(2026, 11, 1), "300.00")]
    with transact() as conn:
        assert store.get_statement(conn, TENANT, november.statement_id or 0) == november
        # What was corrected once is not corrected again.
        january = statement.draft(conn, TENANT, contract_id, datetime(2027, 1, 5, tzinfo=UTC))
        assert january.lines == ()
        cases = store.usage_of_statement(conn, TENANT, december)
        assert [case.event.event_id for case in cases] == [f"delivery:{number}" for number in (3, 4, 5, 6)]
        assert ledger.check(conn, TENANT) == []


def test_late_usage_that_moves_a_volume_price_gives_back_what_was_too_much(
    transact, graduated: str, deliver
) -> None:
    volume = graduated.replace("model: graduated  ", "model: volume  ").replace(
        "free_allowance: 10 ", "free_allowance: 0 "
    )
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, volume)
    deliver(*range(100))
    november = issue(transact, contract_id, NOVEMBER)
    assert str(november.subtotal) == "8,000.00"
    deliver(100)
    with transact() as conn:
        draft = statement.draft(conn, TENANT, contract_id, DECEMBER)
    assert [str(line.rated.amount) for line in draft.lines] == ["6,060.00", "-8,000.00"]
    # The correction exceeds the month: the account waits for a person, nothing is clamped.
    with pytest.raises(errors.StatementIsNegative):
        issue(transact, contract_id, DECEMBER)
    deliver(*range(101, 150), at=DECEMBER)
    december = issue(transact, contract_id, DECEMBER)
    assert december.subtotal + november.subtotal == november.subtotal.__class__(101 * 6000 + 49 * 8000, "CNY")


def test_a_quarantined_event_stops_the_issue(transact, contract_id: int, deliver) -> None:
    deliver(1)
    with transact() as conn:
        event = store.list_usage(conn, TENANT)[0].event
    with transact() as conn:
        ahead = UsageEvent(**{**event.__dict__, "event_id": "ahead", "case_key": "ahead"})
        meter.record(conn, ahead, received_at=event.occurred_at - timedelta(hours=2))
    with pytest.raises(errors.QuarantineNotEmpty):
        issue(transact, contract_id, NOVEMBER)
    with transact() as conn:
        meter.release(conn, TENANT, "test", "ahead", "a.person")
    assert issue(transact, contract_id, NOVEMBER).charged_event_count == 2


def test_a_statement_of_nothing_has_a_number_and_no_entry(transact, contract_id: int, owner) -> None:
    issued = issue(transact, contract_id, NOVEMBER)
    assert str(issued.total) == "0.00"
    assert issued.number == "RM-HOSPITAL-A-000001"
    assert owner.execute("SELECT count(*) AS n FROM billing.journal_entry").fetchone()["n"] == 0
    with transact() as conn:
        assert ledger.check(conn, TENANT) == []


def test_numbers_have_no_gaps_after_rollbacks(transact, contract_id: int) -> None:
    for month in (1, 2, 3, 4):
        with transact() as conn:
            statement.issue(
                conn, TENANT, contract_id, datetime(2026, month, 10, tzinfo=UTC), now=NEW_YEAR, nil=True
            )
            if month % 2:
                conn.rollback()
    with transact() as conn:
        numbers = [one.number for one in store.list_statements(conn, TENANT)]
        assert sorted(numbers) == ["RM-HOSPITAL-A-000001", "RM-HOSPITAL-A-000002"]
        assert ledger.check(conn, TENANT) == []


def test_numbers_have_no_gaps_and_no_doubles_at_once(transact, contract_id: int, deliver) -> None:
    deliver(1)
    barrier = threading.Barrier(12)
    issued: list[statement_record.Statement] = []

    def run(index: int) -> None:
        at = (
            datetime(2026, 11, 10, tzinfo=UTC)
            if index % 2
            else datetime(2026, 1 + index // 2, 10, tzinfo=UTC)
        )
        barrier.wait()
        issued.append(issue(transact, contract_id, at))

    threads = [threading.Thread(target=run, args=(index,)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(issued) == 12
    assert len({one.number for one in issued if one.period.starts_on == date(2026, 11, 1)}) == 1
    with transact() as conn:
        numbers = sorted(one.number or "" for one in store.list_statements(conn, TENANT))
        assert numbers == [f"RM-HOSPITAL-A-{n:06d}" for n in range(1, 8)]
        assert ledger.check(conn, TENANT) == []


def test_recording_while_issuing_loses_and_doubles_nothing(
    transact, contract_id: int, make_event: MakeEvent
) -> None:
    """Sequences are handed out before they commit; without the cutoff's lock an event could fall between."""
    stop = threading.Event()

    def record(offset: int) -> None:
        number = offset
        while not stop.is_set() and number < offset + 400:
            with transact() as conn:
                meter.record(conn, make_event(number, occurred_at=NOVEMBER), received_at=NOVEMBER)
            number += 1

    threads = [threading.Thread(target=record, args=(offset,)) for offset in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    issue(transact, contract_id, NOVEMBER)
    stop.set()
    for thread in threads:
        thread.join()
    issue(transact, contract_id, DECEMBER)
    with transact() as conn:
        count = len(store.list_usage(conn, TENANT, 10_000))
        issued = store.list_statements(conn, TENANT)
        assert sum(one.subtotal.amount_minor for one in issued) == count * 10000
        assert ledger.check(conn, TENANT) == []


def test_periods_that_wait_for_a_statement_are_listed(transact, contract_id: int) -> None:
    issue(transact, contract_id, datetime(2026, 2, 10, tzinfo=UTC))
    with transact() as conn:
        waiting = statement.unissued_periods(conn, TENANT, contract_id, datetime(2026, 4, 15, tzinfo=UTC))
        assert [str(period.starts_on) for period in waiting] == ["2026-01-01", "2026-03-01"]
        with pytest.raises(errors.PeriodOutsideContract):
            statement.draft(
                conn, TENANT, contract_id, Period(date(2026, 1, 2), date(2026, 2, 1), "Asia/Shanghai", 31)
            )
        with pytest.raises(errors.StatementNotFound):
            store.get_statement(conn, TENANT, 10_000)


ISSUED_TABLES = ["statement", "statement_line", "statement_event", "period", "usage_event", "event_decision",
                 "contract", "contract_version", "contract_rate", "journal_entry", "posting"]  # fmt: skip


@pytest.mark.parametrize("table", ISSUED_TABLES)
def test_what_is_written_refuses_change_even_for_its_owner(
    transact, contract_id: int, deliver, owner, table: str
) -> None:
    deliver(1)
    issue(transact, contract_id, NOVEMBER)
    for query in (
        "UPDATE billing.{} SET tenant = tenant",
        "DELETE FROM billing.{}",
        "TRUNCATE billing.{} CASCADE",
    ):
        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            owner.execute(query.format(table))


def test_an_issued_statement_takes_no_more_lines(transact, contract_id: int, deliver, owner) -> None:
    deliver(1)
    issue(transact, contract_id, NOVEMBER)
    with pytest.raises(psycopg.errors.RestrictViolation, match="takes nothing more"):
        owner.execute(
            """INSERT INTO billing.statement_line SELECT tenant, statement_id, 2, line_key, kind,
            product, service_start, service_end, quantity, exact_amount, 1, 0 FROM billing.statement_line"""
        )


def test_the_counter_goes_up_by_one_or_not_at_all(transact, contract_id: int, owner) -> None:
    issue(transact, contract_id, NOVEMBER)
    for value in (0, 1, 3):
        with pytest.raises(psycopg.errors.RestrictViolation):
            owner.execute("UPDATE billing.statement_counter SET last_number = %s", (value,))
