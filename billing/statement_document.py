"""Statement as people and spreadsheets read it: HTML, PDF, CSV and plain text, in English or Chinese."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from billing import explain, statement_text
from billing.errors import PdfNotRendered
from billing.money import Money
from billing.statement_record import Statement, StatementLine
from billing.statement_text import labels, safe_cell
from billing.store import RecordedUsage
from billing.usage import plain

_PACKAGE = Path(__file__).resolve().parent
_PDF_TIMEOUT_S = 120
_BYTE_ORDER_MARK = "\ufeff"


def render_html(statement: Statement, language: str = "en") -> str:
    """The statement's body as an HTML fragment, to stand in a page."""
    return _template("statement_body.html").render(_values(statement, language))


def render_print_html(statement: Statement, language: str = "en") -> str:
    """The same body as a whole document for paper (A4)."""
    return _template("statement_print.html").render(_values(statement, language))


def render_pdf(statement: Statement, language: str = "en") -> bytes:
    """The statement on A4 pages.

    WeasyPrint needs hundreds of MiB, so a process of its own renders and ends.
    """
    command = [sys.executable, "-m", "billing.statement_pdf"]
    html = render_print_html(statement, language).encode()
    try:
        done = subprocess.run(
            command, input=html, capture_output=True, timeout=_PDF_TIMEOUT_S, cwd=_PACKAGE.parent, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PdfNotRendered(f"no PDF after {_PDF_TIMEOUT_S} s") from error
    if done.returncode != 0 or not done.stdout.startswith(b"%PDF-"):
        last_line = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise PdfNotRendered(f"the PDF process ended with {done.returncode}: {last_line[:300]}")
    return done.stdout


def render_csv(statement: Statement, language: str = "en") -> bytes:
    """Lines, taxes and total, then what was not charged: UTF-8 with the byte order mark that Excel needs."""
    words, currency = labels(language), statement.currency
    rows: list[Sequence[str]] = [_CSV_HEADING]
    for line in statement.lines:
        rows.append(_csv_line(statement, line, language))
    for kind, text, amount in _total_rows(statement, words):
        rows.append((kind, "", "", text, "", "", "", "", "", f"{amount.amount:f}", currency))
    for reason, count in statement.not_charged.items():
        text = explain.reason(reason, language)
        rows.append(("not_charged", "", reason, text, "", "", str(count), words["count"], "", "0", currency))
    return _csv(rows)


def render_case_csv(statement: Statement, cases: Iterable[RecordedUsage], language: str = "en") -> bytes:
    """One row for each event behind the statement, charged or not; opaque references, no patient data.

    cases: from `store.usage_of_statement`.
    """
    zone = statement.period.time_zone
    rows: list[Sequence[str]] = [_CASE_HEADING]
    for case in cases:
        event, decision = case.event, case.decision
        rows.append((
            statement_text.local_time(event.occurred_at, zone), event.product, plain(event.quantity),
            event.study_ref, event.case_key, event.source, event.event_id, str(event.kind),
            str(decision.outcome), str(decision.reason_code), explain.reason(decision.reason_code, language),
        ))  # fmt: skip
    return _csv(rows)


def render_text(statement: Statement, language: str = "en") -> str:
    """The statement for a terminal, 78 columns in English."""
    words, write = labels(language), []
    status = statement.number or words["draft"]
    write.append(f"{words['statement']} {status}")
    write.append(f"{words['seller']}: {statement.seller.name}")
    write.append(f"{words['buyer']}: {statement.buyer.name}")
    write.append(f"{words['period']}: {statement_text.period(statement.period, language)}")
    if statement.due_on:
        write.append(f"{words['due_on']}: {statement_text.day(statement.due_on, language)}")
    write.append("")
    for line in statement.lines:
        write.append(_columns(f"{line.number}. {line.rated.title[language]}", str(line.rated.amount)))
        write.append(f"   {_line_note(line, language)}")
    if not statement.lines:
        write.append(words["no_lines"])
    write += ["", *(_columns(text, str(amount)) for _, text, amount in _total_rows(statement, words)), ""]
    for reason, count in statement.not_charged.items():
        write.append(f"{words['not_charged']}: {count} × {explain.reason(reason, language)}")
    write.append(words["not_a_tax_invoice"])
    return "\n".join(write) + "\n"


_CSV_HEADING = (
    "kind", "line", "product", "description", "service_start", "service_last_day", "quantity", "unit",
    "unit_price", "amount", "currency",
)  # fmt: skip
_CASE_HEADING = (
    "occurred_at", "product", "quantity", "study_ref", "case_key", "source", "event_id", "kind", "outcome",
    "reason_code", "reason",
)  # fmt: skip


def _csv_line(statement: Statement, line: StatementLine, language: str) -> Sequence[str]:
    rated = line.rated
    last_day = rated.service_end.fromordinal(rated.service_end.toordinal() - 1)
    price = "" if rated.unit_price is None else f"{rated.unit_price:f}"
    return (
        rated.kind, str(line.number), rated.product, f"{rated.title[language]}: {_explained(line, language)}",
        rated.service_start.isoformat(), last_day.isoformat(), plain(rated.quantity), rated.unit[language],
        price, f"{rated.amount.amount:f}", statement.currency,
    )  # fmt: skip


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    """Every cell quoted, text guarded against formulas; numbers of ours keep their sign."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    for row in rows:
        writer.writerow([cell if _is_number(cell) else safe_cell(cell) for cell in row])
    return (_BYTE_ORDER_MARK + buffer.getvalue()).encode()


def _is_number(cell: str) -> bool:
    digits = cell.removeprefix("-").replace(".", "", 1)
    return digits.isascii() and digits.isdigit()


def _total_rows(statement: Statement, words: dict[str, str]) -> list[tuple[str, str, Money]]:
    """(kind, words, amount) of subtotal, each tax, and total."""
    rows = [("subtotal", words["subtotal"], statement.subtotal)]
    for tax in statement.taxes:
        text = f"{tax.name} {statement_text.percent(tax.rate)} {words['tax_on']} {tax.base}"
        rows.append(("tax", text, tax.tax))
    total = words["total"] if statement.status == "issued" else words["draft_total"]
    rows.append(("total", f"{total} ({statement.currency})", statement.total))
    return rows


def _explained(line: StatementLine, language: str) -> str:
    return explain.line(line.rated.explanation, language)


def _line_note(line: StatementLine, language: str) -> str:
    rated = line.rated
    quantity = (
        f"{labels(language)['quantity']} {statement_text.number(rated.quantity)} ({rated.unit[language]})"
    )
    note = f"{quantity}: {_explained(line, language)}"
    if rated.kind == "correction":
        note += f", {statement_text.days(rated.service_start, rated.service_end, language)}"
    return note


def _columns(text: str, amount: str) -> str:
    return f"{text:<62}{amount:>16}"


def _values(statement: Statement, language: str) -> dict[str, Any]:
    return {
        "statement": statement,
        "words": labels(language),
        "language": language,
        "text": statement_text,
        "explained": lambda line: _explained(line, language),
        "reason": lambda code: explain.reason(code, language),
        "totals": _total_rows(statement, labels(language)),
        "css": (_PACKAGE / "templates/statement_print.css").read_text(encoding="utf-8"),
    }


@cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PACKAGE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
