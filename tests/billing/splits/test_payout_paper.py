"""A payout statement reads the same on a page, on paper, in a spreadsheet and in a terminal, in both languages."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal

import openpyxl
import pypdf
import pytest

from billing.contracts.party_terms import Party
from billing.errors import LanguageUnknown
from billing.money import Money
from billing.period import Period
from billing.splits import payout_paper, payout_record
from billing.splits.payout_record import GuaranteeLine, PayoutLine, PayoutStatement
from billing.splits.payout_text import WORDS


def yuan(minor: int) -> Money:
    return Money(minor, "CNY")


LINE = PayoutLine(
    contract_name="app-2026",
    split="store",
    title={"en": '=HYPERLINK("http://example.test")', "zh": "肺结节检测 <b>"},
    unit={"en": "case", "zh": "例"},
    service_start=date(2026, 11, 1),
    service_end=date(2026, 12, 1),
    quantity=Decimal(1234),
    base=yuan(12_340_000),
    earned=yuan(8_638_000),
    reversed=yuan(70_000),
    released_before=yuan(1_000_000),
    amount=yuan(2_000_000),
)
GUARANTEE = GuaranteeLine(
    "app-2026", "store", date(2026, 11, 1), date(2026, 12, 1), yuan(9_000_000), yuan(8_568_000), yuan(432_000)
)
STATEMENT = PayoutStatement(
    tenant="hospital-a",
    seller=Party("store", "App Store", number_prefix="AS"),
    payee=Party("dev-a", "Developer A", tax_id="91310000EXAMPLE", bank_details=("Bank 1", "6222 0000")),
    currency="CNY",
    period=Period(date(2026, 11, 1), date(2026, 12, 1), "Asia/Shanghai", 30),
    opening=yuan(-100_000),
    lines=(LINE,),
    guarantees=(GUARANTEE,),
    recouped=yuan(-32_000),
    advance_outstanding=yuan(68_000),
    paid=yuan(0),
    pending=yuan(300_000),
    payout_statement_id=5,
    number="AS-HOSPITAL-A-PO-000007",
    issued_at=datetime(2026, 12, 3, tzinfo=UTC),
)


def test_the_totals_lead_from_the_last_balance_to_what_is_paid() -> None:
    assert (str(STATEMENT.closing), str(STATEMENT.to_pay)) == ("23,000.00", "20,000.00")
    told = payout_paper.totals(STATEMENT, WORDS["en"])
    assert [(one.kind, str(one.amount)) for one in told] == [
        ("opening", "-1,000.00"),
        ("shares", "20,000.00"),
        ("guarantee", "4,320.00"),
        ("recouped", "-320.00"),
        ("pending", "-3,000.00"),
        ("total", "20,000.00"),
    ]
    assert sum(one.amount.amount_minor for one in told[:-1]) == told[-1].amount.amount_minor
    negative = STATEMENT.evolve(opening=yuan(-9_000_000), pending=yuan(0))
    assert payout_paper.totals(negative, WORDS["en"])[-2].kind == "carried"
    assert negative.to_pay == yuan(0)


def test_the_stored_text_reads_back_as_it_was() -> None:
    assert payout_record.from_text(payout_record.to_text(STATEMENT), 5) == STATEMENT


def test_both_languages_have_the_same_words() -> None:
    assert WORDS["en"].keys() == WORDS["zh"].keys()
    with pytest.raises(LanguageUnknown):
        payout_paper.payout_paper(STATEMENT, "fr")


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "en",
            ["Payout statement", "To be paid", "20,000.00", "not yet collected from the customer 55,680.00"],
        ),
        ("zh", ["结算单", "应付金额", "20,000.00", "客户尚未付款 55,680.00", "肺结节检测 &lt;b&gt;"]),
    ],
)
def test_the_page_says_who_gets_what_and_why(language: str, expected: list[str]) -> None:
    html = payout_paper.render_html(STATEMENT, language)
    for text in [*expected, "AS-HOSPITAL-A-PO-000007", "91310000EXAMPLE", "6222 0000", "app-2026/store"]:
        assert text in html
    assert "<b>" not in html


def test_the_terminal_shows_lines_of_at_most_78_columns() -> None:
    text = payout_paper.render_text(STATEMENT)
    assert "AS-HOSPITAL-A-PO-000007" in text
    assert max(map(len, text.replace(WORDS["en"]["self_billed"], "").splitlines())) <= 78


def test_no_cell_of_a_spreadsheet_is_a_formula() -> None:
    content = payout_paper.render_csv(STATEMENT).decode("utf-8-sig")
    table = list(csv.reader(io.StringIO(content)))
    first = dict(zip(table[0], table[1], strict=True))
    assert first["description"].startswith("'=HYPERLINK")
    assert (first["quantity"], first["base"], first["waiting"]) == ("1234", "123400.00", "55680.00")
    assert (first["service_start"], first["service_last_day"]) == ("2026-11-01", "2026-11-30")
    book = openpyxl.load_workbook(io.BytesIO(payout_paper.render_xlsx(STATEMENT)))
    cells = [cell for sheet in book for cells in sheet.iter_rows() for cell in cells]
    assert not [cell for cell in cells if cell.data_type == "f"]
    assert 20_000 in {cell.value for cell in cells}


def test_the_pdf_is_the_same_statement() -> None:
    reader = pypdf.PdfReader(io.BytesIO(payout_paper.render_pdf(STATEMENT, "zh")))
    text = "".join(page.extract_text() for page in reader.pages)
    for word in ("结算单", "抵扣预付款", "AS-HOSPITAL-A-PO-000007", "20,000.00", "Developer A"):
        assert word in text
