"""A paper as an XLSX workbook: text that no program takes for a formula, amounts as numbers with their decimals.

The first sheet is the document in words, each table has a sheet of its own. The same paper gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

from billing.statements.paper import Cell, Column, Paper, Table
from billing.statements.paper_print import tables

SHEET_ROWS_MAX = 1_000_000
"""A sheet holds 1,048,576 rows; a longer table goes on in a further sheet."""
TEXT_LENGTH_MAX = 32_767
DIGITS_MAX = 15
"""Spreadsheets count in binary floating point, exact up to so many digits; a longer number is written as text."""
_OPTIONS = {
    "in_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
_WIDTH_MAX = 60


def to_xlsx(paper: Paper, made_at: datetime | None) -> bytes:
    """made_at: the workbook's own date; that of the document, so that it does not change."""
    buffer = io.BytesIO()
    workbook = xlsxwriter.Workbook(buffer, _OPTIONS)
    title = f"{paper.title} {paper.number or paper.words['draft']}"
    made = (made_at or datetime(1980, 1, 1, tzinfo=UTC)).astimezone(UTC).replace(tzinfo=None)
    workbook.set_properties({"title": title, "author": paper.parties[0][1].name, "created": made})
    styles = _Styles(workbook)
    _write_words(workbook.add_worksheet(paper.title[:31]), paper, styles)
    for position, table in enumerate(tables(paper), start=1):
        for start in range(0, max(1, len(table.rows)), SHEET_ROWS_MAX):
            part = table.rows[start : start + SHEET_ROWS_MAX]
            is_last = start + SHEET_ROWS_MAX >= len(table.rows)
            name = f"{position}{'+' * (start // SHEET_ROWS_MAX)} {table.name or paper.title}"[:31]
            _write_table(workbook.add_worksheet(name), table, part, styles, with_totals=is_last)
    workbook.close()
    return buffer.getvalue()


class _Styles:
    """The formats of a workbook, each made once."""

    def __init__(self, workbook: Workbook) -> None:
        self._workbook = workbook
        self._known: dict[tuple[str, bool], Format] = {}

    def text(self, *, is_bold: bool = False) -> Format:
        # The quote prefix keeps text as text also when somebody edits the cell.
        return self._format("", is_bold, {"quote_prefix": True, "text_wrap": True, "valign": "top"})

    def number(self, value: Decimal, *, is_bold: bool = False) -> Format:
        places = max(0, -int(value.as_tuple().exponent))
        pattern = "#,##0" + ("." + "0" * places if places else "")
        return self._format(pattern, is_bold, {"num_format": pattern, "valign": "top"})

    def day(self) -> Format:
        return self._format("yyyy-mm-dd", False, {"num_format": "yyyy-mm-dd", "valign": "top"})

    def _format(self, name: str, is_bold: bool, properties: dict[str, object]) -> Format:
        key = (name, is_bold)
        if key not in self._known:
            self._known[key] = self._workbook.add_format({**properties, "bold": is_bold})
        return self._known[key]


def _write_words(sheet: Worksheet, paper: Paper, styles: _Styles) -> None:
    sheet.set_column(0, 0, 28)
    sheet.set_column(1, 1, _WIDTH_MAX)
    headline = f"{paper.headline.label} ({paper.currency})"
    rows: list[tuple[str, Cell | str]] = [
        (paper.title, paper.number or f"{paper.words['draft']} {paper.draft_note}")
    ]
    rows.append((headline, Cell(value=paper.headline.amount.amount)))
    for role, party in paper.parties:
        tax_id = [f"{paper.words['tax_id']} {party.tax_id}"] if party.tax_id else []
        rows.append((role, "\n".join([party.name, *party.address, *tax_id])))
    rows += [(fact.label, f"{fact.text} ({fact.note})" if fact.note else fact.text) for fact in paper.facts]
    for section in paper.sections:
        rows.append((section.heading, "\n".join([*section.paragraphs, *section.lines])))
    rows += [("", text) for text in paper.foot]
    for index, (label, content) in enumerate(rows):
        _write_cell(sheet, index, 0, label, styles, is_bold=True)
        _write_cell(sheet, index, 1, content, styles)


def _write_table(
    sheet: Worksheet, table: Table, rows: Sequence[tuple[Cell, ...]], styles: _Styles, *, with_totals: bool
) -> None:
    sheet.freeze_panes(1, 0)
    for index, column in enumerate(table.columns):
        _write_cell(sheet, 0, index, column.title, styles, is_bold=True)
        sheet.set_column(index, index, _width(column, index, rows))
    for number, cells in enumerate(rows, start=1):
        for index, cell in enumerate(cells):
            _write_cell(sheet, number, index, cell, styles)
    last = len(table.columns) - 1
    for number, total in enumerate(table.totals if with_totals else (), start=len(rows) + 1):
        _write_cell(sheet, number, max(0, last - 1), total.label, styles, is_bold=True)
        _write_cell(sheet, number, last, Cell(value=total.amount.amount), styles, is_bold=True)


def _write_cell(
    sheet: Worksheet, row: int, index: int, cell: Cell | str, styles: _Styles, *, is_bold: bool = False
) -> None:
    value = cell.value if isinstance(cell, Cell) else None
    if isinstance(value, date):
        sheet.write_datetime(row, index, value, styles.day())
    elif isinstance(value, Decimal) and len(value.normalize().as_tuple().digits) <= DIGITS_MAX:
        sheet.write_number(row, index, value, styles.number(value, is_bold=is_bold))
    else:
        text = (
            f"{value:f}" if isinstance(value, Decimal) else cell if isinstance(cell, str) else cell.full_text
        )
        sheet.write_string(row, index, text[:TEXT_LENGTH_MAX], styles.text(is_bold=is_bold))


def _width(column: Column, index: int, rows: Sequence[tuple[Cell, ...]]) -> int:
    longest = max((len(cells[index].full_text) for cells in rows[:200]), default=0)
    return max(
        10, min(_WIDTH_MAX, longest + 2, 16 if column.is_number else _WIDTH_MAX), len(column.title) + 2
    )
