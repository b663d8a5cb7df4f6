"""A bank's lines from CSV, by the names of its columns."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from billing.bank.line import FILE_SIZE_MAX, LINES_MAX, BankLine, clean, day_of, money_of
from billing.cash.payment_errors import BankFileRefused
from billing.errors import BillingError
from billing.money import Money

HEADERS: dict[str, tuple[str, ...]] = {
    "booked_on": ("booking date", "booked on", "date", "buchungstag", "buchungsdatum", "交易日期", "记账日期",
                  "入账日期", "交易时间"),
    "value_on": ("value date", "value on", "valuta", "valutadatum", "wertstellung", "起息日"),
    "amount": ("amount", "betrag", "交易金额", "金额", "发生额"),
    "credit": ("credit", "credit amount", "paid in", "贷方发生额", "贷方金额", "收入金额", "收入"),
    "debit": ("debit", "debit amount", "paid out", "借方发生额", "借方金额", "支出金额", "支出"),
    "currency": ("currency", "währung", "waehrung", "币种", "币别"),
    "charges": ("charges", "fee", "手续费"),
    "counterparty_name": ("counterparty", "counterparty name", "name", "对方户名", "对方单位名称", "对方名称"),
    "counterparty_account": ("counterparty account", "counterparty iban", "iban", "对方账号", "对方帐号", "对方账户"),
    "remittance": ("remittance", "reference", "description", "purpose", "verwendungszweck", "摘要", "附言", "用途",
                   "备注"),
    "end_to_end_id": ("end to end id", "end-to-end id", "e2e"),
    "bank_reference": ("bank reference", "transaction id", "流水号", "交易流水号", "核心流水号"),
}  # fmt: skip
"""Field → how banks head it. Several columns may head the remittance; they are joined."""
_SWAP_MARKS = str.maketrans(",.", ".,")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?")
_PREAMBLE_ROWS = 30
_PROBLEMS_SHOWN = 10


@dataclass(frozen=True)
class CsvForm:
    """What a file does not say itself.

    account: ours. currency: where no column has it. columns: field → heading, where `HEADERS` does not know it.
    decimal_mark: `.` or `,`. encoding: `utf-8`, or `gb18030` for most banks in China.
    """

    account: str
    currency: str = ""
    columns: Mapping[str, str] | None = None
    decimal_mark: str = "."
    encoding: str = "utf-8"


def read_csv(data: bytes, form: CsvForm) -> list[BankLine]:
    """Every line of the file, or none: raises `BankFileRefused` with the rows that are wrong."""
    rows = _rows(data, form)
    number, columns = _find_heading(rows, form)
    lines: list[BankLine] = []
    problems: list[str] = []
    for row_number, row in enumerate(rows[number:], start=number + 1):
        cells = {
            field: " ".join(_cell(row, i) for i in indexes).strip() for field, indexes in columns.items()
        }
        has_amount = any(cells.get(name) for name in ("amount", "credit", "debit"))
        if not cells["booked_on"] and not has_amount:
            continue
        try:
            lines.append(_line(cells, form))
        except BillingError as error:
            problems.append(f"row {row_number}: {error}")
    if problems:
        more = f"; and {len(problems) - _PROBLEMS_SHOWN} more" if len(problems) > _PROBLEMS_SHOWN else ""
        raise BankFileRefused("; ".join(problems[:_PROBLEMS_SHOWN]) + more)
    return lines


def _rows(data: bytes, form: CsvForm) -> list[list[str]]:
    if len(data) > FILE_SIZE_MAX:
        raise BankFileRefused(f"larger than {FILE_SIZE_MAX >> 20} MiB; split the file")
    try:
        text = data.decode("utf-8-sig" if form.encoding == "utf-8" else form.encoding)
    except (ValueError, LookupError):  # some codecs know other errors than UnicodeDecodeError
        raise BankFileRefused(
            f"the file is not {form.encoding}: try another --encoding, gb18030 say"
        ) from None
    head = text[:4000]
    delimiter = max(",;\t", key=head.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows = list(itertools.islice(reader, LINES_MAX + _PREAMBLE_ROWS + 1))
    except csv.Error as error:
        raise BankFileRefused(f"not CSV: {error}") from None
    if len(rows) > LINES_MAX + _PREAMBLE_ROWS:
        raise BankFileRefused(f"more than {LINES_MAX} lines; split the file")
    return rows


def _find_heading(rows: list[list[str]], form: CsvForm) -> tuple[int, dict[str, list[int]]]:
    """The number of the heading row, and where each field stands; banks put a title above it."""
    named = {field: (heading.strip().lower(),) for field, heading in (form.columns or {}).items()}
    if unknown := sorted(set(named) - set(HEADERS)):
        raise BankFileRefused(f"no field {', '.join(unknown)}; there are {', '.join(HEADERS)}")
    wanted = {**HEADERS, **named}
    for number, row in enumerate(rows[:_PREAMBLE_ROWS], start=1):
        headings = [clean(cell).lower() for cell in row]
        found = {
            field: [i for i, heading in enumerate(headings) if heading in names]
            for field, names in wanted.items()
        }
        found = {field: at if field == "remittance" else at[:1] for field, at in found.items() if at}
        if "booked_on" in found and ("amount" in found or "credit" in found):
            return number, found
    raise BankFileRefused(
        "no row heads a date and an amount: name the columns, for example --column booked_on=Datum "
        "--column amount=Betrag"
    )


def _line(cells: Mapping[str, str], form: CsvForm) -> BankLine:
    currency = cells.get("currency", "").upper() or form.currency
    if not currency:
        raise BankFileRefused("no currency: give it with --currency")
    booked_on = day_of(cells["booked_on"])
    return BankLine(
        account=form.account,
        booked_on=booked_on,
        value_on=day_of(cells["value_on"]) if cells.get("value_on") else booked_on,
        amount=_amount(cells, currency, form.decimal_mark),
        charges=_money(cells.get("charges", ""), currency, form.decimal_mark),
        counterparty_name=cells.get("counterparty_name", ""),
        counterparty_account=cells.get("counterparty_account", ""),
        remittance=cells.get("remittance", ""),
        end_to_end_id=cells.get("end_to_end_id", ""),
        bank_reference=cells.get("bank_reference", ""),
    )


def _amount(cells: Mapping[str, str], currency: str, decimal_mark: str) -> Money:
    """The signed amount, or credit less debit where they stand apart."""
    if cells.get("amount"):
        return _money(cells["amount"], currency, decimal_mark)
    credit = _money(cells.get("credit", ""), currency, decimal_mark)
    debit = _money(cells.get("debit", ""), currency, decimal_mark)
    if credit and debit:
        raise BankFileRefused("both a credit and a debit")
    # Some banks write what leaves with a sign, some without.
    return credit or Money(-abs(debit.amount_minor), currency)


def _money(text: str, currency: str, decimal_mark: str) -> Money:
    """`1,234.50` with the decimal mark `.`, `1.234,50` with `,`; nothing is zero."""
    bare = text.replace(" ", "").replace("\u00a0", "").lstrip("¥￥")
    if decimal_mark == ",":
        bare = bare.translate(_SWAP_MARKS)
    # Thousands come in threes: 197,00 read with the wrong mark would be a hundredfold.
    if _GROUPED.fullmatch(bare):
        bare = bare.replace(",", "")
    try:
        return money_of(bare or "0", currency)
    except BankFileRefused:
        raise BankFileRefused(
            f"{text[:40]!r} is not an amount of {currency} with the decimal mark {decimal_mark!r}"
        ) from None


def _cell(row: list[str], index: int) -> str:
    return row[index].strip() if index < len(row) else ""
