"""The printed statement: a person can read it, a spreadsheet cannot be tricked by it, nobody is named in it."""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pypdf
import pytest

from billing.contracts import contract
from billing.contracts.store import RecordedUsage
from billing.errors import LanguageUnknown, PdfNotRendered
from billing.metering.decide import Decision, Outcome, Reason
from billing.metering.usage import UsageEvent
from billing.metering.usage_totals import UsageGroup, UsageTotals
from billing.rating import correct, explain, rate, tax
from billing.rating.aggregate import Billed
from billing.statements import paper_print, statement_document, statement_record
from billing.statements.statement_record import Statement, StatementLine
from billing.statements.statement_text import LABELS, safe_cell

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
NOVEMBER, OCTOBER = datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 10, 20, tzinfo=UTC)
FORMULAS = [
    "=1+1",
    "+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    "＝1",
    "＋1",
    "－1",
    "＠A",
    "|cmd",
    "%0A",
]


def make_statement(text: str, quantity: str, *, late: bool = False) -> Statement:
    terms = contract.load(text)
    period, earlier = terms.period_of(NOVEMBER), terms.period_of(OCTOBER)
    assert period is not None
    assert earlier is not None
    lines = list(rate.rate(terms, period, _totals(quantity)).lines)
    if late:
        again = rate.rate(terms, earlier, _totals("43")).lines
        lines += correct.correct(terms, earlier, again, {"lung_nodule_ct/units": Billed(Decimal(41), 410000)})
    tax_lines, each = tax.compute(lines, terms.currency)
    numbered = enumerate(zip(lines, each, strict=True), start=1)
    return Statement(
        tenant="default", contract_id=1, contract_name=terms.name, contract_version=1,
        contract_sha256=terms.source_sha256, seller=terms.seller, buyer=terms.buyer, payer=terms.buyer,
        currency=terms.currency, period=period,
        lines=tuple(StatementLine(number, line, part) for number, (line, part) in numbered),
        taxes=tax_lines, not_charged={"already_charged": 2, "refused": 1, "seen_again": 7}, charged_event_count=5,
        quarantined_count=0, cutoff_sequence=9, inputs_digest="a" * 64, output_digest=rate.digest_lines(lines),
        payment_terms_days=terms.payment_terms_days,
    )  # fmt: skip


def _totals(quantity: str) -> UsageTotals:
    return UsageTotals((UsageGroup("lung_nodule_ct", Decimal(quantity), 1, Decimal(quantity)),), "a" * 64)


def issued(statement: Statement) -> Statement:
    return statement.evolve(
        statement_id=7, number="RM-DEFAULT-000007", issued_at=datetime(2026, 12, 1, 1, tzinfo=UTC),
        due_on=date(2026, 12, 31),
    )  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("name", "quantity", "late"),
    [("per_case", "128", True), ("graduated", "612", False), ("package", "120.5", False)],
)
def test_statements_read_as_reviewed(
    request: pytest.FixtureRequest, name: str, quantity: str, late: bool, language: str
) -> None:
    """Golden files: look at the difference, then RADMETER_UPDATE_GOLDEN=1 pytest tests/billing."""
    statement = issued(make_statement(request.getfixturevalue(name), quantity, late=late))
    text = statement_document.render_text(statement, language)
    text += "\n" + statement_document.render_csv(statement, language).decode("utf-8-sig").replace(
        "\r\n", "\n"
    )
    golden = GOLDEN / f"statement_{name}_{language}.txt"
    if os.environ.get("RADMETER_UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_the_stored_text_gives_the_same_statement_again(per_case: str) -> None:
    statement = issued(make_statement(per_case, "3", late=True))
    text = statement_record.to_text(statement)
    assert statement_record.from_text(text, 7) == statement
    assert statement_record.to_text(statement_record.from_text(text, 7)) == text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_pdf_says_what_an_accountant_needs(per_case: str, language: str) -> None:
    statement = issued(make_statement(per_case, "128", late=True))
    reader = pypdf.PdfReader(io.BytesIO(statement_document.render_pdf(statement, language)))
    text = " ".join(page.extract_text() for page in reader.pages)
    squeezed = re.sub(r"\s+", "", text)
    words = LABELS[language]
    for wanted in ("RM-DEFAULT-000007", "13,780.00", "780.00", words["not_a_tax_invoice"], words["not_charged"],
                   explain.reason("seen_again", language), statement.seller.name, statement.buyer.name):  # fmt: skip
        assert re.sub(r"\s+", "", wanted) in squeezed
    assert len(reader.pages) == 1
    assert reader.metadata is not None
    assert "RM-DEFAULT-000007" in str(reader.metadata.title)
    fonts = {str(font) for page in reader.pages for font in page["/Resources"]["/Font"].values()}
    assert fonts


def test_a_draft_says_that_it_is_not_payable(per_case: str) -> None:
    for render in (statement_document.render_html, statement_document.render_print_html):
        assert LABELS["en"]["draft_note"] in render(make_statement(per_case, "1"), "en")
        assert LABELS["en"]["draft_note"] not in render(issued(make_statement(per_case, "1")), "en")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(f"{tag} {sorted(name for name, _ in attrs)}")


def tags(html: str) -> list[str]:
    parser = _Tags()
    parser.feed(html)
    return parser.tags


def hostile(statement: Statement, payload: str) -> Statement:
    seller = replace(
        statement.seller, name=payload, address=(payload,), bank_details=(payload, payload), tax_id=payload
    )
    buyer = replace(statement.buyer, name=payload, address=(payload, payload))
    lines = tuple(
        replace(
            line,
            rated=replace(
                line.rated, title={"en": payload, "zh": payload}, unit={"en": payload, "zh": payload}
            ),
        )
        for line in statement.lines
    )
    return statement.evolve(seller=seller, buyer=buyer, lines=lines)


def test_names_cannot_add_elements_to_the_page(per_case: str) -> None:
    statement = issued(make_statement(per_case, "3"))
    plain = statement_document.render_print_html(hostile(statement, "plain"))
    for payload in (
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "{{ 7*7 }}",
        "</style><b>",
        "]]>",
    ):
        html = statement_document.render_print_html(hostile(statement, payload))
        assert tags(html) == tags(plain)


@pytest.mark.parametrize("payload", FORMULAS)
def test_no_cell_is_a_formula(per_case: str, payload: str) -> None:
    statement = hostile(issued(make_statement(per_case, "3", late=True)), payload)
    case = _case(per_case, payload)
    for data in (
        statement_document.render_csv(statement),
        statement_document.render_case_csv(statement, [case]),
    ):
        for row in csv.reader(io.StringIO(data.decode("utf-8-sig"))):
            for cell in row:
                assert not cell or cell[0] not in "=+@\t\r|%＝＋－＠"
                assert not cell.startswith("-") or Decimal(cell) < 0
                assert not cell.strip().startswith("=")


def test_numbers_keep_their_sign_in_the_csv(per_case: str) -> None:
    statement = make_statement(per_case, "3")
    [line] = statement.lines
    negative = replace(
        line, rated=replace(line.rated, amount=-line.rated.amount, quantity=-line.rated.quantity)
    )
    data = statement_document.render_csv(statement.evolve(lines=(negative,))).decode("utf-8-sig")
    [row] = [row for row in csv.DictReader(io.StringIO(data)) if row["kind"] == "usage"]
    assert (row["amount"], row["quantity"]) == ("-300.00", "-3")
    assert safe_cell("-300.00") == "'-300.00"


def _case(text: str, payload: str) -> RecordedUsage:
    # Control characters never enter a usage event; what they could do to a cell is tried on the statement.
    ref = payload if payload.isprintable() else "x"
    event = UsageEvent("t", ref, ref, "result_delivered", ref, Decimal(1), NOVEMBER, ref, ref)
    decision = Decision(Outcome.BILLABLE, Reason.FIRST_DELIVERY, "", ref, 1)
    return RecordedUsage(1, event, NOVEMBER, decision, 7)


def test_the_case_file_lists_opaque_references_in_local_time(per_case: str) -> None:
    statement = issued(make_statement(per_case, "1"))
    event = UsageEvent(
        "t", "pipeline", "7f0c2f52:ct:r1", "result_delivered", "ct", Decimal(1), NOVEMBER, "7f0c2f52", "case"
    )
    case = RecordedUsage(
        1, event, NOVEMBER, Decision(Outcome.BILLABLE, Reason.FIRST_DELIVERY, "", "case", 1), 7
    )
    data = statement_document.render_case_csv(statement, [case], "zh").decode("utf-8-sig")
    [row] = csv.DictReader(io.StringIO(data))
    assert row["occurred_at"] == "2026-11-20T08:00:00+08:00"
    assert (row["study_ref"], row["reason"]) == ("7f0c2f52", explain.reason("first_delivery", "zh"))
    assert set(row) == {
        "occurred_at", "product", "quantity", "study_ref", "case_key", "source", "event_id", "kind", "outcome",
        "reason_code", "reason",
    }  # fmt: skip


def test_both_languages_have_every_word_and_every_reason() -> None:
    assert LABELS["en"].keys() == LABELS["zh"].keys()
    assert {reason.value for reason in Reason} == explain.REASONS.keys()
    assert all(texts.keys() == {"en", "zh"} for texts in explain.REASONS.values())
    with pytest.raises(LanguageUnknown):
        statement_document.render_html(_any(), "fr")


def _any() -> Statement:
    return make_statement((GOLDEN.parents[1] / "examples/contract_per_case.yaml").read_text(), "1")


def test_the_pdf_process_fetches_nothing_and_failure_is_told(
    per_case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = make_statement(per_case, "1")
    page = '<p>kept<img src="http://127.0.0.1:9/x.png"><link rel=stylesheet href="file:///etc/passwd">'
    monkeypatch.setattr(statement_document, "render_print_html", lambda *_: page)
    text = pypdf.PdfReader(io.BytesIO(statement_document.render_pdf(statement))).pages[0].extract_text()
    assert text.strip() == "kept"
    monkeypatch.setattr(statement_document, "render_print_html", lambda *_: "")
    monkeypatch.setattr(paper_print, "_PDF_TIMEOUT_S", 0.001)
    with pytest.raises(PdfNotRendered):
        statement_document.render_pdf(statement)


def test_a_statement_of_many_lines_repeats_its_heading_and_breaks_between_lines(per_case: str) -> None:
    statement = issued(make_statement(per_case, "3"))
    many = tuple(replace(statement.lines[0], number=number) for number in range(1, 101))
    reader = pypdf.PdfReader(io.BytesIO(statement_document.render_pdf(statement.evolve(lines=many))))
    assert len(reader.pages) >= 3
    for number, page in enumerate(reader.pages, start=1):
        assert f"Page {number} of {len(reader.pages)}" in page.extract_text()
    assert "Description" in reader.pages[1].extract_text()
