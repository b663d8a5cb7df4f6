"""Fiscal documents as CSV: requests out to the tax system, its numbers in. Bounded, all or nothing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import psycopg

from billing.claims import fiscal
from billing.claims.fiscal import FiscalDocument
from billing.contracts import store
from billing.statements.document_errors import FiscalFileRefused
from billing.statements.statement_text import percent, safe_cell

Connection = psycopg.Connection[Any]

EXPORT_COLUMNS = (
    "request", "action", "seller_tax_id", "buyer_name", "buyer_tax_id", "documents", "tax", "amount", "tax_amount",
    "total", "currency", "original_number",
)  # fmt: skip
IMPORT_COLUMNS = ("request", "action", "number", "issued_on", "failure")
FILE_LENGTH_MAX = 1024 * 1024
ROW_COUNT_MAX = 10_000
PROBLEM_COUNT_MAX = 20
_NUMBER = re.compile(r"[0-9A-Za-z-]{1,40}")
_TARGETS = {
    ("issue", True): "cleared",
    ("issue", False): "failed",
    ("red", True): "red_issued",
    ("red", False): "cleared",
}
_ACTIONS = {"requested": "issue", "red_requested": "red"}


def export(conn: Connection, tenant: str) -> bytes:
    """Everything that waits for the tax system; the same file again until its numbers came in."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(EXPORT_COLUMNS)
    for document in fiscal.list_fiscal(conn, tenant, tuple(_ACTIONS)):
        writer.writerow(_row(conn, tenant, document))
    return ("\ufeff" + buffer.getvalue()).encode()


def take_in(conn: Connection, tenant: str, data: bytes, *, by: str, now: datetime) -> int:
    """Take over numbers or failures; gives how many documents moved.

    A row that says what is known already changes nothing. Raises `FiscalFileRefused`, and then nothing was
    taken over.
    """
    known = {str(one.fiscal_id): one for one in fiscal.list_fiscal(conn, tenant)}
    owners = {number: (request, action) for request, one in known.items() for action, number in _numbers(one)}
    seen: set[tuple[str, str]] = set()
    moves, problems = [], []
    for line, row in _rows(data):
        problem = _problem(row, known, owners, seen)
        if problem:
            problems.append(f"line {line}: {problem}")
            continue
        seen.add((row["request"], row["action"]))
        if row["number"]:
            owners[row["number"]] = (row["request"], row["action"])
        if not _is_known(row, known[row["request"]]):
            moves.append(row)
    if problems:
        raise FiscalFileRefused(problems[:PROBLEM_COUNT_MAX])
    for row in moves:
        fiscal.move(
            conn,
            tenant,
            int(row["request"]),
            _TARGETS[row["action"], bool(row["number"])],
            by=by,
            now=now,
            number=row["number"] or None,
            on=date.fromisoformat(row["issued_on"]) if row["number"] else None,
            remark=row["failure"],
        )
    return len(moves)


def _row(conn: Connection, tenant: str, document: FiscalDocument) -> Sequence[str]:
    statement = store.get_statement(conn, tenant, document.statement_id)
    taxes = ", ".join(f"{tax.name} {percent(tax.rate)}" for tax in statement.taxes)
    texts = (
        statement.seller.tax_id,
        statement.payer.name,
        statement.payer.tax_id,
        " ".join(document.numbers),
        taxes,
    )
    amounts = (f"{money.amount:f}" for money in (document.amount, document.tax, document.total))
    original = document.number or ""
    return (
        str(document.fiscal_id), _ACTIONS[document.state], *map(safe_cell, texts), *amounts,
        document.amount.currency, original,
    )  # fmt: skip


def _rows(data: bytes) -> list[tuple[int, dict[str, str]]]:
    if len(data) > FILE_LENGTH_MAX:
        raise FiscalFileRefused([f"the file is longer than {FILE_LENGTH_MAX} bytes; split it"])
    try:
        text = data.decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        if tuple(reader.fieldnames or ()) != IMPORT_COLUMNS:
            raise FiscalFileRefused([f"line 1: the columns must be {','.join(IMPORT_COLUMNS)}"])
        rows = [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError:
        raise FiscalFileRefused(["the file is not UTF-8; save it as CSV UTF-8"]) from None
    except csv.Error as error:
        raise FiscalFileRefused([f"not a CSV file: {error}"]) from None
    if len(rows) > ROW_COUNT_MAX:
        raise FiscalFileRefused([f"more than {ROW_COUNT_MAX} rows; split the file"])
    wrong = [
        f"line {line}: needs {len(IMPORT_COLUMNS)} cells"
        for line, row in rows
        if None in row or None in row.values()
    ]
    if wrong:
        raise FiscalFileRefused(wrong[:PROBLEM_COUNT_MAX])
    return [(line, {name: cell.strip() for name, cell in row.items()}) for line, row in rows]


def _problem(
    row: dict[str, str],
    known: dict[str, FiscalDocument],
    owners: dict[str, tuple[str, str]],
    seen: set[tuple[str, str]],
) -> str:
    """What is wrong with one row; empty when it is in order.

    owners: which request and action a number belongs to. seen: requests and actions of the rows above.
    """
    document = known.get(row["request"])
    if document is None:
        return f"no fiscal document {row['request'][:20]!r} was requested here"
    if row["action"] not in _ACTIONS.values():
        return "`action` must be issue or red"
    if (row["request"], row["action"]) in seen:
        return f"request {document.fiscal_id} comes twice"
    if bool(row["number"]) == bool(row["failure"]):
        return "give `number` where it was issued, `failure` where it was not"
    if len(row["failure"]) > fiscal.REMARK_LENGTH_MAX:
        return f"`failure` is longer than {fiscal.REMARK_LENGTH_MAX} characters"
    if row["number"] and not _NUMBER.fullmatch(row["number"]):
        return "`number` needs 1 to 40 digits, letters and -"
    if row["number"] and not _is_day(row["issued_on"]):
        return "`issued_on` needs a date like 2026-01-31"
    if owners.get(row["number"], (row["request"], row["action"])) != (row["request"], row["action"]):
        return f"number {row['number']} belongs to another document"
    if not _is_known(row, document) and _ACTIONS.get(document.state) != row["action"]:
        return f"request {document.fiscal_id} is {document.state}; it does not wait for this"
    return ""


def _is_known(row: dict[str, str], document: FiscalDocument) -> bool:
    """Whether the row says again what was taken over before."""
    is_issue = row["action"] == "issue"
    if row["number"]:
        on = document.issued_on if is_issue else document.red_on
        return (row["action"], row["number"]) in _numbers(document) and str(on) == row["issued_on"]
    return document.remark == row["failure"] and document.state == _TARGETS[row["action"], False]


def _numbers(document: FiscalDocument) -> list[tuple[str, str]]:
    """(action, number) of what the tax system gave."""
    given = (("issue", document.number), ("red", document.red_number))
    return [(action, number) for action, number in given if number]


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
