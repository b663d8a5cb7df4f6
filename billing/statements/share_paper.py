"""What a statement shows beside its lines: each site's part, and what patients may be charged; a paper for a site."""

from __future__ import annotations

from billing.contracts.party_terms import Party
from billing.rating.price_list import PatientCharge
from billing.rating.site_parts import SiteTotal
from billing.rating.sites import SiteLine, SiteStatement
from billing.statements import statement_text
from billing.statements.paper import (
    Cell,
    Column,
    Fact,
    Paper,
    Section,
    Table,
    Total,
    count,
    day,
    last_day,
    money,
    quantity,
    row,
    without_empty,
)
from billing.statements.statement_record import Statement
from billing.statements.statement_text import labels

WORDS: dict[str, dict[str, str]] = {
    "en": {
        "sites": "By site",
        "sites_note": "Each site's part of the lines and of the tax; together they are the statement.",
        "site": "Site",
        "department": "Department",
        "no_site": "(no site named)",
        "amount": "Amount, tax excluded",
        "with_tax": "Tax included",
        "site_statement": "Site statement",
        "site_total": "This site's part",
        "site_note": "For information: the payer of the statement owes the whole; nothing is due from the site.",
        "part_of": "Part of statement",
        "patient_charges": "What patients may be charged",
        "patient_charges_note": "By the public price list, for the results of the period; no part of this statement.",
        "item": "Item",
        "cases": "Cases",
        "for_one": "For one case",
        "charged": "chargeable to the patient",
        "inside_parent_item": "inside the parent item, nothing extra",
        "parent_item_missing": "the parent item was not charged, so nothing is",
        "no_parent_price": "the parent item has no price then",
        "no_item": "no item in the price list",
    },
    "zh": {
        "sites": "按院区",
        "sites_note": "各院区承担的明细与税额，合计即为本账单。",
        "site": "院区",
        "department": "科室",
        "no_site": "（未注明院区）",
        "amount": "不含税金额",
        "with_tax": "含税金额",
        "site_statement": "院区账单",
        "site_total": "本院区部分",
        "site_note": "仅供参考：账单由付款方支付全额，院区无需付款。",
        "part_of": "所属账单",
        "patient_charges": "可向患者收取的费用",
        "patient_charges_note": "按公开价目表、针对本期结果；不属于本账单金额。",
        "item": "项目",
        "cases": "例数",
        "for_one": "每例",
        "charged": "可向患者收费",
        "inside_parent_item": "已含在主项目内，不另收费",
        "parent_item_missing": "未收取主项目费用，不收费",
        "no_parent_price": "当时主项目无价格",
        "no_item": "价目表中无此项目",
    },
}


def sections(statement: Statement, language: str) -> tuple[Section, ...]:
    """None where the contract has neither sites nor a price list."""
    words, found = WORDS[language], []
    if statement.site_totals:
        found.append(_section(words, "sites", _site_table(statement.site_totals, words)))
    if statement.patient_charges:
        found.append(_section(words, "patient_charges", _charge_table(statement.patient_charges, words)))
    return tuple(found)


def site_paper(one: SiteStatement, language: str) -> Paper:
    """A site's statement for page, PDF, CSV and XLSX."""
    words, statement = WORDS[language], one.statement
    columns = (
        Column("line", labels(language)["line"], is_number=True),
        Column("description", labels(language)["description"]),
        Column("department", words["department"]),
        Column("service_start", labels(language)["service_start"], is_printed=False),
        Column("service_last_day", labels(language)["service_last_day"], is_printed=False),
        Column("quantity", labels(language)["quantity"], is_number=True),
        Column("unit", labels(language)["unit"]),
        Column("amount", labels(language)["amount"], is_number=True),
    )
    totals = (
        Total("subtotal", labels(language)["subtotal"], one.amount),
        Total("tax", labels(language)["tax"], one.tax),
        Total("total", f"{words['site_total']} ({statement.currency})", one.total),
    )
    days = statement_text.days(statement.period.starts_on, statement.period.ends_on, language)
    return Paper(
        language=language,
        title=words["site_statement"],
        number=statement.number,
        headline=Total("total", words["site_total"], one.total),
        parties=(
            (labels(language)["seller"], statement.seller),
            (labels(language)["buyer"], statement.payer),
            (words["site"], Party(one.site, one.name or words["no_site"])),
        ),
        facts=(
            Fact(words["part_of"], statement.number or labels(language)["draft"]),
            Fact(labels(language)["period"], days, statement.period.time_zone),
            Fact(labels(language)["currency"], statement.currency),
        ),
        table=Table(columns, tuple(_line(line, language) for line in one.lines), totals, name=words["site"]),
        sections=(),
        foot=(words["site_note"], labels(language)["not_a_tax_invoice"]),
        running=labels(language)["not_a_tax_invoice"],
    )


def _section(words: dict[str, str], key: str, table: Table) -> Section:
    return Section(words[key], (words[f"{key}_note"],), table)


def _site_table(totals: tuple[SiteTotal, ...], words: dict[str, str]) -> Table:
    columns = (
        Column("site", words["site"]),
        Column("department", words["department"]),
        Column("amount", words["amount"], is_number=True),
        Column("total", words["with_tax"], is_number=True),
    )
    rows = tuple(
        row(one.site or words["no_site"], one.department, money(one.amount), money(one.total))
        for one in totals
    )
    return Table(columns, rows, name=words["sites"])


def _charge_table(charges: tuple[PatientCharge, ...], words: dict[str, str]) -> Table:
    columns = (
        Column("item", words["item"]),
        Column("cases", words["cases"], is_number=True),
        Column("unit_amount", words["for_one"], is_number=True),
        Column("amount", words["patient_charges"], is_number=True),
    )
    rows = tuple(
        row(
            Cell(" ".join(without_empty((one.jurisdiction, one.code))), notes=(words[one.reason],)),
            quantity(one.cases),
            money(one.unit_amount),
            money(one.amount),
        )
        for one in charges
    )
    return Table(columns, rows, name=words["patient_charges"])


def _line(line: SiteLine, language: str) -> tuple[Cell, ...]:
    lead = f"{labels(language)['correction']}." if line.kind == "correction" else ""
    return row(
        count(line.number),
        Cell(line.title[language], lead=lead),
        line.department,
        day(line.service_start),
        day(last_day(line.service_end)),
        quantity(line.quantity),
        line.unit[language],
        money(line.amount),
    )
