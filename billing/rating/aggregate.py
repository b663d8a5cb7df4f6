"""Sums over recorded usage that rating and statements need; summed by the database, exact NUMERIC."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg

from billing.contracts.contract import GROUP_DIMENSIONS_MAX, Contract
from billing.contracts.store import period_values
from billing.metering.usage_totals import UsageGroup, UsageTotals, digest_set
from billing.period import Period
from billing.queries import Row, one_row, rows
from billing.rating import case_usage
from billing.rating.site_parts import Place
from billing.rating.treatment import FULL_PRICE, Treatment

Connection = psycopg.Connection[Any]
_GROUPED_BY = ("product", "meter", "told", "treatment", "amount_currency", "band", "is_refund")
# As many as a contract may tell usage apart by; the query asks for each.
_DIMENSION_SLOTS = tuple(f"dimension_{number}" for number in range(1, GROUP_DIMENSIONS_MAX + 1))


@dataclass(frozen=True)
class Billed:
    """What statements have charged so far under one line key of one service period."""

    quantity: Decimal
    amount_minor: int


def last_decision(conn: Connection, tenant: str) -> int:
    """The highest decision sequence, 0 before the first: the cutoff that takes in everything."""
    return int(one_row(conn, "last_decision", {"tenant": tenant})["last"])


def usage_totals(
    conn: Connection, tenant: str, contract_id: int, contract: Contract, period: Period, cutoff: int
) -> UsageTotals:
    """Billable usage of a contract and period that was decided up to `cutoff`.

    The database sums over everything that the contract does not tell apart. What its case rules and verdicts
    single out is named to it by event; everything else is treatment 0, the full price.
    """
    values, grouping = period_values(tenant, contract_id, period, cutoff), contract.grouping
    asked: dict[str, object] = {**dict.fromkeys(_DIMENSION_SLOTS), "thresholds": list(grouping.thresholds)}
    asked["is_shared"] = grouping.is_shared
    asked.update(zip(_DIMENSION_SLOTS, grouping.names, strict=False))
    by_event = case_usage.treatments(conn, contract, values)
    kinds = [FULL_PRICE, *sorted(set(by_event.values()), key=repr)]
    number_of = {kind: number for number, kind in enumerate(kinds)}
    singled = {
        "is_singled": bool(by_event),
        "sequences": list(by_event),
        "treatments": [number_of[kind] for kind in by_event.values()],
    }
    sums = rows(conn, "usage_totals", {**values, **asked, **singled})
    sums.sort(key=lambda row: repr([row[name] for name in _GROUPED_BY]))  # hashing gives them in any order
    set_sums = [sum(int(row[name]) for row in sums) for name in ("event_count", "hash_sum_1", "hash_sum_2")]
    return UsageTotals(tuple(_group(row, grouping.names, kinds) for row in sums), digest_set(*set_sums))


def _group(row: Row, names: Sequence[str], treatments: Sequence[Treatment]) -> UsageGroup:
    found = zip(names, row["told"], strict=False)
    return UsageGroup(
        product=row["product"],
        quantity=row["quantity"],
        event_count=row["event_count"],
        peak=row["peak"],
        dimensions={name: value for name, value in found if value is not None},
        meter=row["meter"],
        amount_minor=int(row["amount_minor"]),
        amount_currency=row["amount_currency"] or "",
        band=row["band"] or 0,
        is_refund=bool(row["is_refund"]),
        treatment=treatments[row["treatment"]],
    )


def not_charged(
    conn: Connection, tenant: str, contract_id: int, period: Period, cutoff: int
) -> Mapping[str, int]:
    """Events of the period that were decided not billable, counted by reason code."""
    found = rows(conn, "not_billable_counts", period_values(tenant, contract_id, period, cutoff))
    return {row["reason_code"]: row["event_count"] for row in found}


def quarantined_count(conn: Connection, tenant: str, contract_id: int, period: Period, cutoff: int) -> int:
    """Events up to the period's end that still wait for a decision, of this contract or of none."""
    values = period_values(tenant, contract_id, period, cutoff)
    return int(one_row(conn, "quarantined_count", values)["event_count"])


def periods_with_late_usage(
    conn: Connection, tenant: str, contract_id: int, before: Period, cutoff: int
) -> list[Period]:
    """Billed periods earlier than `before` that have billable events, or verdicts, which no statement holds yet."""
    values = period_values(tenant, contract_id, before, cutoff)
    found = [*rows(conn, "periods_with_late_usage", values), *rows(conn, "periods_with_new_verdicts", values)]
    by_start = {row["starts_on"]: row for row in found}
    return [
        Period(start, row["ends_on"], before.time_zone, row["full_days"])
        for start, row in sorted(by_start.items())
    ]


def billed_periods(conn: Connection, tenant: str, contract_id: int, before: Period) -> list[Period]:
    """Every period earlier than `before` that has a statement, in order."""
    values = {"tenant": tenant, "contract_id": contract_id, "starts_on": before.starts_on}
    found = rows(conn, "periods_billed_before", values)
    return [Period(row["starts_on"], row["ends_on"], before.time_zone, row["full_days"]) for row in found]


def billed_lines(
    conn: Connection, tenant: str, contract_id: int, service_period: Period, payer_id: str | None = None
) -> dict[str, Billed]:
    """Sums over all issued lines of a service period, by line key: the usage lines and their corrections.

    payer_id: of one payer; None: of all together.
    """
    values = {
        "tenant": tenant,
        "contract_id": contract_id,
        "starts_on": service_period.starts_on,
        "payer_id": payer_id,
    }
    found = rows(conn, "billed_lines", values)
    return {row["line_key"]: Billed(row["quantity"], int(row["amount_minor"])) for row in found}


def billed_site_parts(
    conn: Connection, tenant: str, contract_id: int, service_period: Period, payer_id: str
) -> dict[str, dict[Place, Billed]]:
    """What each site holds so far of a payer's issued lines of a service period, by line key."""
    values = {
        "tenant": tenant,
        "contract_id": contract_id,
        "starts_on": service_period.starts_on,
        "payer_id": payer_id,
    }
    parts: dict[str, dict[Place, Billed]] = defaultdict(dict)
    for row in rows(conn, "billed_site_parts", values):
        place = row["site"], row["department"]
        parts[row["line_key"]][place] = Billed(row["quantity"], int(row["amount_minor"]))
    return parts
