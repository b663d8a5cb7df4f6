"""Paper: what a document says in one language, whatever it is printed on; page, PDF, CSV and XLSX show the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from billing.contracts.party_terms import Party
from billing.metering.usage import plain
from billing.money import Money
from billing.statements.statement_text import labels, number
from billing.statements.statement_text import unit_price as price_text

ROWS_MAX = 500
"""Longer tables are not printed but handed over as files: rendering takes time and memory for each row."""


@dataclass(frozen=True)
class Column:
    """key: its heading in CSV, the same in every language. is_printed: else only files have it."""

    key: str
    title: str
    is_number: bool = False
    is_printed: bool = True


@dataclass(frozen=True)
class Cell:
    """text: as it is read. value: what a spreadsheet counts with. lead: printed bold before, notes: small below."""

    text: str = ""
    value: Decimal | date | None = None
    lead: str = ""
    notes: tuple[str, ...] = ()

    @property
    def full_text(self) -> str:
        """Lead, text and notes in one line, for a file."""
        head = f"{self.lead} {self.text}" if self.lead else self.text
        return ": ".join([head, "; ".join(self.notes)]) if self.notes else head


@dataclass(frozen=True)
class Total:
    """A sum under a table. kind: subtotal, tax, total or a word of the document's own."""

    kind: str
    label: str
    amount: Money


@dataclass(frozen=True)
class Table:
    """empty: what stands there where it has no rows."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    totals: tuple[Total, ...] = ()
    empty: str = ""
    name: str = ""

    @property
    def printed(self) -> tuple[int, ...]:
        """Positions of the columns that stand on paper."""
        return tuple(index for index, column in enumerate(self.columns) if column.is_printed)


@dataclass(frozen=True)
class Section:
    """What follows the main table under a heading of its own."""

    heading: str
    paragraphs: tuple[str, ...] = ()
    table: Table | None = None
    lines: tuple[str, ...] = ()
    """Short lines that stand as they are, such as a bank account."""


@dataclass(frozen=True)
class Fact:
    label: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class Paper:
    """number: None for a draft, which `draft_note` explains. headline: what it comes to. running: on every page."""

    language: str
    title: str
    number: str | None
    headline: Total
    parties: tuple[tuple[str, Party], ...]
    facts: tuple[Fact, ...]
    table: Table
    sections: tuple[Section, ...]
    foot: tuple[str, ...]
    draft_note: str = ""
    running: str = ""
    notices: tuple[str, ...] = ()

    @property
    def currency(self) -> str:
        return self.headline.amount.currency

    @property
    def words(self) -> dict[str, str]:
        return labels(self.language)


def shortened(paper: Paper) -> Paper:
    """The paper as it is printed: of a table of more than `ROWS_MAX` rows the first ones, and how many follow."""
    sections = tuple(
        replace(section, table=_shortened(section.table, paper)) if section.table else section
        for section in paper.sections
    )
    return replace(paper, table=_shortened(paper.table, paper), sections=sections)


def is_shortened(paper: Paper) -> bool:
    return shortened(paper) != paper


def _shortened(table: Table, paper: Paper) -> Table:
    if len(table.rows) <= ROWS_MAX:
        return table
    label = next(index for index in table.printed if not table.columns[index].is_number)
    told = Cell(paper.words["cut"].format(count=len(table.rows) - ROWS_MAX))
    last = tuple(told if index == label else Cell() for index in range(len(table.columns)))
    return replace(table, rows=(*table.rows[:ROWS_MAX], last))


def money(amount: Money) -> Cell:
    return Cell(str(amount), amount.amount)


def quantity(value: Decimal) -> Cell:
    return Cell(number(value), Decimal(plain(value)))


def price(value: Decimal | None) -> Cell:
    return Cell(price_text(value), value)


def count(value: int) -> Cell:
    return Cell(str(value), Decimal(value))


def day(value: date) -> Cell:
    """ISO, for files; people read days in words."""
    return Cell(value.isoformat(), value)


def row(*cells: Cell | str) -> tuple[Cell, ...]:
    return tuple(Cell(cell) if isinstance(cell, str) else cell for cell in cells)


def last_day(end: date) -> date:
    """The day before an exclusive end."""
    return date.fromordinal(end.toordinal() - 1)


def without_empty(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(text for text in texts if text)
