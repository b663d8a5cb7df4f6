"""Prints a paper: HTML for a page, HTML and PDF for A4, CSV and XLSX for spreadsheets."""

from __future__ import annotations

import base64
import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

import jinja2

from billing.errors import PdfNotRendered
from billing.statements.paper import Cell, Paper, Table, is_shortened, shortened
from billing.statements.statement_text import safe_cell

_PACKAGE = Path(__file__).resolve().parents[1]
_PDF_TIMEOUT_S = 120
BYTE_ORDER_MARK = "\ufeff"


def to_html(paper: Paper) -> str:
    """Its body as an HTML fragment, to stand in a page."""
    return _template("paper_body.html").render(paper=shortened(paper))


def to_print_html(paper: Paper) -> str:
    """The same body as a whole document for paper (A4)."""
    css = (_PACKAGE / "templates/paper_print.css").read_text(encoding="utf-8")
    return _template("paper_print.html").render(paper=shortened(paper), css=css)


def paper_to_pdf(paper: Paper) -> bytes:
    """The paper on A4 pages; rows that are too many to print ride along in a CSV file."""
    name = f"{paper.number or paper.title}.csv".replace("/", "-")
    return to_pdf(to_print_html(paper), {name: to_csv(paper)} if is_shortened(paper) else None)


def to_pdf(print_html: str, attachments: Mapping[str, bytes] | None = None) -> bytes:
    """A document of `to_print_html` on A4 pages, with files in it: content by name.

    WeasyPrint needs hundreds of MiB, so a process of its own renders and ends.
    """
    files = [
        {"name": name, "content": base64.b64encode(content).decode()}
        for name, content in (attachments or {}).items()
    ]
    command = [sys.executable, "-m", "billing.statements.paper_pdf"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps({"html": print_html, "attachments": files}).encode(),
            capture_output=True,
            timeout=_PDF_TIMEOUT_S,
            cwd=_PACKAGE.parent,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PdfNotRendered(f"no PDF after {_PDF_TIMEOUT_S} s") from error
    if done.returncode != 0 or not done.stdout.startswith(b"%PDF-"):
        last_line = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise PdfNotRendered(f"the PDF process ended with {done.returncode}: {last_line[:300]}")
    return done.stdout


def to_text(paper: Paper) -> str:
    """For a terminal, 78 columns in English: the first text and the last number of each row."""
    write = [f"{paper.title} {paper.number or paper.words['draft']}"]
    write += [f"{role}: {party.name}" for role, party in paper.parties]
    write += [f"{fact.label}: {fact.text}" for fact in paper.facts]
    write += ["", *paper.notices]
    for table in tables(paper):
        write += _text_rows(table)
    for section in paper.sections:
        write += [f"{section.heading}: {' '.join([*section.paragraphs, *section.lines])}".rstrip(": ")]
    return "\n".join([*write, *paper.foot]) + "\n"


def to_csv(paper: Paper) -> bytes:
    """The main table with its totals, each table after it under a heading of its own."""
    rows: list[Sequence[Cell | str]] = []
    for table in tables(paper):
        if rows:
            rows.append(())
        rows.append([column.key for column in table.columns])
        rows += table.rows
        for total in table.totals:
            blank = [""] * max(0, len(table.columns) - 3)
            rows.append([total.kind, total.label, *blank, Cell(value=total.amount.amount)])
    return write_csv(rows)


def write_csv(rows: Iterable[Sequence[Cell | str]]) -> bytes:
    """Every cell quoted, text guarded against formulas, numbers plain; UTF-8 with the mark that Excel needs."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    for row in rows:
        writer.writerow([_csv_text(cell) for cell in row])
    return (BYTE_ORDER_MARK + buffer.getvalue()).encode()


def tables(paper: Paper) -> list[Table]:
    """The main table, then those of the sections."""
    return [paper.table, *(section.table for section in paper.sections if section.table)]


def _text_rows(table: Table) -> list[str]:
    label = next(index for index in table.printed if not table.columns[index].is_number)
    last = table.printed[-1]
    write = []
    for cells in table.rows:
        write.append(f"{cells[label].text:<62}{cells[last].text:>16}")
        write += [f"   {note}" for note in cells[label].notes]
    write += [f"{total.label:<62}{total.amount!s:>16}" for total in table.totals]
    return [*(write or [table.empty]), ""]


def _csv_text(cell: Cell | str) -> str:
    if isinstance(cell, Cell) and isinstance(cell.value, Decimal):
        return f"{cell.value:f}"
    if isinstance(cell, Cell) and isinstance(cell.value, date):
        return cell.value.isoformat()
    return safe_cell(cell if isinstance(cell, str) else cell.full_text)


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
