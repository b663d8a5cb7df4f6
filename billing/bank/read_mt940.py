"""MT940 (SWIFT customer statement), read by the library mt-940."""

from __future__ import annotations

import io
import logging
import re
from datetime import date
from typing import Any

import mt940

from billing.bank.line import (
    FILE_SIZE_MAX,
    LINES_MAX,
    BankLine,
    clean,
    money_of,
    require_balances,
)
from billing.cash.payment_errors import BankFileRefused
from billing.money import Money

# As the standard means it: RC is money that leaves, details keep their whole length, the payer's IBAN apart.
_OPTIONS = mt940.Options(
    applicant_iban=True,
    merge_keeps_values=True,
    reversal_sign=True,
    case_insensitive_marks=True,
    unbounded_details=True,
    strip_bom=True,
    gvc_leading_text=True,
)
LINE_LENGTH_MAX = 2000
STATEMENTS_MAX = 5000
_RETURN_TYPES = ("NRTI", "FRTI", "NRET", "FRET")
_WORDS = re.compile(r"/(EREF|ORDP|BENM|IBAN|NAME|REMI|CSID|MARF|TRCD|BIC|USTD)/+")


def read_mt940(data: bytes) -> list[BankLine]:
    """The lines of every statement in the file; raises `BankFileRefused`."""
    text = _decode(data)
    # The library writes what it cannot read into its log, and bank lines name people.
    logging.getLogger("mt940").disabled = True
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("mt940."):
            logging.getLogger(name).disabled = True
    try:
        # A handle: a text would be taken for the name of a file where one is called that.
        statements = mt940.parse_statements(io.StringIO(text), options=_OPTIONS)
    except (RuntimeError, ValueError, ArithmeticError, KeyError, TypeError, AttributeError):
        raise BankFileRefused("a tag of the file is not MT940") from None
    if not statements:
        raise BankFileRefused("no statement (:20:) in the file: is it an MT940?")
    lines: list[BankLine] = []
    for statement in statements:
        read = [_line(statement, one.data) for one in statement if one.data.get("amount") is not None]
        require_balances(
            _balance(statement, "final_opening_balance", "intermediate_opening_balance"),
            _balance(statement, "final_closing_balance", "intermediate_closing_balance"),
            read,
        )
        lines += read
    return lines


def _decode(data: bytes) -> str:
    if len(data) > FILE_SIZE_MAX:
        raise BankFileRefused(f"larger than {FILE_SIZE_MAX >> 20} MiB; split the file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if any(len(line) > LINE_LENGTH_MAX for line in text.split("\n")):
        raise BankFileRefused(f"a line of more than {LINE_LENGTH_MAX} characters: it is no MT940")
    # Before the library reads it: it keeps kilobytes for each of a few bytes.
    if text.count(":20:") > STATEMENTS_MAX or text.count(":61:") > LINES_MAX:
        raise BankFileRefused(f"more than {STATEMENTS_MAX} statements or {LINES_MAX} lines; split the file")
    return text


def _line(statement: Any, data: dict[str, Any]) -> BankLine:
    amount = _money(data["amount"])
    details = _details(data)
    value_on = _day(data["date"])
    return BankLine(
        account=str(statement.data.get("account_identification") or ""),
        booked_on=_day(data.get("entry_date") or data["date"]),
        value_on=value_on,
        amount=amount,
        charges=Money.zero(amount.currency),  # MT940 has no field for them
        counterparty_name=details["name"],
        counterparty_account=details["account"],
        remittance=details["remittance"],
        end_to_end_id=details["end_to_end_id"] or _no_default(data.get("customer_reference")),
        bank_reference=_no_default(data.get("bank_reference")),
        is_return=str(data.get("status") or "").upper() in ("RC", "RD") or data.get("id") in _RETURN_TYPES,
    )


def _details(data: dict[str, Any]) -> dict[str, str]:
    """Who and what for, out of :86: in its German structured form, the slash form, or plain."""
    plain = str(data.get("transaction_details") or "")
    parts = _WORDS.split(plain.replace("\n", ""))
    slashed = dict(zip(parts[1::2], parts[2::2], strict=False))
    purpose = [data.get("purpose"), data.get("additional_purpose"), data.get("extra_details")]
    if slashed:
        purpose.append(slashed.get("REMI") or slashed.get("USTD"))
    else:
        purpose.append(plain.replace("\n", ""))
    return {
        "name": str(data.get("applicant_name") or slashed.get("NAME") or ""),
        "account": str(
            data.get("applicant_iban") or data.get("gvc_applicant_iban") or slashed.get("IBAN") or ""
        ),
        "remittance": clean(" ".join(str(text) for text in purpose if text)),
        "end_to_end_id": _no_default(data.get("end_to_end_reference") or slashed.get("EREF")),
    }


def _balance(statement: Any, *names: str) -> Money | None:
    for name in names:
        balance = statement.data.get(name)
        if balance is not None:
            return _money(balance.amount)
    return None


def _money(amount: Any) -> Money:
    return money_of(f"{amount.amount:f}", str(amount.currency))


def _day(value: Any) -> date:
    return date(value.year, value.month, value.day)


def _no_default(text: object) -> str:
    return clean(str(text or "").rstrip("/"))
