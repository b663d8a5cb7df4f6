"""Reads a tenant's books row by row and names every row that breaks an invariant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from billing import statement_record
from billing.errors import BillingError
from billing.ledger import GENESIS, POSTINGS_OF, TEMPLATES, entry_hash
from billing.meter import event_of
from billing.store import Row, rows

Connection = psycopg.Connection[Any]


def find_problems(conn: Connection, tenant: str) -> list[str]:
    """One sentence per broken invariant; empty when the books are sound."""
    checks = (_entries, _statements, _numbers, _events)
    return [problem for check in checks for problem in check(conn, tenant)]


def _entries(conn: Connection, tenant: str) -> Iterator[str]:
    """Chain, balance and template of every journal entry, and the chain's end."""
    expected, prev_hash = 1, GENESIS
    for entry in rows(conn, _ENTRIES, {"tenant": tenant}):
        name = f"journal entry {entry['sequence']}"
        if entry["sequence"] != expected:
            yield f"{name} follows {expected - 1}: entries are missing"
        if bytes(entry["prev_hash"]) != prev_hash:
            yield f"{name} does not continue the chain"
        postings = rows(conn, POSTINGS_OF, {"tenant": tenant, "sequence": entry["sequence"]})
        yield from _postings(name, entry, postings)
        expected, prev_hash = entry["sequence"] + 1, bytes(entry["hash"])
    for head in rows(conn, _HEAD, {"tenant": tenant}):
        if (head["sequence"], bytes(head["hash"])) != (expected - 1, prev_hash):
            yield f"ledger head {head['sequence']}: the journal ends at {expected - 1}"


def _postings(name: str, entry: Row, postings: list[Row]) -> Iterator[str]:
    content = [(row["account"], row["currency"], row["amount_minor"]) for row in postings]
    if entry_hash(entry, content) != bytes(entry["hash"]):
        yield f"{name}: its hash does not fit what it says"
    for currency in sorted({row["currency"] for row in postings}):
        total = sum(row["amount_minor"] for row in postings if row["currency"] == currency)
        if total:
            yield f"{name}: its postings sum to {total} minor units of {currency}"
    signs = TEMPLATES.get(entry["template"], {})
    for row in postings:
        if row["amount_minor"] * signs.get(row["account"].split(":")[0], 0) <= 0:
            yield f"{name}: {entry['template']} cannot post {row['amount_minor']} to {row['account']}"


def _statements(conn: Connection, tenant: str) -> Iterator[str]:
    """Every statement against its document, its lines, its entry and its events."""
    for row in rows(conn, _STATEMENTS, {"tenant": tenant}):
        name = f"statement {row['number']}"
        if statement_record.digest(row["document"]) != row["document_sha256"]:
            yield f"{name}: its document was changed"
            continue
        issued = statement_record.from_text(row["document"], row["statement_id"])
        totals = (issued.subtotal.amount_minor, issued.tax.amount_minor, issued.total.amount_minor)
        if totals != (row["subtotal_minor"], row["tax_minor"], row["total_minor"]):
            yield f"{name}: its totals differ from its document"
        values = {"tenant": tenant, "statement_id": row["statement_id"]}
        stored = [(r["line_key"], r["amount_minor"], r["tax_minor"]) for r in rows(conn, _LINES, values)]
        written = [(x.rated.key, x.rated.amount.amount_minor, x.tax.amount_minor) for x in issued.lines]
        if stored != written:
            yield f"{name}: its lines differ from its document"
        if row["receivable_minor"] != row["total_minor"]:
            yield f"{name}: totals {row['total_minor']}, the journal has {row['receivable_minor']}"
    for row in rows(conn, _UNCHARGED, {"tenant": tenant}):
        yield f"usage event {row['ingest_sequence']}: billable by the cutoff of {row['number']}, not on it"


def _numbers(conn: Connection, tenant: str) -> Iterator[str]:
    """Statement numbers of each seller: 1, 2, 3 … up to the counter."""
    for row in rows(conn, _NUMBERS, {"tenant": tenant}):
        if not row["statement_count"] == row["highest"] == row["last_number"]:
            yield (
                f"statement numbers of {row['seller_id']}: counted to {row['last_number']}, "
                f"the highest is {row['highest']}, there are {row['statement_count']}"
            )


def _events(conn: Connection, tenant: str) -> Iterator[str]:
    """Every event's payload and its decision; one billable decision per contract and case."""
    with conn.cursor(name="radmeter_check_events", row_factory=psycopg.rows.dict_row) as cursor:
        for row in cursor.execute(_EVENTS, {"tenant": tenant}):
            name = f"usage event {row['ingest_sequence']}"
            if not row["decision_count"]:
                yield f"{name}: nothing was decided about it"
            try:
                payload_hash = event_of(row).payload_hash
            except BillingError as error:
                yield f"{name}: {error}"
                continue
            if payload_hash != bytes(row["payload_hash"]):
                yield f"{name}: it was changed after it was recorded"
    for row in rows(conn, _CASES, {"tenant": tenant}):
        yield f"case {row['case_key']} of contract {row['contract_id']}: {row['decision_count']} billable decisions"
    for row in rows(conn, _WRONG_KIND, {"tenant": tenant}):
        yield f"usage event {row['ingest_sequence']}: {row['kind']} is decided billable"


_ENTRIES = "SELECT * FROM billing.journal_entry WHERE tenant = %(tenant)s ORDER BY sequence"
_HEAD = "SELECT sequence, hash FROM billing.ledger_head WHERE tenant = %(tenant)s"
_STATEMENTS = """
SELECT s.*, coalesce((
    SELECT sum(p.amount_minor) FROM billing.journal_entry e
    JOIN billing.posting p ON p.tenant = e.tenant AND p.entry_sequence = e.sequence
    WHERE e.tenant = s.tenant AND e.reference = s.number AND p.account LIKE 'receivable:%%'
), 0) AS receivable_minor
FROM billing.statement s WHERE s.tenant = %(tenant)s ORDER BY s.statement_id
"""
_LINES = """
SELECT line_key, amount_minor, tax_minor FROM billing.statement_line
WHERE tenant = %(tenant)s AND statement_id = %(statement_id)s ORDER BY line_number
"""
_UNCHARGED = """
SELECT d.ingest_sequence, s.number FROM billing.period p
JOIN billing.statement s ON s.tenant = p.tenant AND s.contract_id = p.contract_id AND s.period_start = p.starts_on
JOIN billing.event_decision d ON d.tenant = p.tenant AND d.contract_id = p.contract_id
    AND d.outcome = 'billable' AND d.decision_sequence <= p.cutoff_sequence
JOIN billing.usage_event e ON e.tenant = d.tenant AND e.ingest_sequence = d.ingest_sequence
    AND e.occurred_at >= p.starts_at AND e.occurred_at < p.ends_at
WHERE p.tenant = %(tenant)s AND NOT EXISTS (
    SELECT 1 FROM billing.statement_event x
    WHERE x.tenant = d.tenant AND x.ingest_sequence = d.ingest_sequence
)
ORDER BY d.ingest_sequence
"""
_NUMBERS = """
SELECT c.seller_id, c.last_number, count(s.*) AS statement_count, coalesce(max(s.sequence_number), 0) AS highest
FROM billing.statement_counter c LEFT JOIN billing.statement s USING (tenant, seller_id)
WHERE c.tenant = %(tenant)s GROUP BY c.seller_id, c.last_number ORDER BY c.seller_id
"""
_EVENTS = """
SELECT e.*, (
    SELECT count(*) FROM billing.event_decision d
    WHERE d.tenant = e.tenant AND d.ingest_sequence = e.ingest_sequence
) AS decision_count
FROM billing.usage_event e WHERE e.tenant = %(tenant)s ORDER BY e.ingest_sequence
"""
_CASES = """
SELECT contract_id, case_key, count(*) AS decision_count FROM billing.event_decision
WHERE tenant = %(tenant)s AND outcome = 'billable'
GROUP BY contract_id, case_key HAVING count(*) > 1 ORDER BY contract_id, case_key
"""
_WRONG_KIND = """
SELECT ingest_sequence, kind FROM billing.event_decision
WHERE tenant = %(tenant)s AND outcome = 'billable' AND kind <> 'result_delivered' ORDER BY ingest_sequence
"""
