"""The ledger sums to zero, has known shapes only, and shows every edit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest

from billing.books import ledger
from billing.books.ledger import Posting
from billing.contracts import store
from billing.errors import EntryNotAllowed
from billing.metering import meter
from billing.metering.usage import UsageEvent
from billing.money import Money
from billing.statements import statement

TENANT = "hospital-a"
NOW = datetime(2026, 12, 2, tzinfo=UTC)
MakeEvent = Callable[..., UsageEvent]


def yuan(minor: int) -> Money:
    return Money(minor, "CNY")


SALE = (
    Posting("receivable:buyer", yuan(106)),
    Posting("revenue", yuan(-100)),
    Posting("tax_payable:VAT", yuan(-6)),
)


def book(conn, key: str, postings=SALE, template: str = "statement_issued") -> ledger.Entry:
    return ledger.post(
        conn, TENANT, template=template, idempotency_key=key, reference=key, postings=postings, effective_at=NOW,
        booked_at=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    "postings",
    [
        (Posting("receivable:b", yuan(100)), Posting("revenue", yuan(-99))),
        (Posting("receivable:b", yuan(-100)), Posting("revenue", yuan(100))),
        (Posting("revenue", yuan(100)), Posting("receivable:b", yuan(-100))),
        (
            Posting("receivable:b", yuan(106)),
            Posting("revenue", yuan(-112)),
            Posting("tax_payable:VAT", yuan(6)),
        ),
        (Posting("receivable:b", yuan(100)), Posting("bank", yuan(-100))),
        (Posting("receivable:b", yuan(100)), Posting("revenue", Money(-100, "EUR"))),
        (Posting("receivable:b", yuan(0)), Posting("revenue", yuan(0))),
        (),
    ],
    ids=[
        "unbalanced",
        "reversed",
        "swapped",
        "tax on the wrong side",
        "unknown account",
        "currencies",
        "zero",
        "none",
    ],
)
def test_the_balanced_but_wrong_is_refused(transact, postings: tuple[Posting, ...]) -> None:
    with transact() as conn, pytest.raises(EntryNotAllowed):
        book(conn, "k", postings)


def test_a_statement_may_take_back_more_than_it_earns_where_it_sells_ahead_of_use(transact) -> None:
    """A package of 100.00 sold in the month in which usage of 50.00 turned out void: revenue falls."""
    postings = (
        Posting("receivable:b", yuan(5300)),
        Posting("prepaid:c", yuan(-10000)),
        Posting("revenue", yuan(5000)),
        Posting("tax_payable:VAT", yuan(-300)),
    )
    with transact() as conn:
        book(conn, "k", postings)
        problems = ledger.check(conn, TENANT)
    assert [problem for problem in problems if not problem.startswith("account ")] == []


def test_unknown_templates_are_refused(transact) -> None:
    with transact() as conn, pytest.raises(EntryNotAllowed):
        book(conn, "k", template="correction_by_hand")


def test_the_same_key_books_once_and_another_content_is_refused(transact) -> None:
    with transact() as conn:
        first = book(conn, "k")
    with transact() as conn:
        assert book(conn, "k") == first
        assert book(conn, "k2").sequence == 2
        with pytest.raises(EntryNotAllowed):
            book(conn, "k", (Posting("receivable:b", yuan(1)), Posting("revenue", yuan(-1))))


def test_entries_booked_at_once_make_one_chain(transact) -> None:
    barrier = threading.Barrier(10)

    def run(index: int) -> None:
        with transact() as conn:
            barrier.wait()
            book(conn, f"k{index // 2}")

    threads = [threading.Thread(target=run, args=(index,)) for index in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with transact() as conn:
        assert conn.execute("SELECT count(*) AS n FROM billing.journal_entry").fetchone() == {"n": 5}
        problems = ledger.check(conn, TENANT)
    # Entries alone: no statement stands behind the receivable.
    assert [problem for problem in problems if not problem.startswith("account ")] == []


def test_the_database_refuses_an_entry_that_does_not_balance(transact) -> None:
    """The second wall: straight SQL, past the Python checks."""
    entry = """INSERT INTO billing.journal_entry (tenant, sequence, idempotency_key, template, reference,
        effective_at, booked_at, prev_hash, hash) VALUES (%s, 1, 'k', 'statement_issued', 'r', now(), now(), %s, %s)"""
    posting = """INSERT INTO billing.posting (tenant, entry_sequence, position, account, currency, amount_minor)
        VALUES (%s, 1, %s, 'revenue', 'CNY', %s)"""
    for amounts in ([], [5], [5, -4]):
        with transact() as conn:
            conn.execute("INSERT INTO billing.ledger_head VALUES (%s, 0, %s)", (TENANT, bytes(32)))
            for position, amount in enumerate(amounts, start=1):
                conn.execute(posting, (TENANT, position, amount))
            with pytest.raises(psycopg.errors.CheckViolation, match="sum to zero"):
                conn.execute(entry, (TENANT, bytes(32), bytes(32)))
            conn.rollback()


def test_postings_need_an_entry_and_a_booked_entry_takes_no_more(transact) -> None:
    with transact() as conn:
        book(conn, "k")
    posting = "INSERT INTO billing.posting VALUES (%s, %s, %s, 'revenue', 'CNY', %s)"
    with transact() as conn, pytest.raises(psycopg.errors.RestrictViolation, match="takes nothing more"):
        conn.execute(posting, (TENANT, 1, 4, 5))
    with transact() as conn:
        conn.execute(posting, (TENANT, 2, 1, 5))
        conn.execute(posting, (TENANT, 2, 2, -5))
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        conn.rollback()


def test_the_head_moves_only_with_an_entry(transact) -> None:
    with transact() as conn:
        book(conn, "k")
    with transact() as conn, pytest.raises(psycopg.errors.RestrictViolation):
        conn.execute("UPDATE billing.ledger_head SET sequence = sequence + 1")


@pytest.fixture
def books(transact, per_case: str, make_event: MakeEvent) -> None:
    """Three months, each with a statement and an entry."""
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, per_case)
    for month in (1, 2, 3):
        at = datetime(2026, month, 10, tzinfo=UTC)
        with transact() as conn:
            meter.record(conn, make_event(month, occurred_at=at))
            meter.record(conn, make_event(month + 10, occurred_at=at, kind="refused"))
            statement.issue(conn, TENANT, contract_id, at, now=NOW)
    with transact() as conn:
        assert ledger.check(conn, TENANT) == []


ENTRY_GONE = """DELETE FROM billing.posting WHERE entry_sequence = {0};
    DELETE FROM billing.journal_entry WHERE sequence = {0}"""
FIRST = "WHERE event_id = 'delivery:1'"
TAMPERINGS = {
    "amount": (
        "UPDATE billing.posting SET amount_minor = amount_minor * 2 WHERE entry_sequence = 2",
        "entry 2",
    ),
    "account": (
        "UPDATE billing.posting SET account = 'revenue' WHERE (entry_sequence, position) = (2, 1)",
        "entry 2",
    ),
    "time": ("UPDATE billing.journal_entry SET effective_at = now() WHERE sequence = 2", "entry 2"),
    "relinked": ("UPDATE billing.journal_entry SET prev_hash = hash WHERE sequence = 2", "entry 2"),
    "entry gone": (ENTRY_GONE.format(2), "entries are missing"),
    "tail cut off": (ENTRY_GONE.format(3), "ledger head 3: the journal ends at 2"),
    "reordered": (
        "UPDATE billing.journal_entry SET sequence = sequence + 100 WHERE sequence IN (1, 2);"
        "UPDATE billing.journal_entry SET sequence = 103 - sequence WHERE sequence > 100",
        "journal entry 1",
    ),
    "document": (
        "UPDATE billing.statement SET document = replace(document, 'VAT', 'GST')",
        "its document was changed",
    ),
    "total": (
        "UPDATE billing.statement SET subtotal_minor = 1, total_minor = 601 WHERE sequence_number = 2",
        "RM-HOSPITAL-A-000002: its totals differ",
    ),
    "line": ("UPDATE billing.statement_line SET amount_minor = 1", "its lines differ"),
    "number": (
        "UPDATE billing.statement SET sequence_number = 7 WHERE sequence_number = 3",
        "statement numbers of",
    ),
    "quantity": (f"UPDATE billing.usage_event SET quantity = 3 {FIRST}", "usage event 1: it was changed"),
    "identity": (
        f"UPDATE billing.usage_event SET study_ref = '1.2.840.113619.2.55' {FIRST}",
        "usage event 1",
    ),
    "decision gone": (
        "DELETE FROM billing.event_decision WHERE reason_code = 'refused' AND ingest_sequence < 3",
        "nothing was decided",
    ),
    "evidence gone": ("DELETE FROM billing.statement_event", "billable by the cutoff"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found_and_the_row_is_named(transact, books, owner, name: str) -> None:
    query, expected = TAMPERINGS[name]
    owner.execute("SET session_replication_role = replica")  # what only a superuser can do: triggers off
    owner.execute(query)
    with transact() as conn:
        problems = ledger.check(conn, TENANT)
    assert any(expected in problem for problem in problems), problems


def test_the_constraints_of_the_schema_are_checked_again(transact, books, owner) -> None:
    owner.execute("SET session_replication_role = replica")
    owner.execute("ALTER TABLE billing.event_decision DROP CONSTRAINT only_what_happened_is_billable")
    owner.execute(
        "UPDATE billing.event_decision SET outcome = 'billable', case_key = 'case-1' WHERE ingest_sequence < 3"
    )
    with transact() as conn:
        problems = ledger.check(conn, TENANT)
    assert any("2 billable decisions" in problem for problem in problems)
    assert any("refused is decided billable" in problem for problem in problems)
    assert any("case case-1 of contract 1: held by event" in problem for problem in problems)
