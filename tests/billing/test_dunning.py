"""Reminders come by the contract's terms, once each, on what is open and not in dispute."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime

import psycopg
import pytest

from billing.books import ledger
from billing.cash import payments
from billing.claims import credit_notes, disputes, dunning, reminder_record
from billing.claims.credit_note_paper import reminder_paper
from billing.claims.reminder_record import Reminder
from billing.errors import ContractError
from billing.money import Money
from billing.statements.document_errors import DunningDayAhead, ReminderNotFound
from tests.billing.document_builders import CREDIT, FEE, NEW_YEAR, TENANT, issue_statement

TERMS = """
dunning:
  - {days_after_due: 1, text: {en: "A gentle reminder.", zh: "温馨提示。"}}
  - {days_after_due: 14, text: {en: "Please pay now.", zh: "请立即付款。"}}
  - {days_after_due: 30, text: {en: "Last reminder.", zh: "最后提醒。"}}
"""
DUE = date(2027, 2, 1)
LATER = datetime(2027, 6, 1, tzinfo=UTC)


@pytest.fixture
def statement_id(transact, per_case: str, make_event) -> int:
    """371.00, due on 1 February."""
    return issue_statement(transact, per_case + FEE + TERMS, make_event)


def run(transact, day: date) -> list[Reminder]:
    with transact() as conn:
        return dunning.run(conn, TENANT, day, now=LATER)


@pytest.mark.parametrize(
    ("day", "levels"),
    [
        (DUE, []),
        (date(2027, 2, 2), [1]),
        (date(2027, 2, 14), [1]),
        (date(2027, 2, 15), [2]),
        (date(2027, 5, 1), [3]),
    ],
)
def test_the_strongest_reminder_that_is_due_is_written(
    transact, statement_id: int, day: date, levels
) -> None:
    assert [one.level for one in run(transact, day)] == levels
    # The same day again writes nothing more, and neither does an earlier one.
    assert run(transact, day) == []
    assert run(transact, DUE) == []


def test_levels_follow_each_other_day_by_day(transact, statement_id: int) -> None:
    days = [date.fromordinal(DUE.toordinal() + n) for n in range(60)]
    written = [(one.as_of, one.level) for day in days for one in run(transact, day)]
    assert written == [(date(2027, 2, 2), 1), (date(2027, 2, 15), 2), (date(2027, 3, 3), 3)]
    with transact() as conn:
        stored = dunning.list_reminders(conn, TENANT, statement_id)
        assert [one.level for one in stored] == [1, 2, 3]
        assert dunning.get_reminder(conn, TENANT, statement_id, 2) == stored[1]
        with pytest.raises(ReminderNotFound):
            dunning.get_reminder(conn, TENANT, statement_id, 4)


def test_a_reminder_asks_for_what_is_open_and_not_in_dispute(transact, statement_id: int) -> None:
    with transact() as conn:
        credit_notes.issue(conn, TENANT, statement_id, [(1, 10000)], **CREDIT)
        disputes.open_dispute(
            conn, TENANT, statement_id, [(2, None)], reason="x", by="hospital", now=NEW_YEAR
        )
        received = payments.receive(
            conn, TENANT, payer_id="demo-hospital", amount=Money(100_00, "CNY"), source="bank", external_id="1",
            received_at=NEW_YEAR, by="finance", now=NEW_YEAR,
        )  # fmt: skip
        payments.allocate(conn, TENANT, received.payment_id, statement_id, by="finance", now=NEW_YEAR)
    [reminder] = run(transact, date(2027, 2, 2))
    assert [str(m) for m in (reminder.total, reminder.still_open, reminder.disputed, reminder.payable)] == [
        "371.00", "165.00", "53.00", "112.00",
    ]  # fmt: skip
    paper = reminder_paper(reminder, "en")
    assert [cells[-1].text for cells in paper.table.rows] == ["371.00", "-206.00", "-53.00"]
    assert (paper.number, paper.notices) == ("RM-HOSPITAL-A-000001-R1", ("A gentle reminder.",))


def test_what_is_wholly_disputed_or_paid_gets_no_reminder(transact, statement_id: int) -> None:
    with transact() as conn:
        lines = [(1, None), (2, None)]
        disputes.open_dispute(conn, TENANT, statement_id, lines, reason="x", by="hospital", now=NEW_YEAR)
    assert run(transact, date(2027, 2, 2)) == []
    with transact() as conn:
        disputes.reject(conn, TENANT, 1, reason="x", by="finance", now=NEW_YEAR)
    assert [str(one.payable) for one in run(transact, date(2027, 2, 3))] == ["371.00"]
    with transact() as conn:
        credit_notes.issue(conn, TENANT, statement_id, None, **CREDIT)
    assert run(transact, date(2027, 5, 1)) == []


def test_without_terms_or_lines_nobody_is_reminded(transact, per_case: str, make_event) -> None:
    issue_statement(transact, per_case, make_event)
    assert run(transact, date(2027, 5, 1)) == []


def test_a_statement_of_no_lines_is_never_overdue(transact, per_case: str, make_event) -> None:
    issue_statement(transact, per_case + TERMS, make_event, cases=0)
    assert run(transact, date(2027, 5, 1)) == []


def test_a_day_that_has_not_begun_is_refused(transact, statement_id: int) -> None:
    with pytest.raises(DunningDayAhead, match="has not begun"):
        run(transact, date(2027, 6, 2))


def test_two_runs_at_once_write_a_reminder_once(transact, statement_id: int) -> None:
    barrier = threading.Barrier(4)
    written: list[Reminder] = []

    def work() -> None:
        barrier.wait()
        written.extend(run(transact, date(2027, 2, 2)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == 1


def test_a_stored_reminder_never_changes_and_never_goes_down(transact, statement_id: int, owner) -> None:
    [reminder] = run(transact, date(2027, 2, 15))
    text = reminder_record.to_text(reminder)
    assert reminder_record.from_text(text, statement_id) == reminder
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        owner.execute("UPDATE billing.reminder SET level = 3")
    with pytest.raises(psycopg.errors.CheckViolation, match="stronger reminder"):
        owner.execute("""INSERT INTO billing.reminder SELECT tenant, statement_id, 1, as_of, open_minor,
            disputed_minor, payable_minor, document, document_sha256, written_at FROM billing.reminder""")


def test_the_check_of_the_books_names_a_document_that_was_changed(transact, statement_id: int, owner) -> None:
    run(transact, date(2027, 2, 15))
    with transact() as conn:
        credit_notes.issue(conn, TENANT, statement_id, [(1, 1)], **CREDIT)
        assert ledger.check(conn, TENANT) == []
    for table in ("reminder", "credit_note"):
        owner.execute(f"ALTER TABLE billing.{table} DISABLE TRIGGER append_only")
        owner.execute(f"UPDATE billing.{table} SET document = replace(document, 'Radmeter', 'Redmeter')")
    with transact() as conn:
        assert ledger.check(conn, TENANT) == [
            "credit note RM-HOSPITAL-A-CN-000001: its document was changed",
            "reminder 2 of statement 1: its document was changed",
        ]


def test_terms_that_do_not_go_up_are_told_by_line(transact, per_case: str, make_event) -> None:
    with pytest.raises(ContractError, match="must be later than in the reminder above"):
        issue_statement(transact, per_case + TERMS.replace("14", "1"), make_event)
