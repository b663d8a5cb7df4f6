"""Totals of delivered usage by local day: quick to ask for limits, forecasts and plots; statements never use them.

They are kept up to a decision and read together with what was decided since, so that they are never behind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg

from billing.metering.usage_totals import UsageGroup, UsageTotals
from billing.queries import execute, one_row, rows
from billing.rating import aggregate

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class UsageDay:
    """What was delivered on one local day of the contract, as far as a price or a limit tells it apart.

    is_prepaid: taken from a package. peak: the highest quantity of one event. amount_minor: sum of what they carry.
    """

    day: date
    product: str
    meter: str
    dimensions: Mapping[str, str]
    is_prepaid: bool
    quantity: Decimal
    event_count: int
    peak: Decimal
    amount_minor: int = 0
    amount_currency: str = ""


def refresh(conn: Connection, tenant: str) -> bool:
    """Add up what was decided since; False where somebody records just now, then the next call does it.

    A decision with a lower sequence that commits later would be missed; so for the moment in which the last
    sequence is read nobody records.
    """
    with conn.transaction(force_rollback=True):  # a savepoint: the lock ends with it
        if not one_row(conn, "try_lock_for_totals", {"tenant": tenant})["is_locked"]:
            return False
        until = aggregate.last_decision(conn, tenant)
    execute(conn, "insert_usage_day_head", {"tenant": tenant})
    after = one_row(conn, "lock_usage_day_head", {"tenant": tenant})["sequence"]
    if until > after:
        values = {"tenant": tenant, "after": after, "until": until}
        execute(conn, "add_to_usage_days", values)
        execute(conn, "set_usage_day_head", values)
    return True


def read(conn: Connection, tenant: str, contract_id: int, first: date, end: date) -> list[UsageDay]:
    """The days of [first, end), oldest first."""
    values = {"tenant": tenant, "contract_id": contract_id, "first": first, "end": end}
    return [
        UsageDay(
            row["day"],
            row["product"],
            row["meter"],
            row["dimensions"],
            row["is_prepaid"],
            row["quantity"],
            row["event_count"],
            row["peak"],
            int(row["amount_minor"]),
            row["amount_currency"],
        )
        for row in rows(conn, "usage_days", values)
    ]


def totals(days: Sequence[UsageDay], names: Sequence[str]) -> UsageTotals:
    """What rating takes; names: the dimensions that the contract's prices tell apart.

    What a price limits by the amount of a single event is not known here: a carried amount counts in full.
    """
    groups: dict[tuple[str, str, tuple[tuple[str, str], ...], str], list[UsageDay]] = defaultdict(list)
    for one in days:
        told = tuple((name, one.dimensions[name]) for name in names if name in one.dimensions)
        groups[one.product, one.meter, told, one.amount_currency].append(one)
    return UsageTotals(
        tuple(
            UsageGroup(
                product,
                sum((one.quantity for one in found), Decimal(0)),
                sum(one.event_count for one in found),
                max(one.peak for one in found),
                dict(told),
                meter,
                sum(one.amount_minor for one in found),
                currency,
                is_refund=sum(one.amount_minor for one in found) < 0,
            )
            for (product, meter, told, currency), found in sorted(groups.items())
        ),
        "",
    )
