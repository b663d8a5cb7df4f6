"""`ledger check` names the allocation, account, payout or statement that was tampered with."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest

from billing.books import ledger
from billing.claims import credit_notes

TENANT = "hospital-a"
NEW_YEAR = datetime(2027, 1, 2, tzinfo=UTC)
SPLITS = """
splits:
  - {split: app, basis: billed, parties: [{party: dev-a, share: 0.70}, {party: treasury, residual: true}]}
liability:
  shares: [{party: radmeter-imaging, share: 0.30}, {party: demo-hospital, share: 0.70}]
  reserve_per_case: 1.00
"""
TAMPERINGS = {
    "a part": (
        "UPDATE billing.split_allocation SET amount_minor = 1 WHERE party_id = 'dev-a'",
        "its parts sum to",
    ),
    "a reversal": (
        "UPDATE billing.split_reversal SET amount_minor = amount_minor + 1 WHERE allocation_id = "
        "(SELECT allocation_id FROM billing.split_allocation WHERE party_id = 'treasury')",
        "its shares gave back",
    ),
    "released": (
        "UPDATE billing.party_movement SET amount_minor = 90000 WHERE kind = 'released' AND party_id = 'dev-a'",
        "became payable, it has",
    ),
    "a movement gone": (
        "DELETE FROM billing.party_movement WHERE party_id = 'treasury'",
        "account split_payable:treasury: the journal has",
    ),
    "a reserve": (
        "UPDATE billing.split_allocation SET is_own = false WHERE basis = 'reserve'",
        "account reserve:radmeter-imaging",
    ),
    "a payout": ("UPDATE billing.payout SET amount_minor = 1", "payout 1 is confirmed: it moved"),
    "an advance": (
        "UPDATE billing.party_movement SET kind = 'recouped' WHERE kind = 'payout_sent'",
        "account advance:dev-a",
    ),
    "a document": (
        "UPDATE billing.payout_statement SET document = replace(document, 'Developer', 'Other')",
        "its document was changed",
    ),
    "a stated movement": (
        "DELETE FROM billing.payout_statement_movement",
        "it does not sum its movements",
    ),
    "an opening": (
        "UPDATE billing.payout_statement SET opening_minor = 5, closing_minor = moved_minor + 5, "
        "to_pay_minor = greatest(0, moved_minor + 5)",
        "it does not continue the last one",
    ),
    "a number": ("UPDATE billing.payout_statement SET sequence_number = 7", "payout statement numbers of"),
}


@pytest.fixture
def shared_books(transact, sign, bill, state_payout, send) -> None:
    """A statement that is shared, half credited, stated to the developer and paid out."""
    issued = bill(sign(SPLITS), 2)
    with transact() as conn:
        half = [(1, Fraction(1, 2))]
        credit_notes.issue(conn, TENANT, issued.statement_id, half, reason="half", by="clerk", now=NEW_YEAR)
    state_payout()
    send()
    with transact() as conn:
        assert ledger.check(conn, TENANT) == []


def test_each_tampering_is_named(transact, shared_books, owner) -> None:
    for name, (query, expected) in TAMPERINGS.items():
        with owner.transaction(force_rollback=True):
            owner.execute(
                "SET LOCAL session_replication_role = replica"
            )  # triggers off: only a superuser can
            owner.execute(query)
            problems = ledger.check(owner, TENANT)
        assert any(expected in problem for problem in problems), (name, problems)
