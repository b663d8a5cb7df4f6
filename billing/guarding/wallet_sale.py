"""Selling a prepaid package by hand: a purchase is a usage event, like one that comes from elsewhere."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

from billing.contracts import store
from billing.guarding.limits_errors import PackageNotFound, PurchaseNotPossible
from billing.metering import meter
from billing.metering.decide import Decision
from billing.metering.usage import RESULT_METER, Kind, UsageEvent
from billing.queries import rows

Connection = psycopg.Connection[Any]
SOURCE = "wallet"


def sell(
    conn: Connection,
    tenant: str,
    contract_id: int,
    package_id: str,
    reference: str,
    *,
    quantity: Decimal = Decimal(1),
    member: str = "",
    now: datetime,
) -> Decision:
    """Record a purchase: it can be used at once and is on the next statement.

    reference: names the purchase; the same one again buys nothing more.
    Raises `PackageNotFound`, `PurchaseNotPossible`, `InvalidUsageEvent`.
    """
    contract = store.contract_at(conn, tenant, contract_id, now).contract
    package = next((one for one in contract.limits.packages if one.id == package_id), None)
    if package is None:
        raise PackageNotFound(f"contract {contract_id} has no prepaid package {package_id!r} now")
    if (package.owner == "member") != bool(member):
        raise PurchaseNotPossible("name a member where members have balances, and only there")
    rate = next(one for one in contract.rates if one.product == package.sold_by)
    event_id = f"{contract_id}:{package_id}:{reference}"
    for row in rows(conn, "usage_by_ids", {"tenant": tenant, "sources": [SOURCE], "event_ids": [event_id]}):
        if (row["quantity"], row["dimensions"].get("member", "")) != (quantity, member):
            raise PurchaseNotPossible(f"{reference!r} was sold before, to somebody else or in another number")
        return meter.decision_of(row)
    event = UsageEvent(
        tenant=tenant,
        source=SOURCE,
        event_id=event_id,
        kind=Kind.RESULT_DELIVERED if rate.meter == RESULT_METER else Kind.USAGE,
        product=package.sold_by,
        quantity=quantity,
        occurred_at=now,
        study_ref=f"purchase-{reference}",
        case_key=f"purchase:{package_id}:{reference}",
        dimensions={"member": member} if member else {},
        meter=rate.meter,
    )
    return meter.record(conn, event, received_at=now)
