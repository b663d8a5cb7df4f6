"""Above the contract's limit one person asks for a credit and another one decides."""

from __future__ import annotations

import threading
from fractions import Fraction

import psycopg
import pytest

from billing.books import ledger
from billing.claims import credit_notes, credit_requests
from billing.claims.credit_note_record import CreditNote
from billing.claims.credit_requests import CreditRequest
from billing.statements.document_errors import (
    ApprovalNeeded,
    CreditExceedsLine,
    CreditNotPossible,
    CreditRequestDecided,
    CreditRequestNotFound,
)
from tests.billing.document_builders import CREDIT, FEE, NEW_YEAR, TENANT, issue_statement

HEAD = {"by": "head", "now": NEW_YEAR}


@pytest.fixture
def statement_id(transact, per_case: str, make_event) -> int:
    """371.00 with tax; credits above 106.00 need two."""
    return issue_statement(transact, per_case + FEE + "\ncredits: {approval_above: 106}\n", make_event)


def ask(transact, statement_id: int, lines) -> CreditNote | CreditRequest:
    with transact() as conn:
        return credit_requests.issue_or_request(conn, TENANT, statement_id, lines, **CREDIT)


def test_up_to_the_limit_it_is_issued_and_above_it_waits_for_another_person(
    transact, statement_id: int
) -> None:
    assert isinstance(ask(transact, statement_id, [(1, 10000)]), CreditNote)
    lines = [(1, Fraction(1, 2)), (2, None)]
    waiting = ask(transact, statement_id, lines)
    assert isinstance(waiting, CreditRequest)
    assert (waiting.state, waiting.lines) == ("requested", lines)
    with pytest.raises(ApprovalNeeded, match="another person"), transact() as conn:
        credit_requests.approve(conn, TENANT, waiting.request_id, by="finance", now=NEW_YEAR)
    with transact() as conn:
        note = credit_requests.approve(conn, TENANT, waiting.request_id, **HEAD)
    assert (str(note.total), note.requested_by, note.approved_by) == ("212.00", "finance", "head")
    with transact() as conn:
        [done] = credit_requests.list_requests(conn, TENANT, statement_id)
        assert (done.state, done.credit_note_id) == ("approved", note.credit_note_id)
        assert ledger.check(conn, TENANT) == []


def test_a_request_of_everything_is_of_what_is_left_when_it_is_approved(transact, statement_id: int) -> None:
    waiting = ask(transact, statement_id, None)
    ask(transact, statement_id, [(1, 10000)])
    with transact() as conn:
        assert str(credit_requests.approve(conn, TENANT, waiting.request_id, **HEAD).total) == "265.00"


def test_a_refused_request_credits_nothing(transact, statement_id: int) -> None:
    waiting = ask(transact, statement_id, None)
    with transact() as conn:
        assert credit_requests.refuse(conn, TENANT, waiting.request_id, **HEAD).state == "refused"
        assert credit_notes.of_statement(conn, TENANT, statement_id) == []
    with pytest.raises(CreditRequestDecided, match="was refused by head"), transact() as conn:
        credit_requests.approve(conn, TENANT, waiting.request_id, **HEAD)


def test_what_cannot_be_credited_is_refused_at_once(transact, statement_id: int) -> None:
    with pytest.raises(CreditExceedsLine):
        ask(transact, statement_id, [(1, 30001)])
    with pytest.raises(CreditNotPossible, match="needs a reason"), transact() as conn:
        credit_requests.request(conn, TENANT, statement_id, None, **{**CREDIT, "reason": " "})
    with pytest.raises(CreditRequestNotFound), transact() as conn:
        credit_requests.approve(conn, TENANT, 99, **HEAD)


def test_two_approvals_at_once_issue_one_credit_note(transact, statement_id: int) -> None:
    waiting = ask(transact, statement_id, [(1, Fraction(1, 2))])
    barrier = threading.Barrier(4)
    outcomes: list[str] = []

    def run(name: str) -> None:
        barrier.wait()
        try:
            with transact() as conn:
                credit_requests.approve(conn, TENANT, waiting.request_id, by=name, now=NEW_YEAR)
            outcomes.append("issued")
        except CreditRequestDecided:
            outcomes.append("decided")

    threads = [threading.Thread(target=run, args=(f"head-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["decided", "decided", "decided", "issued"]


def test_the_database_keeps_the_request_and_the_two_people(transact, statement_id: int, owner) -> None:
    ask(transact, statement_id, None)
    for change in ("reason = 'x'", "state = 'refused', decided_by = 'finance', decided_at = now()",
                   "state = 'approved', decided_by = 'x', decided_at = now()"):  # fmt: skip
        with pytest.raises(psycopg.Error):
            owner.execute(f"UPDATE billing.credit_request SET {change}")
