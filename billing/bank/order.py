"""A file of orders for our bank: every refund and payout that waits, each in one file only."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from lxml import etree

from billing.cash.payment_errors import BankFileRefused, NothingToOrder
from billing.cash.payment_record import lock
from billing.money import Money
from billing.queries import execute, first_row, one_row, rows
from billing.rails.rail import Operation
from billing.rails.rail_operation import operation_of
from billing.statements.statement_text import safe_cell

Connection = psycopg.Connection[Any]
FORMATS = ("csv", "pain.001")
PAIN = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_BIC = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?")
_CSV_COLUMNS = ("reference", "holder", "account", "bank_code", "amount", "currency", "remittance")


@dataclass(frozen=True)
class OurAccount:
    """The account that pays. holder: its owner's name."""

    holder: str
    account: str
    bank_code: str = ""


@dataclass(frozen=True)
class PaymentOrder:
    """document: the file as it was written, the same for ever."""

    order_id: int
    format: str
    document: str
    created_at: datetime


def write_order(
    conn: Connection, tenant: str, ours: OurAccount, *, currency: str, format: str, by: str, now: datetime
) -> PaymentOrder:
    """Write what waits in `currency` into a new file; commit before handing it out. Raises `NothingToOrder`."""
    if format not in FORMATS:
        raise BankFileRefused(f"no format {format[:20]!r}; there are {', '.join(FORMATS)}")
    lock(conn, tenant)
    found = rows(conn, "operations_to_order", {"tenant": tenant, "currency": currency})
    operations = [operation_of(row) for row in found]
    if not operations:
        raise NothingToOrder(f"no refund and no payout in {currency} waits for an order")
    number = one_row(conn, "next_payment_order", {"tenant": tenant})["number"]
    message_id = f"{tenant.upper()}-{number:06d}"[-35:]
    document = _csv(operations) if format == "csv" else _pain(operations, ours, message_id, now)
    values = {"tenant": tenant, "format": format, "document": document, "created_by": by, "created_at": now}
    order_id = int(one_row(conn, "insert_payment_order", values)["order_id"])
    for one in operations:
        key = {"tenant": tenant, "operation_id": one.operation_id, "generation": one.generation}
        execute(conn, "insert_payment_order_line", {**key, "order_id": order_id})
    return PaymentOrder(order_id, format, document, now)


def find_order(conn: Connection, tenant: str, order_id: int) -> PaymentOrder:
    """A file as it was written."""
    row = first_row(conn, "payment_order_by_id", {"tenant": tenant, "order_id": order_id})
    if row is None:
        raise NothingToOrder(f"no payment order {order_id}")
    return PaymentOrder(row["order_id"], row["format"], row["document"], row["created_at"])


def _csv(operations: Sequence[Operation]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_CSV_COLUMNS)
    for one in operations:
        request = one.request
        cells = [one.reference, request["holder"], request["account"], request["bank_code"]]
        cells += [f"{one.amount.amount:f}", one.amount.currency, _remittance(one)]
        writer.writerow([safe_cell(str(cell)) for cell in cells])
    return out.getvalue()


def _pain(operations: Sequence[Operation], ours: OurAccount, message_id: str, now: datetime) -> str:
    """ISO 20022 pain.001.001.09: one group, each order with its reference as end-to-end id."""
    root = etree.Element(f"{{{PAIN}}}Document", nsmap={None: PAIN})
    initiation = _sub(root, "CstmrCdtTrfInitn")
    total = sum((one.amount for one in operations), Money.zero(operations[0].amount.currency))
    header = _sub(initiation, "GrpHdr")
    _sub(header, "MsgId", message_id)
    _sub(header, "CreDtTm", now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    _sub(header, "NbOfTxs", str(len(operations)))
    _sub(header, "CtrlSum", f"{total.amount:f}")
    _sub(_sub(header, "InitgPty"), "Nm", ours.holder[:140])
    group = _sub(initiation, "PmtInf")
    _sub(group, "PmtInfId", message_id)
    _sub(group, "PmtMtd", "TRF")
    _sub(_sub(group, "ReqdExctnDt"), "Dt", now.astimezone(UTC).date().isoformat())
    _sub(_sub(group, "Dbtr"), "Nm", ours.holder[:140])
    _account(_sub(group, "DbtrAcct"), ours.account)
    _agent(_sub(group, "DbtrAgt"), ours.bank_code)
    for one in operations:
        transfer = _sub(group, "CdtTrfTxInf")
        _sub(_sub(transfer, "PmtId"), "EndToEndId", one.reference)
        amount = _sub(_sub(transfer, "Amt"), "InstdAmt", f"{one.amount.amount:f}")
        amount.set("Ccy", one.amount.currency)
        _agent(_sub(transfer, "CdtrAgt"), str(one.request["bank_code"]))
        _sub(_sub(transfer, "Cdtr"), "Nm", str(one.request["holder"])[:140])
        _account(_sub(transfer, "CdtrAcct"), str(one.request["account"]))
        _sub(_sub(transfer, "RmtInf"), "Ustrd", _remittance(one)[:140])
    text: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return text.decode()


def _remittance(operation: Operation) -> str:
    return f"{operation.request['reference']} {operation.reference}"


def _account(parent: Any, account: str) -> None:
    identifier = _sub(parent, "Id")
    if _IBAN.fullmatch(account):
        _sub(identifier, "IBAN", account)
    else:
        _sub(_sub(identifier, "Othr"), "Id", account[:34])


def _agent(parent: Any, bank_code: str) -> None:
    institution = _sub(parent, "FinInstnId")
    if _BIC.fullmatch(bank_code):
        _sub(institution, "BICFI", bank_code)
    elif bank_code:
        _sub(_sub(institution, "ClrSysMmbId"), "MmbId", bank_code)
    else:
        _sub(_sub(institution, "Othr"), "Id", "NOTPROVIDED")


def _sub(parent: Any, name: str, text: str | None = None) -> Any:
    element = etree.SubElement(parent, f"{{{PAIN}}}{name}")
    element.text = text
    return element
