"""Each of the thirteen invariants, broken by hand in sound books: the check of the books finds it and names the row.

Triggers are off and constraints are dropped: what only a superuser, a restore or a fault of the program could do.
"""

from __future__ import annotations

import psycopg
from psycopg.rows import dict_row

from billing.books import ledger
from tests.billing.conftest import TENANT

AGAIN = "contract per-case-2026, 2026-11-01 to 2026-12-01, line lung_nodule_ct/units of demo-hospital"
SEALED = "document_sha256 = encode(sha256(convert_to({0}, 'UTF8')), 'hex'), document = {0}"
WITH_UID = SEALED.format("replace(document, 'Demo Hospital', 'Scan 1.2.840.113619.2.55.3')")
FAULTS = [
    (1, "DELETE FROM billing.event_decision WHERE ingest_sequence = 1", "usage event 1: nothing was decided about it"),
    (2, "UPDATE billing.event_decision SET case_key = 'case-1' WHERE ingest_sequence = 2",
     "case case-1 of contract 1: 2 billable decisions"),
    (3, "UPDATE billing.contract_version SET source_text = replace(source_text, '100.00', '90.00')",
     f"{AGAIN}: 200.00 CNY for 2 stated, rated again 180.00 CNY for 2"),
    (3, "UPDATE billing.usage_event SET quantity = 2 WHERE ingest_sequence = 2",
     f"{AGAIN}: 200.00 CNY for 2 stated, rated again 300.00 CNY for 3"),
    (3, "UPDATE billing.statement SET output_digest = 'x' WHERE statement_id = 1",
     "statement RM-HOSPITAL-A-000001: its lines do not give the digest of its rating"),
    (4, "DELETE FROM billing.case_claim WHERE case_key = 'case-2'",
     "case case-2 of contract 1: held by event None, charged for event 2"),
    (5, "UPDATE billing.statement_line SET tax_minor = tax_minor + 1 WHERE statement_id = 1",
     "statement RM-HOSPITAL-A-000001: its lines differ from its document"),
    (6, "UPDATE billing.credit_note_line SET amount_minor = 15000 WHERE credit_note_id = 2",
     "statement RM-HOSPITAL-A-000001 line 1: 21667 credited of 20000"),
    (7, "UPDATE billing.posting SET amount_minor = amount_minor + 1 WHERE entry_sequence = 3 AND position = 1",
     "journal entry 3: its postings sum to 1 minor units of CNY"),
    (7, "UPDATE billing.posting SET amount_minor = -amount_minor WHERE entry_sequence = 1",
     "journal entry 1: statement_issued cannot post"),
    (7, "INSERT INTO billing.wallet_lot (tenant, contract_id, package, owner, product, ingest_sequence, quantity,"
        " remaining, in_money, priority, effective_at, expires_at, created_at)"
        " VALUES ('hospital-a', 1, 'p', 'm', 'x', 1, 3, 2, false, 0, '2026-11-01', '2027-11-01', now())",
     "wallet lot 1: its balance or its revenue is not what its entries say"),
    (8, "INSERT INTO billing.split_allocation (tenant, statement_id, line_number, split, basis, party_id, is_own,"
        " line_key, service_start, currency, base_minor, amount_minor, accrued_at)"
        " VALUES ('hospital-a', 1, 1, 'app', 'billed', 'demo-hospital', false, 'k',"
        " '2026-11-01', 'CNY', 20000, 19999, now())",
     "statement RM-HOSPITAL-A-000001, line 1, split app: its parts sum to 19999, the line is 20000"),
    (9, "INSERT INTO billing.journal_entry SELECT tenant, sequence + 1, 'late', template, 'late', '2026-11-15Z',"
        " booked_at, hash, hash FROM billing.journal_entry ORDER BY sequence DESC LIMIT 1",
     "booked into 2026-11 after it was closed"),
    (9, "ALTER TABLE billing.accounting_period DROP CONSTRAINT accounting_period_check1;"
        "UPDATE billing.accounting_period SET approved_by = requested_by WHERE state = 'closed'",
     "2026-11 of the books: closed by one person"),
    (10, "UPDATE billing.statement_counter SET last_number = 3",
     "statement numbers of radmeter-imaging: counted to 3, the highest is 2, there are 2"),
    (11, "DELETE FROM billing.rail_transition WHERE state = 'intent';"
         "INSERT INTO billing.rail_transition (tenant, operation_id, generation, state, detail, changed_at)"
         " SELECT tenant, operation_id, 1, 'sent', '', now() FROM billing.rail_operation",
     "rail operation 1: it was sent before it was intended"),
    (12, "UPDATE billing.usage_event SET study_ref = '1.2.840.113619.2.55' WHERE ingest_sequence = 1",
     "usage event 1: it could not be recorded: usage event, study_ref: looks like a UID"),
    (12, """UPDATE billing.usage_event SET dimensions = '{"patient_name": "x"}' WHERE ingest_sequence = 1""",
     "usage event 1: it could not be recorded: usage event, dimensions: unknown: patient_name"),
    (12, """UPDATE billing.rail_operation SET request = request || '{"patient_id": "7"}'""",
     "rail operation 1: 'patient_id' is no field that a rail may see"),
    (12, f"UPDATE billing.statement SET {WITH_UID} WHERE statement_id = 2",
     "statement RM-HOSPITAL-A-000002: its document holds what is shaped like a UID"),
    (13, "UPDATE billing.contract_version SET source_text = source_text || E'\nsafety: {events_per_day_max: 1}\n'",
     "statement RM-HOSPITAL-A-000001: issued beyond a bound that nobody released: 2026-11-10 has 2 billable events"),
    (13, "ALTER TABLE billing.statement DROP CONSTRAINT statement_check;"
         "UPDATE billing.statement SET total_minor = -1 WHERE statement_id = 2",
     "statement RM-HOSPITAL-A-000002: issued beyond a bound that nobody released: it totals less than zero"),
    (13, "INSERT INTO billing.account_parking (tenant, contract_id, period_start, bound, explanation, parked_at)"
         " VALUES ('hospital-a', 1, '2026-11-01', 'lines', 'many', '2027-01-01')",
     "statement RM-HOSPITAL-A-000001: issued while its account was parked, since 2027-01-01"),
]  # fmt: skip


def test_each_invariant_that_is_broken_is_found_and_its_row_is_named(whole_books, migrated_url: str) -> None:
    missed = {}
    with psycopg.connect(migrated_url, row_factory=dict_row) as conn:
        for number, query, expected in FAULTS:
            conn.execute("SET session_replication_role = replica")
            conn.execute(query)
            problems = ledger.check(conn, TENANT)
            if not any(expected in problem for problem in problems):
                missed[number, expected] = problems
            conn.rollback()
        assert ledger.check(conn, TENANT) == [], "each fault was taken back"
    assert missed == {}
    assert {number for number, _, _ in FAULTS} == set(range(1, 14))
