"""The rows of an issued statement: its period, lines, sites and events first, its header last, which seals them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import psycopg

from billing.contracts import store
from billing.queries import execute, execute_many
from billing.rating.rate import RATING_VERSION, RatedLine
from billing.statements import statement_record
from billing.statements.statement_record import Statement, StatementLine

Connection = psycopg.Connection[Any]


def close_period(conn: Connection, statement: Statement, now: datetime) -> None:
    """The period counts as billed, whatever number of payers' statements it has."""
    values = {
        **_period_values(statement),
        "ends_on": statement.period.ends_on,
        "full_days": statement.period.full_days,
        "closed_at": now,
    }
    execute(conn, "insert_period", values)


def store_lines(conn: Connection, statement: Statement) -> None:
    """The lines, and each site's part of them."""
    key = _key(statement)
    execute_many(conn, "insert_line", [{**key, **_line_columns(line)} for line in statement.lines])
    parts = [(line.number, part) for line in statement.lines for part in line.sites]
    if parts:
        columns = {
            "numbers": [number for number, _ in parts],
            "sites": [part.site for _, part in parts],
            "departments": [part.department for _, part in parts],
            "quantities": [part.quantity for _, part in parts],
            "amounts": [part.amount.amount_minor for _, part in parts],
            "taxes": [part.tax.amount_minor for _, part in parts],
        }
        execute(conn, "insert_site_parts", {**key, **columns})


def store_events(conn: Connection, statement: Statement) -> None:
    """Which events the period's statements charged, and which voided ones they took off again."""
    values = {**_period_values(statement), **_key(statement)}
    execute(conn, "insert_events", values)
    execute(conn, "insert_late_events", values)
    execute(conn, "insert_voids", values)


def store_header(conn: Connection, statement: Statement) -> None:
    """The header, whose trigger checks the sums and after which nothing can be added."""
    text = statement_record.to_text(statement)
    document = {"document": text, "document_sha256": statement_record.digest(text)}
    execute(conn, "insert_statement", {**_key(statement), **_header_columns(statement), **document})


def store_shared_lines(conn: Connection, statements: Sequence[Statement], lines: Sequence[RatedLine]) -> None:
    """What the lines came to before several payers shared them; a trigger checks that the parts sum to it."""
    if len(statements) < 2:
        return
    amounts: dict[tuple[str, date], int] = defaultdict(int)
    for statement in statements:
        for line in statement.lines:
            amounts[line.rated.key, line.rated.service_start] += 0
    for rated in lines:
        amounts[rated.key, rated.service_start] += rated.amount.amount_minor
    first = statements[0]
    values = {
        "tenant": first.tenant,
        "contract_id": first.contract_id,
        "period_start": first.period.starts_on,
        "keys": [key for key, _ in amounts],
        "starts": [start for _, start in amounts],
        "amounts": list(amounts.values()),
    }
    execute(conn, "insert_shared_lines", values)


def _key(statement: Statement) -> dict[str, object]:
    return {"tenant": statement.tenant, "statement_id": statement.statement_id}


def _period_values(statement: Statement) -> dict[str, object]:
    return store.period_values(
        statement.tenant, statement.contract_id, statement.period, statement.cutoff_sequence
    )


def _header_columns(statement: Statement) -> dict[str, object]:
    assert statement.number is not None
    return {
        "seller_id": statement.seller.id,
        "payer_id": statement.payer.id,
        "sequence_number": int(statement.number.rsplit("-", 1)[1]),
        "number": statement.number,
        "contract_id": statement.contract_id,
        "contract_version": statement.contract_version,
        "period_start": statement.period.starts_on,
        "currency": statement.currency,
        "line_count": len(statement.lines),
        "subtotal_minor": statement.subtotal.amount_minor,
        "tax_minor": statement.tax.amount_minor,
        "total_minor": statement.total.amount_minor,
        "cutoff_sequence": statement.cutoff_sequence,
        "inputs_digest": statement.inputs_digest,
        "output_digest": statement.output_digest,
        "rating_version": RATING_VERSION,
        "issued_at": statement.issued_at,
        "due_on": statement.due_on,
    }


def _line_columns(line: StatementLine) -> dict[str, object]:
    rated = line.rated
    return {
        "line_number": line.number,
        "line_key": rated.key,
        "kind": rated.kind,
        "product": rated.product,
        "service_start": rated.service_start,
        "service_end": rated.service_end,
        "quantity": rated.quantity,
        "exact_amount": str(rated.exact),
        "amount_minor": rated.amount.amount_minor,
        "tax_minor": line.tax.amount_minor,
    }
