"""Reads a tenant's books row by row and names every row that breaks an invariant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from billing.books import control_accounts
from billing.books.ledger import GENESIS, entry_hash, is_allowed
from billing.cash.payment_errors import RequestNotAllowed
from billing.errors import BillingError
from billing.guarding import safety, wallet_books
from billing.metering.meter import event_of
from billing.queries import Row, rows
from billing.rails import rail_operation
from billing.rating import rated_again
from billing.rating.rate import RATING_VERSION, digest_lines
from billing.splits import check as split_check
from billing.statements import statement_record

Connection = psycopg.Connection[Any]
_BATCH = 10_000


CHECKS = (
    "check_unbalanced_entries",
    "check_postings_without_entry",
    "check_closed_months",
    "check_two_people",
    "check_events_decided",
    "check_events_decided_once",
    "check_decisions_refer",
    "check_charged_events_were_billable",
    "check_credits_within_lines",
    "check_credit_note_sums",
    "check_credit_note_numbers",
    "check_payments_allocated",
    "check_statements_paid",
    "check_receivables_booked",
    "check_intent_before_call",
    "check_rail_operation_kept",
    "check_deferrals",
    "check_documents",
    "check_identifiers",
)
"""Queries whose rows are problems; see `sql/checks.sql`."""


def find_problems(conn: Connection, tenant: str) -> list[str]:
    """One sentence per broken invariant; empty when the books are sound."""
    checks = (
        _entries, _statements, _numbers, _events, _rail_requests, _queries, wallet_books.find_problems,
        control_accounts.find_problems, split_check.find_problems, rated_again.find_problems, safety.find_problems,
    )  # fmt: skip
    return [problem for check in checks for problem in check(conn, tenant)]


def _queries(conn: Connection, tenant: str) -> Iterator[str]:
    for name in CHECKS:
        for row in rows(conn, name, {"tenant": tenant}):
            yield row["problem"]


def _entries(conn: Connection, tenant: str) -> Iterator[str]:
    """Chain and templates of every journal entry, and the chain's end."""
    expected, prev_hash = 1, GENESIS
    while page := rows(conn, "journal_entries", {"tenant": tenant, "after": expected - 1, "limit": _BATCH}):
        for entry in page:
            name = f"journal entry {entry['sequence']}"
            if entry["sequence"] != expected:
                yield f"{name} follows {expected - 1}: entries are missing"
            if bytes(entry["prev_hash"]) != prev_hash:
                yield f"{name} does not continue the chain"
            yield from _postings(name, entry)
            expected, prev_hash = entry["sequence"] + 1, bytes(entry["hash"])
    for head in rows(conn, "ledger_head", {"tenant": tenant}):
        if (head["sequence"], bytes(head["hash"])) != (expected - 1, prev_hash):
            yield f"ledger head {head['sequence']}: the journal ends at {expected - 1}"


def _postings(name: str, entry: Row) -> Iterator[str]:
    postings = list(zip(entry["accounts"], entry["currencies"], entry["amounts"], strict=True))
    if entry_hash(entry, postings) != bytes(entry["hash"]):
        yield f"{name}: its hash does not fit what it says"
    for account, _, amount_minor in postings:
        if not is_allowed(entry["template"], account, amount_minor):
            yield f"{name}: {entry['template']} cannot post {amount_minor} to {account}"


def _statements(conn: Connection, tenant: str) -> Iterator[str]:
    """Every statement against its document, its lines, its entry and its events."""
    for row in rows(conn, "statements_with_receivable", {"tenant": tenant}):
        name = f"statement {row['number']}"
        if statement_record.digest(row["document"]) != row["document_sha256"]:
            yield f"{name}: its document was changed"
            continue
        issued = statement_record.from_text(row["document"], row["statement_id"])
        totals = (issued.subtotal.amount_minor, issued.tax.amount_minor, issued.total.amount_minor)
        if totals != (row["subtotal_minor"], row["tax_minor"], row["total_minor"]):
            yield f"{name}: its totals differ from its document"
        values = {"tenant": tenant, "statement_id": row["statement_id"]}
        stored = [
            (r["line_key"], r["amount_minor"], r["tax_minor"])
            for r in rows(conn, "lines_of_statement", values)
        ]
        written = [(x.rated.key, x.rated.amount.amount_minor, x.tax.amount_minor) for x in issued.lines]
        if stored != written:
            yield f"{name}: its lines differ from its document"
        rated = digest_lines(line.rated for line in issued.lines)
        if row["rating_version"] == RATING_VERSION and rated != row["output_digest"]:
            yield f"{name}: its lines do not give the digest of its rating"
        if row["receivable_minor"] != row["total_minor"]:
            yield f"{name}: totals {row['total_minor']}, the journal has {row['receivable_minor']}"
    yield from _parts(conn, tenant)
    for row in rows(conn, "billable_but_not_on_statement", {"tenant": tenant}):
        yield f"usage event {row['ingest_sequence']}: billable by the cutoff of {row['number']}, not on it"


def _parts(conn: Connection, tenant: str) -> Iterator[str]:
    """Payers sum to what they share, sites to their statement's line."""
    for row in rows(conn, "lines_shared_unequally", {"tenant": tenant}):
        name = f"line {row['line_key']} of contract {row['contract_id']}, {row['service_start']}"
        yield f"{name}: came to {row['amount_minor']}, its payers' statements have {row['stated_minor']}"
    for row in rows(conn, "lines_sited_unequally", {"tenant": tenant}):
        name = f"statement {row['number']}, line {row['line_number']}"
        yield f"{name}: its sites sum to {row['sited_minor']} and tax {row['sited_tax_minor']}"


def _numbers(conn: Connection, tenant: str) -> Iterator[str]:
    """Statement numbers of each seller: 1, 2, 3 … up to the counter."""
    for row in rows(conn, "statement_numbers", {"tenant": tenant}):
        if not row["statement_count"] == row["highest"] == row["last_number"]:
            yield (
                f"statement numbers of {row['seller_id']}: counted to {row['last_number']}, "
                f"the highest is {row['highest']}, there are {row['statement_count']}"
            )


def _events(conn: Connection, tenant: str) -> Iterator[str]:
    """Every event's payload and its decision; one billable decision per contract and case."""
    after = 0
    while batch := rows(conn, "events_page", {"tenant": tenant, "after": after, "limit": _BATCH}):
        for row in batch:
            yield from _event(row)
        after = batch[-1]["ingest_sequence"]
    for row in rows(conn, "cases_charged_twice", {"tenant": tenant}):
        case = f"case {row['case_key']} of contract {row['contract_id']}"
        yield f"{case}: {row['decision_count']} billable decisions"
    for row in rows(conn, "claims_unlike_decisions", {"tenant": tenant}):
        case = f"case {row['case_key']} of contract {row['contract_id']}"
        yield f"{case}: held by event {row['holder']}, charged for event {row['charged']}"
    for row in rows(conn, "taken_off_but_charged", {"tenant": tenant}):
        yield f"usage event {row['ingest_sequence']}: taken off by {row['number']}, and not void"
    for row in rows(conn, "billable_but_not_delivered", {"tenant": tenant}):
        yield f"usage event {row['ingest_sequence']}: {row['kind']} is decided billable"


def _event(row: Row) -> Iterator[str]:
    name = f"usage event {row['ingest_sequence']}"
    try:
        event = event_of(row)
    except BillingError as error:  # what recording refuses: a UID, a field that is not on the list
        yield f"{name}: it could not be recorded: {error}"
        return
    if event.payload_hash != bytes(row["payload_hash"]):
        yield f"{name}: it was changed after it was recorded"


def _rail_requests(conn: Connection, tenant: str) -> Iterator[str]:
    """What every rail was or will be told, against the list of what a rail may see."""
    for row in rows(conn, "requests_of_rails", {"tenant": tenant}):
        try:
            rail_operation.require_allowed(row["request"])
        except RequestNotAllowed as error:
            yield f"rail operation {row['operation_id']}: {error}"
