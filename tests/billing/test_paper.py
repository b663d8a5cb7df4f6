"""Papers: a spreadsheet counts with their numbers and runs none of their text; long ones stay printable."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import openpyxl
import pypdf
import pytest

from billing.contracts.party_terms import Party
from billing.money import Money
from billing.statements import paper_print, paper_xlsx, statement_document
from billing.statements.paper import Cell, Column, Paper, Table, Total
from billing.statements.statement_paper import StatementContext, statement_paper
from billing.statements.statement_record import Statement
from tests.billing.test_statement_document import issued, make_statement

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/contract_per_case.yaml"
MADE = datetime(2027, 1, 2, tzinfo=UTC)


@pytest.fixture
def statement() -> Statement:
    """128 cases of 100.00 and 6 % tax."""
    return issued(make_statement(EXAMPLE.read_text(), "128"))


def many(statement: Statement, count: int, titles: int) -> Statement:
    [line] = statement.lines
    named = [
        replace(line.rated, title={"en": f"Item {n % titles}", "zh": f"项目 {n % titles}"})
        for n in range(count)
    ]
    lines = tuple(replace(line, number=n, rated=rated) for n, rated in enumerate(named, start=1))
    return statement.evolve(lines=lines)


def a_paper(rows: tuple[tuple[Cell, ...], ...], currency: str = "CNY") -> Paper:
    columns = (Column("text", "Text"), Column("amount", "Amount", is_number=True))
    total = Total("total", "Total", Money(0, currency))
    seller = Party("s", "Seller")
    return Paper(
        "en", "Paper", "P-1", total, (("From", seller),), (), Table(columns, rows, (total,)), (), ("Foot",)
    )


def workbook(data: bytes) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(data))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_workbook_holds_every_line_with_numbers_as_numbers(statement: Statement, language: str) -> None:
    book = workbook(statement_document.render_xlsx(many(statement, 1200, 3), language))
    sheet = book.worksheets[1]
    assert sheet.max_row == 1 + 1200 + 3
    amount = sheet.cell(2, 10)
    assert (amount.value, amount.data_type, amount.number_format) == (12800, "n", "#,##0.00")
    assert sheet.cell(2, 5).value == datetime(2026, 11, 1)  # noqa: DTZ001 - a day of the sheet has no zone
    total = Decimal(1200 * 12800) + Decimal(768)
    assert [sheet.cell(1204, 10).value, book.worksheets[0].cell(2, 2).value] == [total, total]


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@A1", "\t=1", "＝1", '=HYPERLINK("http://x")', "http://x", "{=1}"]
)
def test_text_never_becomes_a_formula_a_link_or_a_number(text: str) -> None:
    sheet = workbook(paper_xlsx.to_xlsx(a_paper(((Cell(text), Cell("007")),)), MADE)).worksheets[1]
    for column, wanted in ((1, text), (2, "007")):
        cell = sheet.cell(2, column)
        assert (cell.value, cell.data_type, cell.hyperlink) == (wanted, "s", None)
        # Also not when somebody edits the cell and leaves it.
        assert cell.quotePrefix


@pytest.mark.parametrize(
    ("minor", "currency", "value", "number_format"),
    [
        (-123456, "CNY", -1234.56, "#,##0.00"),
        (1234, "JPY", 1234, "#,##0"),
        (-1, "KWD", -0.001, "#,##0.000"),
        (0, "CNY", 0, "#,##0.00"),
        (10**15 - 1, "CNY", 9999999999999.99, "#,##0.00"),
    ],
)
def test_amounts_are_numbers_with_the_decimals_of_their_currency(
    minor: int, currency: str, value: float, number_format: str
) -> None:
    money = Money(minor, currency)
    cells = ((Cell("x"), Cell(str(money), money.amount)),)
    cell = workbook(paper_xlsx.to_xlsx(a_paper(cells, currency), MADE)).worksheets[1].cell(2, 2)
    assert (cell.data_type, cell.value, cell.number_format) == ("n", value, number_format)


def test_a_number_beyond_what_spreadsheets_count_exactly_is_text() -> None:
    money = Money(10**16 + 1, "CNY")
    data = paper_xlsx.to_xlsx(a_paper(((Cell("x"), Cell(str(money), money.amount)),)), MADE)
    cell = workbook(data).worksheets[1].cell(2, 2)
    assert (cell.data_type, cell.value) == ("s", "100000000000000.01")


def test_the_same_paper_gives_the_same_workbook(statement: Statement) -> None:
    assert statement_document.render_xlsx(statement) == statement_document.render_xlsx(statement)


def test_a_long_table_goes_on_in_further_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper_xlsx, "SHEET_ROWS_MAX", 10)
    rows = tuple((Cell(f"r{n}"), Cell("", Decimal(n))) for n in range(25))
    sheets = workbook(paper_xlsx.to_xlsx(a_paper(rows), MADE)).worksheets[1:]
    assert [sheet.max_row for sheet in sheets] == [11, 11, 7]


def test_ten_thousand_lines_are_summed_on_paper_and_ride_along_as_a_file(statement: Statement) -> None:
    long = many(statement, 10_000, 7)
    reader = pypdf.PdfReader(io.BytesIO(statement_document.render_pdf(long)))
    assert len(reader.pages) == 2
    text = reader.pages[0].extract_text()
    assert "10000 lines are too many to print" in text
    assert "1429 lines" in text
    [content] = reader.attachments["RM-DEFAULT-000007.csv"]
    assert content == statement_document.render_csv(long)
    assert content.count(b"\r\n") == 1 + 10_000 + 3 + len(long.not_charged)


def test_what_has_too_many_items_even_in_sum_is_cut_and_still_adds_up(statement: Statement) -> None:
    paper = statement_paper(many(statement, 2000, 1500), "en")
    assert len(paper.table.rows) == 500
    assert paper.table.rows[-1][0].text == "Further items"
    amounts = [cells[-1].value for cells in paper.table.rows]
    assert sum(value for value in amounts if isinstance(value, Decimal)) == 2000 * 12800


def test_what_came_after_the_issue_stands_on_page_and_paper_alike(statement: Statement) -> None:
    context = StatementContext(
        open_amount=Money(1356800, "CNY"),
        disputed=Money(10600, "CNY"),
        liability=[("Hospital", Decimal("0.7"))],
    )
    for render in (statement_document.render_html, statement_document.render_print_html):
        html = render(statement, "en", context)
        assert (
            "Open amount: 13,568.00 CNY; In dispute, not payable now: 106.00 CNY; Payable now: 13,462.00 CNY"
            in html
        )
        assert "70%" in html


def test_a_table_of_many_rows_is_cut_on_paper_and_whole_in_its_file() -> None:
    paper = a_paper(tuple((Cell(f"r{n}"), Cell("", Decimal(n))) for n in range(2000)))
    assert "… and 1500 more" in paper_print.to_print_html(paper)
    reader = pypdf.PdfReader(io.BytesIO(paper_print.paper_to_pdf(paper)))
    [content] = reader.attachments["P-1.csv"]
    assert content.count(b"\r\n") == 2002
    assert paper_print.to_csv(paper) == content


def test_a_statement_of_no_lines_has_every_form(statement: Statement) -> None:
    nothing = statement.evolve(lines=(), taxes=(), not_charged={})
    assert "Nothing was charged in this period." in statement_document.render_html(nothing)
    assert workbook(statement_document.render_xlsx(nothing)).worksheets[1].max_row == 3
    assert statement_document.render_pdf(nothing).startswith(b"%PDF-")
    assert len(statement_document.render_csv(nothing).splitlines()) == 3


def test_csv_of_a_paper_has_its_tables_and_totals() -> None:
    text = paper_print.to_csv(
        a_paper(((Cell("=1", notes=("n",)), Cell("1,234.50", Decimal("1234.50"))),))
    ).decode()
    assert text == '\ufeff"text","amount"\r\n"\'=1: n","1234.50"\r\n"total","Total","0.00"\r\n'
