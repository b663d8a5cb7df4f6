"""Wallets: lots that purchases bring, and what uses take from them, in the event's own transaction.

A purchase is a usage event of the product that sells a package; a use is one of a product that the package is taken
for. One balance moves at a time, under a lock; the database refuses one below zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

import psycopg

from billing.contracts import contract as contracts
from billing.contracts.contract import Contract
from billing.contracts.limits_terms import Package
from billing.guarding.limits_errors import PackageInUse
from billing.metering.usage import UsageEvent
from billing.money import round_half_away_from_zero
from billing.queries import Row, execute, first_row, one_row, rows

Connection = psycopg.Connection[Any]
CONTRACT_OWNER = "contract"
"""The owner of a balance that belongs to nobody in particular."""


class Taken(StrEnum):
    """What became of an event that a package may be taken for."""

    NOTHING = "nothing"
    """No package covers it: it is charged by its rate."""
    TAKEN = "taken"
    """The package covers it, or owes it."""
    PAID_ALREADY = "paid_already"
    """Its case was charged or taken before."""


@dataclass(frozen=True)
class _Wallet:
    """One balance: its package and owner under a contract."""

    conn: Connection
    tenant: str
    contract_id: int
    package: Package
    owner: str

    @property
    def key(self) -> dict[str, object]:
        return {
            "tenant": self.tenant,
            "contract_id": self.contract_id,
            "package": self.package.id,
            "owner": self.owner,
        }

    def lock(self) -> None:
        _lock(self.conn, self.tenant, f"{self.contract_id}:{self.package.id}:{self.owner}")

    def plan(self, quantity: Decimal, at: datetime) -> tuple[list[tuple[int, Decimal]], Decimal]:
        """(lot, quantity) of what is taken, and what no lot has left."""
        taken = []
        for lot in rows(self.conn, "open_lots", {**self.key, "at": at}):
            if not quantity:
                break
            part = min(quantity, lot["remaining"])
            taken.append((lot["lot_id"], part))
            quantity -= part
        return taken, quantity

    def owed(self) -> list[Row]:
        return [row for row in rows(self.conn, "owed", self.key) if row["quantity"] > 0]

    def write(
        self, kind: str, quantity: Decimal, event: Row, *, lot_id: int | None, pays: int | None
    ) -> None:
        """event: its `ingest_sequence`, `occurred_at` and `written_at`."""
        values = {**self.key, **event, "kind": kind, "quantity": quantity, "lot_id": lot_id, "pays": pays}
        execute(self.conn, "insert_wallet_entry", values)

    def take(self, quantity: Decimal, event: Row) -> bool:
        """All of it from lots, the rest on account where that is agreed; nothing where it does not reach."""
        self.lock()
        parts, rest = self.plan(quantity, event["occurred_at"])
        if rest and rest + sum(row["quantity"] for row in self.owed()) > self.package.owe_up_to:
            return False
        for lot_id, part in parts:
            self.write("used", part, event, lot_id=lot_id, pays=None)
        if rest:
            self.write("owed", rest, event, lot_id=None, pays=None)
        return True

    def pay_owed(self, lot_id: int, quantity: Decimal, written_at: datetime) -> None:
        """A new lot pays first what ran before it."""
        for row in self.owed():
            part = min(quantity, row["quantity"])
            if not part:
                break
            event = {
                "ingest_sequence": row["ingest_sequence"],
                "occurred_at": row["occurred_at"],
                "written_at": written_at,
            }
            self.write("used", part, event, lot_id=lot_id, pays=row["entry_id"])
            quantity -= part


def terms_of(conn: Connection, tenant: str, contract_id: int, version: int) -> Contract:
    """The version of a contract by its number."""
    values = {"tenant": tenant, "contract_id": contract_id, "version": version}
    return contracts.load(one_row(conn, "version_text", values)["source_text"])


def is_prepaid(conn: Connection, tenant: str, contract_id: int, version: int, product: str) -> bool:
    """Whether a package of the version is sold by the product or taken for it."""
    values = {"tenant": tenant, "contract_id": contract_id, "version": version, "product": product}
    return first_row(conn, "is_prepaid_product", values) is not None


def take(
    conn: Connection, event: UsageEvent, ingest_sequence: int, contract_id: int, version: int, now: datetime
) -> Taken:
    """Take a use that would be billable from its package, if one covers it; a case is taken once."""
    contract = terms_of(conn, event.tenant, contract_id, version)
    packages = contract.limits.taken_for(event.product)
    if not packages:
        return Taken.NOTHING
    _lock(conn, event.tenant, f"{contract_id}:case:{event.case_key}")
    case = {"tenant": event.tenant, "contract_id": contract_id, "case_key": event.case_key}
    if first_row(conn, "case_is_paid", case):
        return Taken.PAID_ALREADY
    values = {"ingest_sequence": ingest_sequence, "occurred_at": event.occurred_at, "written_at": now}
    for package in packages:
        owner = owner_of(package, event)
        quantity = units_of(package, event)
        if (
            owner
            and quantity
            and _Wallet(conn, event.tenant, contract_id, package, owner).take(quantity, values)
        ):
            return Taken.TAKEN
    return Taken.NOTHING


def add_lot(
    conn: Connection, event: UsageEvent, ingest_sequence: int, contract_id: int, version: int, now: datetime
) -> int | None:
    """The lot that a billable purchase brings; it pays first what is owed. None where the product sells nothing."""
    contract = terms_of(conn, event.tenant, contract_id, version)
    package = contract.limits.sold_by(event.product)
    owner = package and owner_of(package, event)
    if package is None or not owner:
        return None
    wallet = _Wallet(conn, event.tenant, contract_id, package, owner)
    wallet.lock()
    quantity = _in_units(package, package.quantity * event.quantity)
    values = {
        **wallet.key,
        "product": event.product,
        "ingest_sequence": ingest_sequence,
        "quantity": quantity,
        "in_money": package.in_money,
        "priority": package.priority,
        "effective_at": event.occurred_at,
        "expires_at": package.expiry_of(event.occurred_at, contract.time_zone),
        "created_at": now,
    }
    lot_id = int(one_row(conn, "insert_lot", values)["lot_id"])
    wallet.pay_owed(lot_id, quantity, now)
    return lot_id


def give_back(conn: Connection, tenant: str, ingest_sequence: int, now: datetime) -> None:
    """A use that was taken back returns to the lots that it came from; what it owed is not owed any more.

    What became revenue for it stays; the uses that are left are worth that much less. A purchase that was taken back
    ends its lot; raises `PackageInUse` where something was taken from it.
    """
    event = {"tenant": tenant, "ingest_sequence": ingest_sequence}
    for row in rows(conn, "entries_of_event", event):
        _lock_balance(conn, row)
        execute(
            conn, "insert_wallet_entry", {**row, "kind": "returned", "occurred_at": now, "written_at": now}
        )
    for lot in rows(conn, "lot_of_event", event):
        _lock_balance(conn, lot)
        if _remaining(conn, lot) != lot["quantity"]:
            raise PackageInUse("uses were taken from the package already; credit its statement line instead")
        _end(conn, lot, lot["quantity"], now, now)


def expire(conn: Connection, tenant: str, *, now: datetime) -> int:
    """End every lot whose time is over; returns how many had something left."""
    count = 0
    for lot in rows(conn, "lots_to_expire", {"tenant": tenant, "now": now}):
        _lock_balance(conn, lot)
        remaining = _remaining(conn, lot)
        if remaining:  # a use of before the expiry may just have come late
            _end(conn, lot, remaining, lot["expires_at"], now)
            count += 1
    return count


def balance(
    conn: Connection, tenant: str, contract_id: int, package: Package, owner: str, *, at: datetime
) -> Decimal:
    """What can be taken at `at`, with what may be owed; minor units of money or units of the package."""
    wallet = _Wallet(conn, tenant, contract_id, package, owner)
    usable = sum((row["remaining"] for row in rows(conn, "open_lots", {**wallet.key, "at": at})), Decimal(0))
    return usable + package.owe_up_to - sum((row["quantity"] for row in wallet.owed()), Decimal(0))


def list_wallets(
    conn: Connection, tenant: str, *, at: datetime, contract_id: int | None = None, limit: int = 1000
) -> list[Row]:
    """contract_id, package, owner, in_money, bought, remaining, usable at `at`, next_expiry."""
    return rows(conn, "wallets", {"tenant": tenant, "at": at, "contract_id": contract_id, "limit": limit})


def show(
    conn: Connection, tenant: str, contract_id: int, package: str, owner: str
) -> tuple[list[Row], list[Row]]:
    """The lots of a balance, and its entries, latest first."""
    key = {"tenant": tenant, "contract_id": contract_id, "package": package, "owner": owner, "limit": 1000}
    return rows(conn, "lots_of_wallet", key), rows(conn, "entries_of_wallet", key)


def owner_of(package: Package, event: UsageEvent) -> str | None:
    """Whose balance an event concerns; None for an event without member where members have balances."""
    return CONTRACT_OWNER if package.owner == "contract" else event.dimensions.get("member")


def units_of(package: Package, event: UsageEvent) -> Decimal:
    return _in_units(package, package.takes[event.product] * event.quantity)


def _in_units(package: Package, amount: Decimal) -> Decimal:
    """Money is taken in whole minor units, other units with six decimals; rounded once."""
    decimals = 0 if package.in_money else 6
    return Decimal(round_half_away_from_zero(Fraction(amount) * 10**decimals)).scaleb(-decimals)


def _end(conn: Connection, lot: Row, remaining: Decimal, ended_at: datetime, now: datetime) -> None:
    values = {
        **{name: lot[name] for name in ("tenant", "contract_id", "package", "owner", "lot_id")},
        "kind": "expired",
        "quantity": remaining,
        "ingest_sequence": None,
        "pays": None,
        "occurred_at": ended_at,
        "written_at": now,
    }
    execute(conn, "insert_wallet_entry", values)


def _remaining(conn: Connection, lot: Row) -> Decimal:
    return Decimal(one_row(conn, "lot_remaining", lot)["remaining"])


def _lock_balance(conn: Connection, row: Row) -> None:
    _lock(conn, row["tenant"], f"{row['contract_id']}:{row['package']}:{row['owner']}")


def _lock(conn: Connection, tenant: str, key: str) -> None:
    rows(conn, "lock_wallet", {"tenant": tenant, "key": key})
