"""Where a party pays from or is paid to: the latest entry holds; a second person approves where money goes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from billing.cash.payment_errors import NotApproved, PayerNotFound, PaymentRefused, RailAddressMissing
from billing.queries import first_row, one_row

Connection = psycopg.Connection[Any]
IN, OUT = "in", "out"
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BANK_CODE = re.compile(r"[A-Za-z0-9]{0,35}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{0,140}")
_EMAIL = re.compile(r"([^@\s]{1,64}@[^@\s]{1,190})?")


@dataclass(frozen=True)
class RailAddress:
    """account: a bank account, or the rail's id of the customer or connected account. holder: in whose name."""

    party_id: str
    direction: str
    rail: str
    account: str = ""
    bank_code: str = ""
    holder: str = ""
    email: str = ""

    def __post_init__(self) -> None:
        if self.direction not in (IN, OUT):
            raise PaymentRefused("a party pays `in` or is paid `out`")
        if self.account or self.direction == OUT:
            _require("account", _ACCOUNT, self.account.replace(" ", ""))
        _require("bank code", _BANK_CODE, self.bank_code)
        _require("holder", _TEXT, self.holder)
        _require("email", _EMAIL, self.email)
        if self.direction == OUT and self.rail == "bank" and not self.holder.strip():
            raise PaymentRefused("a bank account has a holder: say in whose name it is")


def keep(
    conn: Connection,
    tenant: str,
    address: RailAddress,
    *,
    requested_by: str,
    approved_by: str | None = None,
    now: datetime,
) -> int:
    """Store how a party pays or is paid from now on. Raises `NotApproved`, `PayerNotFound`."""
    if address.direction == OUT and (not approved_by or approved_by == requested_by):
        raise NotApproved
    if first_row(conn, "party_exists", {"tenant": tenant, "party_id": address.party_id}) is None:
        raise PayerNotFound(address.party_id)
    values = {
        "tenant": tenant,
        **vars(address),
        "account": address.account.replace(" ", ""),
        "requested_by": requested_by,
        "approved_by": approved_by,
        "created_at": now,
    }
    return int(one_row(conn, "insert_address", values)["address_id"])


def find(conn: Connection, tenant: str, party_id: str, direction: str) -> RailAddress | None:
    """The address that holds now."""
    values = {"tenant": tenant, "party_id": party_id, "direction": direction}
    row = first_row(conn, "current_address", values)
    if row is None:
        return None
    return RailAddress(**{name: row[name] for name in RailAddress.__dataclass_fields__})


def require_out(conn: Connection, tenant: str, party_id: str) -> RailAddress:
    """Where a party is paid; raises `RailAddressMissing`."""
    address = find(conn, tenant, party_id, OUT)
    if address is None:
        raise RailAddressMissing(
            f"nothing says where {party_id} is to be paid: `radmeter rails address {party_id} …` first"
        )
    return address


def _require(name: str, pattern: re.Pattern[str], text: str) -> None:
    if not pattern.fullmatch(text):
        raise PaymentRefused(f"{text[:60]!r} is no {name}")
