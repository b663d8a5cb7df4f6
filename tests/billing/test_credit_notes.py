"""A credit note takes back lines of a statement once, in one transaction, and never changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from fractions import Fraction

import psycopg
import pytest

from billing import numbers
from billing.books import ledger
from billing.claims import credit_note_record, credit_notes
from billing.claims.credit_note_record import CreditNote
from billing.errors import CurrencyMismatch, StatementNotFound
from billing.money import Money
from billing.statements.document_errors import (
    ApprovalNeeded,
    CreditExceedsLine,
    CreditNoteNotFound,
    CreditNotPossible,
)
from tests.billing.document_builders import CREDIT, FEE, TENANT, issue_statement

MakeStatement = Callable[..., int]


@pytest.fixture
def make_statement(transact, per_case: str, make_event) -> MakeStatement:
    """Three cases of 100.00 with 6 % tax on one statement; gives its id. `extra`: added to the contract."""

    def make(extra: str = "", cases: int = 3) -> int:
        return issue_statement(transact, per_case + extra, make_event, cases)

    return make


def credit(transact, statement_id: int, share: Fraction | int | None, **changes: object) -> CreditNote:
    with transact() as conn:
        return credit_notes.issue(conn, TENANT, statement_id, [(1, share)], **{**CREDIT, **changes})


def test_a_full_credit_gives_back_exactly_the_statement(transact, make_statement) -> None:
    statement_id = make_statement()
    with transact() as conn:
        note = credit_notes.issue(conn, TENANT, statement_id, None, **CREDIT)
    assert (str(note.subtotal), str(note.tax), str(note.total)) == ("300.00", "18.00", "318.00")
    assert note.number == "RM-HOSPITAL-A-CN-000001"
    assert note.statement_number == "RM-HOSPITAL-A-000001"
    with transact() as conn:
        assert credit_notes.get_credit_note(conn, TENANT, note.credit_note_id) == note
        assert credit_notes.of_statement(conn, TENANT, statement_id) == [note]
        assert credit_notes.list_credit_notes(conn, TENANT) == [note]
        assert ledger.check(conn, TENANT) == []
        with pytest.raises(CreditNotPossible, match="nothing of RM-HOSPITAL-A-000001 is left"):
            credit_notes.issue(conn, TENANT, statement_id, None, **CREDIT)


def test_thirds_then_an_amount_then_the_rest_add_up_and_the_books_agree(
    transact, make_statement, owner
) -> None:
    statement_id = make_statement(cases=1)
    notes = [credit(transact, statement_id, share) for share in (Fraction(1, 3), 1, None)]
    assert [str(note.subtotal) for note in notes] == ["33.33", "0.01", "66.66"]
    assert [str(note.tax) for note in notes] == ["2.00", "0.00", "4.00"]
    booked = owner.execute(
        "SELECT account, sum(amount_minor) AS total FROM billing.posting GROUP BY account ORDER BY account"
    ).fetchall()
    assert {row["account"]: row["total"] for row in booked} == {
        "receivable:demo-hospital": 0,
        "revenue": 0,
        "tax_payable:VAT": 0,
    }
    assert [note.lines[0].fraction for note in notes][-1] == 1


def test_an_amount_of_the_statement_is_exact_with_its_tax(transact, make_statement) -> None:
    statement_id = make_statement()
    with transact() as conn:
        note = credit_notes.issue_amount(conn, TENANT, statement_id, Money(10001, "CNY"), **CREDIT)
        assert (str(note.total), str(note.tax)) == ("100.01", "5.66")
        with pytest.raises(CurrencyMismatch):
            credit_notes.issue_amount(conn, TENANT, statement_id, Money(1, "EUR"), **CREDIT)
        with pytest.raises(CreditExceedsLine, match="21799 minor units with tax"):
            credit_notes.issue_amount(conn, TENANT, statement_id, Money(21800, "CNY"), **CREDIT)


@pytest.mark.parametrize(
    ("lines", "changes", "says"),
    [
        ([(2, None)], {}, "has lines 1 to 1"),
        ([(1, 1), (1, 1)], {}, "at most once"),
        ([], {}, "nothing of"),
        ([(1, 1)], {"reason": "  "}, "needs a reason"),
        ([(1, 1)], {"reason": "x" * 501}, "at most 500"),
    ],
)
def test_what_cannot_be_credited_is_refused(transact, make_statement, owner, lines, changes, says) -> None:
    statement_id = make_statement()
    with pytest.raises(CreditNotPossible, match=says), transact() as conn:
        credit_notes.issue(conn, TENANT, statement_id, lines, **{**CREDIT, **changes})
    with pytest.raises(StatementNotFound), transact() as conn:
        credit_notes.issue(conn, TENANT, 10_000, None, **CREDIT)
    with pytest.raises(CreditNoteNotFound), transact() as conn:
        credit_notes.get_credit_note(conn, TENANT, 1)
    assert owner.execute("SELECT count(*) AS n FROM billing.document_counter").fetchone()["n"] == 0


def test_a_statement_of_no_lines_has_nothing_to_credit(transact, make_statement) -> None:
    statement_id = make_statement(cases=0)
    with pytest.raises(CreditNotPossible, match="nothing of"), transact() as conn:
        credit_notes.issue(conn, TENANT, statement_id, None, **CREDIT)


def test_above_the_contracts_limit_a_second_person_approves(transact, make_statement, owner) -> None:
    statement_id = make_statement("\ncredits:\n  approval_above: 106.00\n")
    assert credit(transact, statement_id, Fraction(1, 3)).approved_by is None
    with pytest.raises(ApprovalNeeded, match=r"more than 106\.00 CNY"):
        credit(transact, statement_id, None)
    with pytest.raises(ApprovalNeeded, match="another person"):
        credit(transact, statement_id, None, approved_by="finance")
    assert credit(transact, statement_id, None, approved_by="head").approved_by == "head"
    for column in ("approved_by = requested_by", "approved_by = NULL"):
        with pytest.raises(psycopg.Error):
            owner.execute(f"UPDATE billing.credit_note SET {column}")


def test_two_credits_at_once_cannot_exceed_the_line(transact, make_statement) -> None:
    statement_id = make_statement()
    barrier = threading.Barrier(8)
    outcomes: list[object] = []

    def run() -> None:
        barrier.wait()
        try:
            outcomes.append(credit(transact, statement_id, Fraction(2, 5)))
        except CreditExceedsLine as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    issued = sorted(one.number for one in outcomes if isinstance(one, CreditNote))
    assert issued == ["RM-HOSPITAL-A-CN-000001", "RM-HOSPITAL-A-CN-000002"]
    with transact() as conn:
        assert ledger.check(conn, TENANT) == []


COPY_LINE = """INSERT INTO billing.credit_note_line
    SELECT tenant, %(note)s, statement_id, %(line)s, '1', %(amount)s, %(tax)s FROM billing.credit_note_line"""
COPY_HEADER = """INSERT INTO billing.credit_note
    SELECT %(note)s, tenant, seller_id, 2, 'X-2', statement_id, currency, 1, %(amount)s, %(tax)s,
    %(amount)s::bigint + %(tax)s::bigint, reason, requested_by, NULL, NULL, document, document_sha256, issued_at
    FROM billing.credit_note"""


@pytest.mark.parametrize(("amount", "tax"), [(15001, 900), (15000, 901), (15000, -901)])
def test_the_database_itself_refuses_a_credit_beyond_the_line(
    transact, make_statement, amount: int, tax: int
) -> None:
    first = credit(transact, make_statement(), Fraction(1, 2))
    values = {"note": 99, "line": 1, "amount": amount, "tax": tax}
    with transact() as conn:
        numbers.next(conn, TENANT, first.seller.id, "CN")
        conn.execute(COPY_LINE, values)
        with pytest.raises(psycopg.errors.CheckViolation, match="line 1 would be credited beyond"):
            conn.execute(COPY_HEADER, values)


def test_an_issued_credit_note_takes_nothing_more_and_never_changes(transact, make_statement, owner) -> None:
    first = credit(transact, make_statement(FEE), Fraction(1, 2))
    with pytest.raises(psycopg.errors.RestrictViolation, match="takes nothing more"):
        owner.execute(COPY_LINE, {"note": first.credit_note_id, "line": 2, "amount": 1, "tax": 0})
    for table in ("credit_note", "credit_note_line"):
        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            owner.execute(f"DELETE FROM billing.{table}")


def test_numbers_of_a_series_go_up_by_one_and_come_back_with_a_rollback(
    transact, make_statement, owner
) -> None:
    make_statement()
    with transact() as conn:
        assert numbers.next(conn, TENANT, "radmeter-imaging", "PO") == 1
        conn.rollback()
    with transact() as conn:
        given = [numbers.next(conn, TENANT, "radmeter-imaging", series) for series in ("PO", "PO", "CN")]
    assert given == [1, 2, 1]
    for value in (0, 2, 4):
        with pytest.raises(psycopg.errors.RestrictViolation):
            owner.execute("UPDATE billing.document_counter SET last_number = %s", (value,))


def test_the_stored_text_gives_the_same_credit_note_again(transact, make_statement) -> None:
    note = credit(transact, make_statement(), Fraction(1, 7), approved_by="head")
    text = credit_note_record.to_text(note)
    assert credit_note_record.from_text(text, note.credit_note_id, note.statement_id) == note
