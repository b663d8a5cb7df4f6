"""What is disputed waits, the rest stays payable; a dispute is decided once, by another person."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import psycopg
import pytest

from billing.books import ledger
from billing.claims import credit_notes, disputes
from billing.claims.disputes import Dispute, disputed_amount
from billing.statements.document_errors import (
    CreditExceedsLine,
    DisputeDecided,
    DisputeNotFound,
    DisputeNotPossible,
    DisputeWindowClosed,
)
from tests.billing.document_builders import CREDIT, FEE, NEW_YEAR, TENANT, issue_statement

OPENED = {"reason": "we count two cases", "by": "hospital", "now": NEW_YEAR}
DECIDED = {"reason": "you are right", "by": "finance", "now": NEW_YEAR}


@pytest.fixture
def statement_id(transact, per_case: str, make_event) -> int:
    """300.00 of cases and a fee of 50.00, with 6 % tax: 371.00."""
    return issue_statement(transact, per_case + FEE, make_event)


def dispute(transact, statement_id: int, *lines, **changes) -> Dispute:
    with transact() as conn:
        return disputes.open_dispute(conn, TENANT, statement_id, lines, **{**OPENED, **changes})


def in_dispute(transact, statement_id: int) -> str:
    with transact() as conn:
        return str(disputed_amount(conn, TENANT, statement_id))


def test_only_what_is_disputed_waits(transact, statement_id: int) -> None:
    assert in_dispute(transact, statement_id) == "0.00"
    opened = dispute(transact, statement_id, (1, 10000))
    assert (opened.state, str(opened.total), opened.statement_number) == (
        "open",
        "106.00",
        "RM-HOSPITAL-A-000001",
    )
    assert in_dispute(transact, statement_id) == "106.00"
    dispute(transact, statement_id, (2, None))
    assert in_dispute(transact, statement_id) == "159.00"
    with transact() as conn:
        assert [one.dispute_id for one in disputes.list_disputes(conn, TENANT, statement_id)] == [1, 2]


def test_accepting_issues_a_credit_note_of_what_was_disputed(transact, statement_id: int) -> None:
    opened = dispute(transact, statement_id, (1, 10000))
    with transact() as conn:
        decided = disputes.accept(conn, TENANT, opened.dispute_id, **DECIDED)
        [note] = credit_notes.of_statement(conn, TENANT, statement_id)
    assert (decided.state, decided.credit_note_id) == ("accepted", note.credit_note_id)
    assert (str(note.total), note.reason) == ("106.00", "you are right")
    assert in_dispute(transact, statement_id) == "0.00"
    with transact() as conn:
        assert ledger.check(conn, TENANT) == []


def test_a_partial_acceptance_gives_back_less(transact, statement_id: int) -> None:
    opened = dispute(transact, statement_id, (1, 20000), (2, None))
    with transact() as conn:
        decided = disputes.accept(conn, TENANT, opened.dispute_id, lines=[(1, 10000)], **DECIDED)
    assert decided.state == "partial"
    assert in_dispute(transact, statement_id) == "0.00"


def test_more_than_was_disputed_is_not_given_back(transact, statement_id: int) -> None:
    opened = dispute(transact, statement_id, (1, 10000))
    for lines in ([(1, 10001)], [(2, None)]):
        with pytest.raises(DisputeNotPossible, match="at most what is disputed"), transact() as conn:
            disputes.accept(conn, TENANT, opened.dispute_id, lines=lines, **DECIDED)
    with transact() as conn:
        assert credit_notes.of_statement(conn, TENANT, statement_id) == []


def test_a_rejected_line_is_payable_and_can_be_disputed_again(transact, statement_id: int) -> None:
    opened = dispute(transact, statement_id, (1, Fraction(1, 3)))
    with transact() as conn:
        assert disputes.reject(conn, TENANT, opened.dispute_id, **DECIDED).state == "rejected"
    assert in_dispute(transact, statement_id) == "0.00"
    dispute(transact, statement_id, (1, None))
    assert in_dispute(transact, statement_id) == "318.00"


def test_a_credit_beside_the_dispute_shrinks_it(transact, statement_id: int) -> None:
    opened = dispute(transact, statement_id, (1, None))
    with transact() as conn:
        credit_notes.issue(conn, TENANT, statement_id, [(1, Fraction(2, 3))], **CREDIT)
    assert in_dispute(transact, statement_id) == "106.00"
    with transact() as conn:
        disputes.accept(conn, TENANT, opened.dispute_id, **DECIDED)
        notes = credit_notes.of_statement(conn, TENANT, statement_id)
    assert [str(note.total) for note in notes] == ["212.00", "106.00"]


def test_after_the_window_a_dispute_is_refused_with_the_last_day(transact, statement_id: int) -> None:
    """Issued on 2 January, 08:00 in Shanghai; thirty days later is 1 February, to its last instant there."""
    last = datetime(2027, 2, 1, 15, 59, 59, tzinfo=UTC)
    dispute(transact, statement_id, (2, None), now=last)
    with pytest.raises(
        DisputeWindowClosed, match=r"until 2027-02-01; the seller can still issue a credit note"
    ):
        dispute(transact, statement_id, (1, None), now=last + timedelta(seconds=1))


def test_the_contract_sets_the_window(transact, per_case: str, make_event) -> None:
    statement_id = issue_statement(transact, per_case + "\ndisputes: {window_days: 0}\n", make_event)
    with pytest.raises(DisputeWindowClosed):
        dispute(transact, statement_id, (1, None), now=NEW_YEAR + timedelta(days=1))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "once each; it has 2"),
        ([(3, None)], "once each"),
        ([(1, 1), (1, 1)], "once each"),
    ],
)
def test_a_dispute_names_lines_of_its_statement(transact, statement_id: int, lines, says: str) -> None:
    with pytest.raises(DisputeNotPossible, match=says):
        dispute(transact, statement_id, *lines)
    with pytest.raises(DisputeNotPossible, match="needs a reason"):
        dispute(transact, statement_id, (1, None), reason=" ")
    with pytest.raises(CreditExceedsLine):
        dispute(transact, statement_id, (1, 30001))
    dispute(transact, statement_id, (1, 1))
    with pytest.raises(DisputeNotPossible, match=r"line 1 .* in an open dispute already"):
        dispute(transact, statement_id, (2, None), (1, 1))


def test_a_statement_of_no_lines_has_nothing_to_dispute(transact, per_case: str, make_event) -> None:
    statement_id = issue_statement(transact, per_case, make_event, cases=0)
    with pytest.raises(DisputeNotPossible, match="it has 0 line"):
        dispute(transact, statement_id, (1, None))


def test_a_dispute_is_decided_once_and_by_another_person(transact, statement_id: int, owner) -> None:
    opened = dispute(transact, statement_id, (1, None))
    with pytest.raises(DisputeDecided, match="another person"), transact() as conn:
        disputes.reject(conn, TENANT, opened.dispute_id, **{**DECIDED, "by": "hospital"})
    with transact() as conn:
        disputes.reject(conn, TENANT, opened.dispute_id, **DECIDED)
    with pytest.raises(DisputeDecided, match="was rejected by finance"), transact() as conn:
        disputes.accept(conn, TENANT, opened.dispute_id, **DECIDED)
    with pytest.raises(DisputeNotFound), transact() as conn:
        disputes.get_dispute(conn, TENANT, 99)
    for change in ("state = 'open'", "state = 'accepted'", "reason = 'x'"):
        with pytest.raises(psycopg.errors.RestrictViolation):
            owner.execute(f"UPDATE billing.dispute SET {change}")


def test_the_database_keeps_what_was_disputed(transact, statement_id: int, owner) -> None:
    dispute(transact, statement_id, (1, None))
    for change in (
        "reason = 'x', state = 'rejected'",
        "state = 'rejected'",
        "state = 'accepted', decided_by = 'x'",
    ):
        with pytest.raises(psycopg.Error):
            owner.execute(f"UPDATE billing.dispute SET {change}")
    with pytest.raises(psycopg.errors.RestrictViolation, match="takes no more lines"):
        owner.execute("""INSERT INTO billing.dispute_line
            SELECT tenant, dispute_id, statement_id, 2, 1, 0 FROM billing.dispute_line""")


def test_of_two_disputes_of_a_line_at_once_one_is_refused(transact, statement_id: int) -> None:
    barrier = threading.Barrier(4)
    outcomes: list[str] = []

    def run() -> None:
        barrier.wait()
        try:
            outcomes.append(dispute(transact, statement_id, (1, None)).state)
        except DisputeNotPossible:
            outcomes.append("refused")

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["open", "refused", "refused", "refused"]
