"""Every check of the books can fail: rows are corrupted one by one, with triggers off, and the row is named."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg.rows import dict_row

from billing.books import ageing, control_accounts, ledger, ledger_check
from tests.billing.payment_seeds import TENANT, cny

JANUARY_31 = date(2027, 1, 31)


LATE_ENTRY = """
    INSERT INTO billing.journal_entry SELECT tenant, sequence + 1, 'late', template, 'late', '2026-11-15Z', booked_at,
        hash, hash FROM billing.journal_entry ORDER BY sequence DESC LIMIT 1"""
CORRUPTIONS = {
    "unbalanced": (
        "UPDATE billing.posting SET amount_minor = amount_minor + 1 WHERE entry_sequence = 3 AND position = 1",
        "journal entry 3: its postings sum to 1 minor units of CNY",
    ),
    "wrong side": (
        "UPDATE billing.posting SET amount_minor = -amount_minor WHERE entry_sequence = 1",
        "journal entry 1: statement_issued cannot post",
    ),
    "posting alone": (
        "INSERT INTO billing.posting VALUES ('hospital-a', 999, 1, 'revenue', 'CNY', 5)",
        "posting of entry 999: there is no such entry",
    ),
    "booked after closing": (LATE_ENTRY, "booked into 2026-11 after it was closed"),
    "closed by one": (
        "ALTER TABLE billing.accounting_period DROP CONSTRAINT accounting_period_check1;"
        "UPDATE billing.accounting_period SET approved_by = requested_by WHERE state = 'closed'",
        "2026-11 of the books: closed by one person",
    ),
    "credited by one": (
        "ALTER TABLE billing.credit_note DROP CONSTRAINT nobody_approves_their_own;"
        "UPDATE billing.credit_note SET approved_by = requested_by WHERE credit_note_id = 2",
        "credit note RM-HOSPITAL-A-CN-000002: approved by whoever asked for it",
    ),
    "credited without approval": (
        "ALTER TABLE billing.credit_note DROP CONSTRAINT two_people_above_the_limit;"
        "UPDATE billing.credit_note SET approval_above_minor = 1 WHERE credit_note_id = 2",
        "credit note RM-HOSPITAL-A-CN-000002: approved by whoever asked for it, or by nobody",
    ),
    "refunded by one": (
        "ALTER TABLE billing.refund DROP CONSTRAINT two_people_refund;"
        "UPDATE billing.refund SET approved_by = requested_by",
        "refund 1: approved by whoever asked for it",
    ),
    "written off by one": (
        "ALTER TABLE billing.write_off DROP CONSTRAINT two_people_write_off;"
        "UPDATE billing.write_off SET approved_by = requested_by",
        "write-off 1: approved by whoever asked for it",
    ),
    "paid out by the payee": (
        "ALTER TABLE billing.payout DROP CONSTRAINT not_the_payee;"
        "INSERT INTO billing.payout (tenant, kind, payout_statement_id, seller_id, party_id, currency, amount_minor,"
        " state, requested_by, requested_at, approved_by, changed_at)"
        " VALUES ('hospital-a', 'statement', 1, 's', 'dev', 'CNY', 5, 'approved', 'lin', now(), 'dev', now())",
        "payout 1: approved by whoever asked for it, by its payee, or by nobody",
    ),
    "closed by nobody else": (
        "UPDATE billing.accounting_period SET approved_by = NULL WHERE state = 'closed'",
        "2026-11 of the books: closed by one person",
    ),
    "decision gone": (
        "DELETE FROM billing.event_decision WHERE ingest_sequence = 1",
        "usage event 1: nothing was decided about it",
    ),
    "decision out of order": (
        "UPDATE billing.event_decision SET revision = 3 WHERE ingest_sequence = 1",
        "usage event 1: 1 decisions without an order",
    ),
    "decision of another kind": (
        "UPDATE billing.event_decision SET kind = 'usage' WHERE ingest_sequence = 1",
        "decision 1: there is no such event",
    ),
    "decision by no version": (
        "UPDATE billing.event_decision SET contract_version = 9 WHERE ingest_sequence = 1",
        "decision 1: there is no such event, or no such version of a contract",
    ),
    "charged and not billable": (
        "UPDATE billing.event_decision SET outcome = 'not_billable' WHERE ingest_sequence = 1",
        "usage event 1: on a statement and never decided billable",
    ),
    "credited too much": (
        "UPDATE billing.credit_note_line SET amount_minor = 15000 WHERE credit_note_id = 2",
        "line 1: 21667 credited of 20000",
    ),
    "credited whole and not all": (
        "UPDATE billing.credit_note_line SET credited_fraction = '1' WHERE credit_note_id = 2",
        "line 1: 13333 credited of 20000",
    ),
    "credit note sum": (
        "UPDATE billing.credit_note_line SET tax_minor = tax_minor + 1 WHERE credit_note_id = 1",
        "credit note RM-HOSPITAL-A-CN-000001: its lines sum to 6667 and tax 401",
    ),
    "credit note number": (
        "UPDATE billing.credit_note SET sequence_number = 7 WHERE credit_note_id = 2",
        "counted to 2, the highest is 7, there are 2",
    ),
    "credit note changed": (
        "UPDATE billing.credit_note SET document = document || ' ' WHERE credit_note_id = 1",
        "credit note RM-HOSPITAL-A-CN-000001: its document was changed",
    ),
    "credit note gone": ("DELETE FROM billing.credit_note WHERE credit_note_id = 1", "there are 1"),
    "paid out of nothing": (
        "UPDATE billing.payment SET amount_minor = 4999 WHERE payment_id = 2",
        "payment 2: 1 more is allocated and refunded than came in",
    ),
    "paid too much": (
        "UPDATE billing.statement SET subtotal_minor = 5000, tax_minor = 0, total_minor = 5000"
        " WHERE sequence_number = 2",
        "000002: asked 5000, 5600 is paid and written off",
    ),
    "allocation changed": (
        "UPDATE billing.payment_allocation SET amount_minor = amount_minor + 1 WHERE allocation_id = 1",
        "allocation 1: moves what is owed by -7001, the journal by -7000",
    ),
    "allocation not booked": (
        "UPDATE billing.journal_entry SET idempotency_key = 'x' WHERE idempotency_key = 'allocation:2'",
        "allocation 2: moves what is owed by -5000, the journal by 0",
    ),
    "write-off changed": (
        "UPDATE billing.write_off SET amount_minor = 601",
        "write_off 1: moves what is owed by -601, the journal by -600",
    ),
    "payment changed": (
        "UPDATE billing.payment SET amount_minor = amount_minor + 1 WHERE payment_id = 1",
        "account unapplied_cash:demo-hospital: its items sum to",
    ),
    "tax changed": (
        "UPDATE billing.statement SET tax_minor = 599, subtotal_minor = 10001 WHERE sequence_number = 2",
        "account tax_payable: its items sum to",
    ),
    "called before intended": (
        "DELETE FROM billing.rail_transition WHERE state = 'intent';"
        "INSERT INTO billing.rail_transition (tenant, operation_id, generation, state, detail, changed_at)"
        " SELECT tenant, operation_id, 1, 'sent', '', now() FROM billing.rail_operation",
        "it was sent before it was intended",
    ),
    "rail state changed": (
        "UPDATE billing.rail_operation SET state = 'confirmed' WHERE kind = 'refund'",
        "it is confirmed, its last transition says intent",
    ),
    "more recognised than deferred": (
        "INSERT INTO billing.deferral VALUES"
        " ('hospital-a', 1, 1, 1, 'deferred_revenue:x', 'CNY', '2026-01-01', '2027-01-01', 10);"
        "INSERT INTO billing.deferral_movement (tenant, statement_id, line_number, kind, amount_minor, revenue_minor,"
        " until, reference, moved_at) VALUES ('hospital-a', 1, 1, 'recognised', 11, 11, '2026-02-01', 'k', now())",
        "statement 1 line 1: deferred 10, 11 became revenue and 0 was credited",
    ),
    "identifier in the journal": (
        "UPDATE billing.journal_entry SET reference = 'study 1.2.840.113619.2.55' WHERE sequence = 2",
        "journal entry 2: its reference holds what is shaped like a UID",
    ),
}  # fmt: skip


def test_every_check_can_fail_and_names_the_row(whole_books, migrated_url: str) -> None:
    missed = {}
    with psycopg.connect(migrated_url, row_factory=dict_row) as conn:
        for name, (query, expected) in CORRUPTIONS.items():
            conn.execute(
                "SET session_replication_role = replica"
            )  # what only a superuser can do: triggers off
            conn.execute(query)
            problems = ledger.check(conn, TENANT)
            if not any(expected in problem for problem in problems):
                missed[name] = problems
            conn.rollback()
    assert missed == {}


def test_the_corruptions_reach_every_check_that_is_a_query(whole_books, migrated_url: str) -> None:
    """A new query in the list needs a corruption here."""
    silent = set(ledger_check.CHECKS)
    with psycopg.connect(migrated_url, row_factory=dict_row) as conn:
        for query, _ in CORRUPTIONS.values():
            conn.execute("SET session_replication_role = replica")
            conn.execute(query)
            silent -= {name for name in silent if ledger_check.rows(conn, name, {"tenant": TENANT})}
            conn.rollback()
    assert silent == set()


def test_sub_ledgers_sum_to_their_control_accounts(transact, whole_books) -> None:
    with transact() as conn:
        found = {one.account: one for one in control_accounts.compare(conn, TENANT)}
    # 21200 − two thirds of 21200 − 7000 + 500, and 10600 − 5000 − 600
    assert found["receivable:demo-hospital"].control == cny(21200 - 14133 - 6500 + 5000)
    assert found["unapplied_cash:demo-hospital"].control == cny(-(20000 - 6500))
    assert all(not one.difference for one in found.values())
    assert set(found) == {"receivable:demo-hospital", "unapplied_cash:demo-hospital", "tax_payable"}


def test_ageing_sorts_what_is_open_by_the_days_since_it_was_due(transact, whole_books) -> None:
    """Both statements were issued on 2 January, due in 30 days: 1 February is the last day in time."""
    november, december = cny(21200 - 14133 - 6500), cny(10600 - 5000 - 600)
    owed, nothing = november + december, cny(0)
    due = date(2027, 2, 1)
    with transact() as conn:
        for days_late, bucket in [
            (0, 0),
            (1, 1),
            (30, 1),
            (31, 2),
            (60, 2),
            (61, 3),
            (90, 3),
            (91, 4),
            (400, 4),
        ]:
            found = ageing.open_statements(conn, TENANT, due + timedelta(days=days_late), "UTC")
            (line,) = ageing.age(found)
            assert line.account == "receivable:demo-hospital"
            assert line.amounts == tuple(owed if index == bucket else nothing for index in range(5)), (
                days_late
            )
            assert line.total == owed
        before = ageing.open_statements(conn, TENANT, date(2027, 1, 1), "UTC")
        assert [one.open_amount for one in before] == [cny(21200), cny(10600)], "before anything was paid"
        assert ageing.open_statements(conn, TENANT, date(2026, 11, 29), "UTC") == []


def test_ageing_at_a_day_agrees_with_the_account_of_the_journal(transact, whole_books) -> None:
    with transact() as conn:
        for day in (date(2026, 11, 30), date(2026, 12, 31), date(2027, 1, 1), JANUARY_31):
            until = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
            lines = ageing.age(ageing.open_statements(conn, TENANT, day, "UTC"))
            row = conn.execute(
                """SELECT coalesce(sum(p.amount_minor), 0) AS n FROM billing.posting p JOIN billing.journal_entry e
                ON e.sequence = p.entry_sequence WHERE account LIKE 'receivable:%%' AND e.effective_at < %s""",
                (until,),
            ).fetchone()
            assert sum(line.total.amount_minor for line in lines) == row["n"]
