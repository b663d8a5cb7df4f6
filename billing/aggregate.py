"""Sums over recorded usage that rating and statements need; summed by the database, exact NUMERIC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg

from billing.period import Period
from billing.rate import UsageTotals
from billing.store import period_values, rows

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Billed:
    """What statements have charged so far under one line key of one service period."""

    quantity: Decimal
    amount_minor: int


def last_decision(conn: Connection, tenant: str) -> int:
    """The highest decision sequence of the tenant, 0 before the first: the cutoff that takes in everything."""
    return int(rows(conn, _LAST_DECISION, {"tenant": tenant})[0]["last"])


def usage_totals(conn: Connection, tenant: str, contract_id: int, period: Period, cutoff: int) -> UsageTotals:
    """Billable usage of a contract and period that was decided up to `cutoff`."""
    values = period_values(tenant, contract_id, period, cutoff)
    sums = rows(conn, _TOTALS, values)
    digest = rows(conn, _INPUTS_DIGEST, values)[0]["digest"]
    quantities = {row["product"]: row["quantity"] for row in sums}
    return UsageTotals(quantities, sum(row["event_count"] for row in sums), digest)


def not_charged(
    conn: Connection, tenant: str, contract_id: int, period: Period, cutoff: int
) -> Mapping[str, int]:
    """Events of the period that were decided not billable, counted by reason code."""
    found = rows(conn, _NOT_CHARGED, period_values(tenant, contract_id, period, cutoff))
    return {row["reason_code"]: row["event_count"] for row in found}


def quarantined_count(conn: Connection, tenant: str, contract_id: int, period: Period, cutoff: int) -> int:
    """Events up to the period's end that still wait for a decision, of this contract or of none."""
    found = rows(conn, _QUARANTINED, period_values(tenant, contract_id, period, cutoff))
    return int(found[0]["event_count"])


def periods_with_late_usage(
    conn: Connection, tenant: str, contract_id: int, before: Period, cutoff: int
) -> list[Period]:
    """Billed periods earlier than `before` that have billable events which no statement holds yet."""
    found = rows(conn, _LATE, period_values(tenant, contract_id, before, cutoff))
    return [Period(row["starts_on"], row["ends_on"], before.time_zone, row["full_days"]) for row in found]


def billed_lines(
    conn: Connection, tenant: str, contract_id: int, service_period: Period
) -> dict[str, Billed]:
    """Sums over all issued lines of a service period, by line key: the usage lines and their corrections."""
    values = {"tenant": tenant, "contract_id": contract_id, "starts_on": service_period.starts_on}
    found = rows(conn, _BILLED, values)
    return {row["line_key"]: Billed(row["quantity"], int(row["amount_minor"])) for row in found}


_LAST_DECISION = """
SELECT coalesce(max(decision_sequence), 0) AS last FROM billing.event_decision WHERE tenant = %(tenant)s
"""
_BILLABLE = """
FROM billing.event_decision d JOIN billing.usage_event e USING (tenant, ingest_sequence)
WHERE d.tenant = %(tenant)s AND d.contract_id = %(contract_id)s AND d.outcome = 'billable'
  AND d.decision_sequence <= %(cutoff)s AND e.occurred_at >= %(start_at)s AND e.occurred_at < %(end_at)s
"""
_TOTALS = (
    "SELECT e.product, sum(e.quantity) AS quantity, count(*) AS event_count"
    + _BILLABLE
    + "GROUP BY e.product ORDER BY e.product"
)
_INPUTS_DIGEST = (
    "SELECT encode(sha256(coalesce(string_agg(e.payload_hash, ''::bytea ORDER BY e.payload_hash), ''::bytea)), 'hex')"
    " AS digest" + _BILLABLE
)
# The current decision of an event is its last one up to the cutoff.
_CURRENT = """
FROM billing.event_decision d JOIN billing.usage_event e USING (tenant, ingest_sequence)
WHERE d.tenant = %(tenant)s AND d.decision_sequence <= %(cutoff)s AND e.occurred_at < %(end_at)s
  AND NOT EXISTS (
    SELECT 1 FROM billing.event_decision later WHERE later.tenant = d.tenant
    AND later.ingest_sequence = d.ingest_sequence AND later.revision > d.revision
    AND later.decision_sequence <= %(cutoff)s
  )
"""
_NOT_CHARGED = (
    "SELECT d.reason_code, count(*) AS event_count"
    + _CURRENT
    + "AND d.contract_id = %(contract_id)s AND d.outcome = 'not_billable' AND e.occurred_at >= %(start_at)s "
    "GROUP BY d.reason_code ORDER BY d.reason_code"
)
_QUARANTINED = (
    "SELECT count(*) AS event_count"
    + _CURRENT
    + "AND coalesce(d.contract_id, %(contract_id)s) = %(contract_id)s AND d.outcome = 'quarantined'"
)
_LATE = """
SELECT p.starts_on, p.ends_on, p.full_days FROM billing.period p
WHERE p.tenant = %(tenant)s AND p.contract_id = %(contract_id)s AND p.starts_on < %(starts_on)s AND EXISTS (
    SELECT 1 FROM billing.event_decision d JOIN billing.usage_event e USING (tenant, ingest_sequence)
    WHERE d.tenant = p.tenant AND d.contract_id = p.contract_id AND d.outcome = 'billable'
      AND d.decision_sequence > p.cutoff_sequence AND d.decision_sequence <= %(cutoff)s
      AND e.occurred_at >= p.starts_at AND e.occurred_at < p.ends_at
      AND NOT EXISTS (
        SELECT 1 FROM billing.statement_event s
        WHERE s.tenant = d.tenant AND s.ingest_sequence = d.ingest_sequence
      )
) ORDER BY p.starts_on
"""
_BILLED = """
SELECT l.line_key, sum(l.quantity) AS quantity, sum(l.amount_minor) AS amount_minor
FROM billing.statement_line l JOIN billing.statement s USING (tenant, statement_id)
WHERE l.tenant = %(tenant)s AND s.contract_id = %(contract_id)s AND l.service_start = %(starts_on)s
GROUP BY l.line_key
"""
