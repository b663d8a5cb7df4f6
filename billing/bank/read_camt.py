"""camt.053 (ISO 20022 bank to customer statement), read by pycamt.

Three things are done before or beside it: the XML is bounded and may carry no document type (so no entities);
the amount of an entry with one transaction is the entry's (pycamt takes the first `Amt` below `TxDtls`, which
may be the instructed amount in another currency); balances are summed exactly and must fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lxml import etree
from pycamt.parser import Camt053ParseError, Camt053Parser

from billing.bank.line import (
    FILE_SIZE_MAX,
    LINES_MAX,
    BankLine,
    clean,
    day_of,
    money_of,
    require_balances,
)
from billing.cash.payment_errors import BankFileRefused
from billing.money import Money

DEPTH_MAX = 60


def read_camt(data: bytes) -> list[BankLine]:
    """The booked lines of every statement in the file; raises `BankFileRefused`."""
    _require_plain_xml(data)
    try:
        parser = Camt053Parser(data)
        statements = parser._find_statements_or_reports()
    except (etree.XMLSyntaxError, Camt053ParseError):
        raise BankFileRefused("no statement (Stmt) in the file: is it a camt.053?") from None
    lines: list[BankLine] = []
    for statement in statements:
        read = [
            line for entry in _all(parser, statement, "Ntry") for line in _entry(parser, statement, entry)
        ]
        require_balances(_balance(parser, statement, "OPBD"), _balance(parser, statement, "CLBD"), read)
        lines += read
        if len(lines) > LINES_MAX:
            raise BankFileRefused(f"more than {LINES_MAX} lines; split the file")
    return lines


def _require_plain_xml(data: bytes) -> None:
    """Raise unless it is XML without a document type, small and not nested too deeply."""
    if len(data) > FILE_SIZE_MAX:
        raise BankFileRefused(f"larger than {FILE_SIZE_MAX >> 20} MiB; split the file")
    reader = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser=reader)
    except (etree.XMLSyntaxError, ValueError):
        raise BankFileRefused("not XML that can be read") from None
    document = root.getroottree().docinfo
    if document.doctype or document.internalDTD is not None:
        raise BankFileRefused("the XML has a document type (DOCTYPE), which no bank's statement has")
    depth, deepest = 0, 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
    if deepest > DEPTH_MAX:
        raise BankFileRefused("the XML is nested too deeply")


def _entry(parser: Any, statement: Any, entry: Any) -> Iterator[BankLine]:
    """The lines of one entry: one, or one for each transaction where they sum to it."""
    common = parser._extract_common_entry_data(entry, statement)
    if common["Status"] not in (None, "BOOK"):
        return  # pending or informational: it comes again once it is booked
    whole = _signed(_text(parser, entry, "Amt"), _attribute(parser, entry), common["CreditDebitIndicator"])
    details = [one for block in _all(parser, entry, "NtryDtls") for one in _all(parser, block, "TxDtls")]
    amounts = [_detail_amount(parser, detail, whole) for detail in details]
    if (
        len(details) > 1
        and sum((amount.amount_minor for amount in amounts if amount), 0) == whole.amount_minor
    ):
        for detail, amount in zip(details, amounts, strict=True):
            if amount:
                yield _line(parser, statement, common, [detail], amount)
    else:
        yield _line(parser, statement, common, details, whole)


def _line(parser: Any, statement: Any, common: dict[str, Any], details: list[Any], amount: Money) -> BankLine:
    read = [parser._extract_transaction_details(detail) for detail in details]
    first = read[0] if read else {}
    side = "Dbtr" if amount.amount_minor > 0 else "Cdtr"
    remittance = [text for detail in details for text in _texts(parser, detail, ".//RmtInf//*")]
    booked = day_of(common["BookingDate"] or common["ValueDate"] or "")
    return BankLine(
        account=_account(parser, statement, "./Acct"),
        booked_on=booked,
        value_on=day_of(common["ValueDate"]) if common["ValueDate"] else booked,
        amount=amount,
        charges=_charges(parser, details, amount),
        counterparty_name=first.get("DebtorName" if side == "Dbtr" else "CreditorName", "")
        or (_text(parser, details[0], f"./RltdPties/{side}/Pty/Nm") if len(details) == 1 else ""),
        counterparty_account=_account(parser, details[0], f".//RltdPties/{side}Acct") if details else "",
        remittance=" ".join([*remittance, common["AdditionalEntryInformation"] or ""]),
        end_to_end_id=first.get("EndToEndId", "") if len(details) == 1 else "",
        bank_reference=_text(parser, details[0], "./Refs/AcctSvcrRef")
        if len(details) == 1 and _text(parser, details[0], "./Refs/AcctSvcrRef")
        else common["TransactionID"] or "",
        is_return=common["ReversalIndicator"] in ("true", "1")
        or any(detail.find("./RtrInf", parser.namespaces) is not None for detail in details),
    )


def _detail_amount(parser: Any, detail: Any, whole: Money) -> Money | None:
    """What a transaction moved on the account: its own amount, never the instructed one."""
    for path in ("./Amt", "./AmtDtls/TxAmt/Amt"):
        found = detail.find(path, parser.namespaces)
        if found is not None and found.get("Ccy", whole.currency) == whole.currency:
            amount = money_of(found.text or "", whole.currency)
            return amount if whole.amount_minor > 0 else -amount
    return None


def _charges(parser: Any, details: list[Any], amount: Money) -> Money:
    """What the bank took off before it credited the rest: records that say they are included, or their total."""
    total = Money.zero(amount.currency)
    for detail in details if amount.amount_minor > 0 else ():
        records = detail.findall("./Chrgs/Rcrd", parser.namespaces)
        included = [one for one in records if _text(parser, one, "ChrgInclInd") in ("true", "1")]
        found = [one.find("./Amt", parser.namespaces) for one in included]
        if not records:
            found = detail.findall("./Chrgs/TtlChrgsAndTaxAmt", parser.namespaces)
        for charge in found:
            if charge is not None and charge.get("Ccy") == amount.currency:
                total += money_of(charge.text or "", amount.currency)
    return total


def _balance(parser: Any, statement: Any, code: str) -> Money | None:
    found = [one for one in _all(parser, statement, "Bal") if _text(parser, one, "./Tp/CdOrPrtry/Cd") == code]
    if len(found) != 1:
        return None  # none, or one of each page: nothing to compare with
    return _signed(
        _text(parser, found[0], "Amt"), _attribute(parser, found[0]), _text(parser, found[0], "CdtDbtInd")
    )


def _signed(text: str, currency: str, side: str | None) -> Money:
    if side not in ("CRDT", "DBIT"):
        raise BankFileRefused("an amount without CdtDbtInd: nobody can tell whether it came or went")
    amount = money_of(text, currency)
    return amount if side == "CRDT" else -amount


def _account(parser: Any, element: Any, path: str) -> str:
    for below in ("/Id/IBAN", "/Id/Othr/Id"):
        text = _text(parser, element, path + below)
        if text:
            return text
    return ""


def _all(parser: Any, element: Any, name: str) -> list[Any]:
    return list(element.findall(f"./{name}", parser.namespaces))


def _text(parser: Any, element: Any, path: str) -> str:
    found = element.find(path, parser.namespaces)
    return "" if found is None else clean(found.text)


def _texts(parser: Any, element: Any, path: str) -> list[str]:
    return [clean(one.text) for one in element.findall(path, parser.namespaces) if clean(one.text)]


def _attribute(parser: Any, element: Any) -> str:
    found = element.find("./Amt", parser.namespaces)
    return "" if found is None else str(found.get("Ccy", ""))
