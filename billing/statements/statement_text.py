"""The words of a statement in each language, and how its dates, numbers and cells are written."""

from __future__ import annotations

import unicodedata
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime

from billing.errors import LanguageUnknown
from billing.period import Period
from billing.statements.document_words import WORDS

_STATEMENT: dict[str, dict[str, str]] = {
    "en": {
        "statement": "Statement",
        "draft": "Draft",
        "draft_note": "Preview of the period so far. Not issued, not payable.",
        "number": "Statement no.",
        "issued_on": "Issued",
        "due_on": "Due",
        "period": "Billing period",
        "contract": "Contract",
        "version": "version",
        "currency": "Currency",
        "seller": "From",
        "buyer": "To",
        "tax_id": "Tax ID",
        "line": "No.",
        "description": "Description",
        "quantity": "Quantity",
        "unit": "Unit",
        "unit_price": "Unit price",
        "amount": "Amount",
        "service_period": "Service period",
        "correction": "Correction",
        "subtotal": "Subtotal, tax excluded",
        "tax_on": "on",
        "tax": "Tax",
        "total": "Total due",
        "draft_total": "Total so far",
        "no_lines": "Nothing was charged in this period.",
        "not_charged": "Not charged",
        "not_charged_note": "Recorded in the period and charged at nothing.",
        "not_charged_none": "Every event of the period was charged.",
        "reason": "Reason",
        "count": "Events",
        "quarantined": "Waiting for a decision",
        "payment": "Payment",
        "payment_terms": "Payable within {days} days of issue.",
        "payment_reference": "Please give the statement number with the payment.",
        "not_a_tax_invoice": "This statement is not a tax invoice.",
        "closed_early": "This period was closed before its end; later usage comes as a correction.",
        "no_patient_data": "The case file of this statement lists each case by an opaque reference.",
        "check": "Check digits of usage and lines",
        "page": "Page",
        "of": "of",
    },
    "zh": {
        "statement": "账单",
        "draft": "草稿",
        "draft_note": "本期截至目前的预览，尚未出具，无需付款。",
        "number": "账单编号",
        "issued_on": "出具日期",
        "due_on": "付款截止日",
        "period": "账期",
        "contract": "合同",
        "version": "版本",
        "currency": "币种",
        "seller": "出具方",
        "buyer": "客户",
        "tax_id": "税号",
        "line": "序号",
        "description": "项目",
        "quantity": "数量",
        "unit": "单位",
        "unit_price": "单价",
        "amount": "金额",
        "service_period": "服务期间",
        "correction": "更正",
        "subtotal": "小计（不含税）",
        "tax_on": "计税金额",
        "tax": "税额",
        "total": "应付总额",
        "draft_total": "截至目前合计",
        "no_lines": "本期无计费项目。",
        "not_charged": "未计费",
        "not_charged_note": "本期已记录、但不计费的事件。",
        "not_charged_none": "本期所有事件均已计费。",
        "reason": "原因",
        "count": "事件数",
        "quarantined": "等待人工处理",
        "payment": "付款",
        "payment_terms": "出具后 {days} 天内付款。",
        "payment_reference": "付款时请注明账单编号。",
        "not_a_tax_invoice": "本账单不是发票。",
        "closed_early": "本账期提前关闭，之后的用量将以更正项计入下一期账单。",
        "no_patient_data": "逐例明细见本账单附带的明细文件，仅含匿名编号。",
        "check": "用量与明细校验码",
        "page": "第",
        "of": "页，共",
    },
}
LABELS = {language: {**words, **WORDS[language]} for language, words in _STATEMENT.items()}
_LOCALES = {"en": "en_GB", "zh": "zh_CN"}
_FORMULA_STARTS = frozenset("=+-@|%")


def labels(language: str) -> dict[str, str]:
    """The words of one language; raises `LanguageUnknown`."""
    try:
        return LABELS[language]
    except KeyError:
        raise LanguageUnknown(language) from None


def day(value: date, language: str) -> str:
    """`1 Nov 2026` or `2026年11月1日`."""
    pattern = "d MMM y" if language == "en" else "y年M月d日"
    return format_date(value, pattern, locale=_LOCALES[language])


def days(first: date, end: date, language: str) -> str:
    """A span of whole days, its last day shown; `end` is exclusive."""
    return f"{day(first, language)} – {day(date.fromordinal(end.toordinal() - 1), language)}"


def period(value: Period, language: str) -> str:
    return f"{days(value.starts_on, value.ends_on, language)} ({value.time_zone})"


def local_day(value: datetime, time_zone: str, language: str) -> str:
    return day(value.astimezone(ZoneInfo(time_zone)).date(), language)


def local_time(value: datetime, time_zone: str) -> str:
    """ISO 8601 in the contract's zone, to the second, with its offset."""
    return format_datetime(value, "yyyy-MM-dd'T'HH:mm:ssxxx", tzinfo=ZoneInfo(time_zone), locale="en_GB")


def number(value: Decimal) -> str:
    """A quantity: `1,234.5`, no trailing zeros."""
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(rate: Decimal) -> str:
    """`6%` for 0.06."""
    return f"{number(rate * 100)}%"


def unit_price(value: Decimal | None) -> str:
    """All the decimals that the contract states."""
    return "" if value is None else f"{value:,f}"


def safe_cell(text: str) -> str:
    """Text for a spreadsheet cell that no program takes for a formula.

    Full-width signs count too: some programs fold them. NFKC shows what they fold to.
    """
    folded = unicodedata.normalize("NFKC", text)
    starts = (text[:1], folded[:1], folded.lstrip()[:1])
    is_formula = any(start in _FORMULA_STARTS for start in starts if start) or text[:1] in "\t\r\n\0"
    return f"'{text}" if text and is_formula else text
