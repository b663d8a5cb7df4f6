"""Contracts, usage and statements as they lie in the database; always in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from billing import contract as contracts
from billing import statement_record
from billing.contract import Contract
from billing.decide import Decision
from billing.errors import ContractNotFound, ContractOverlap, ContractVersionRefused, StatementNotFound
from billing.lock import lock_for_cutoff
from billing.meter import decision_of, event_of
from billing.period import Period
from billing.statement_record import Statement
from billing.usage import UsageEvent

Connection = psycopg.Connection[Any]
Row = dict[str, Any]


@dataclass(frozen=True)
class StoredContract:
    """One version of a contract. first_day: when its first version began; the period grid starts there."""

    contract_id: int
    version: int
    contract: Contract
    first_day: date

    def period_of(self, instant: datetime) -> Period | None:
        """The billing period of `instant`; None before the contract began."""
        return self.contract.period_of(instant, self.first_day)


@dataclass(frozen=True)
class RecordedUsage:
    """A usage event and its current decision. ingest_sequence: pass the last one as `before` for the next page.

    statement_id: the statement that charged it, if one was issued.
    """

    ingest_sequence: int
    event: UsageEvent
    received_at: datetime
    decision: Decision
    statement_id: int | None


def rows(conn: Connection, query: str, values: Mapping[str, object]) -> list[Row]:
    """All rows of a query as dicts, whatever the connection's own row factory."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode(), values).fetchall()


def add_contract(conn: Connection, tenant: str, yaml_text: str) -> int:
    """Store a contract, or the next version of the one that has its name; the same text again changes nothing.

    Raises `ContractError`, `ContractOverlap`, `ContractVersionRefused`.
    """
    contract = contracts.load(yaml_text)
    lock_for_cutoff(conn, tenant)
    known = rows(conn, _CONTRACT_BY_NAME, {"tenant": tenant, "name": contract.name})
    if known and known[0]["source_sha256"] == contract.source_sha256:
        return int(known[0]["contract_id"])
    if known:
        _require_next_version(conn, tenant, known[0], contract)
    contract_id = int(known[0]["contract_id"]) if known else None
    _refuse_overlap(conn, tenant, contract_id, contract)
    for party in (contract.seller, contract.buyer):
        conn.execute(_UPSERT_PARTY, {"tenant": tenant, "party_id": party.id, "legal_name": party.name})
    if contract_id is None:
        contract_id = _insert_contract(conn, tenant, contract)
    version = known[0]["version"] + 1 if known else 1
    _insert_version(conn, tenant, contract_id, version, contract, yaml_text)
    return contract_id


def list_contracts(conn: Connection, tenant: str) -> list[StoredContract]:
    """The latest version of each contract, by id."""
    return [_stored(row) for row in rows(conn, _LATEST_VERSIONS, {"tenant": tenant})]


def contract_at(conn: Connection, tenant: str, contract_id: int, instant: datetime) -> StoredContract:
    """The version in force at `instant`; raises `ContractNotFound`."""
    values = {"tenant": tenant, "contract_id": contract_id, "instant": instant}
    found = rows(conn, _VERSION_AT, values)
    if not found:
        raise ContractNotFound(f"no contract {contract_id} was in force at {instant.isoformat()}")
    return _stored(found[0])


def list_usage(
    conn: Connection, tenant: str, limit: int = 100, before: int | None = None
) -> list[RecordedUsage]:
    """Usage with its current decision, latest first; `before`: an ingest sequence, exclusive."""
    values = {"tenant": tenant, "limit": limit, "before": before}
    return [_recorded(row) for row in rows(conn, _USAGE + _USAGE_PAGE, values)]


def usage_for_study(conn: Connection, tenant: str, study_ref: str) -> list[RecordedUsage]:
    """Everything recorded for one study, in the order of recording."""
    return [
        _recorded(row)
        for row in rows(conn, _USAGE + _USAGE_STUDY, {"tenant": tenant, "study_ref": study_ref})
    ]


def usage_of_period(
    conn: Connection, tenant: str, contract_id: int, period: Period, cutoff: int
) -> list[RecordedUsage]:
    """Everything of a contract and period that was decided up to `cutoff`, charged or not."""
    values = period_values(tenant, contract_id, period, cutoff)
    return [_recorded(row) for row in rows(conn, _USAGE_PERIOD, values)]


def usage_of_statement(conn: Connection, tenant: str, statement_id: int) -> list[RecordedUsage]:
    """The events that an issued statement charged, late ones of earlier periods among them."""
    values = {"tenant": tenant, "statement_id": statement_id}
    return [_recorded(row) for row in rows(conn, _USAGE + _USAGE_STATEMENT, values)]


def list_statements(conn: Connection, tenant: str, limit: int = 1000) -> list[Statement]:
    """Issued statements, latest first."""
    return [_statement(row) for row in rows(conn, _STATEMENTS, {"tenant": tenant, "limit": limit})]


def get_statement(conn: Connection, tenant: str, statement_id: int) -> Statement:
    """An issued statement, as it was issued; raises `StatementNotFound`."""
    found = rows(conn, _STATEMENT_BY_ID, {"tenant": tenant, "statement_id": statement_id})
    if not found:
        raise StatementNotFound(f"no statement {statement_id}")
    return _statement(found[0])


def find_statement(conn: Connection, tenant: str, contract_id: int, period: Period) -> Statement | None:
    """The issued statement of a contract and period, if there is one."""
    values = {"tenant": tenant, "contract_id": contract_id, "starts_on": period.starts_on}
    found = rows(conn, _STATEMENT_BY_PERIOD, values)
    return _statement(found[0]) if found else None


def period_values(tenant: str, contract_id: int, period: Period, cutoff: int) -> dict[str, object]:
    """Parameters of the queries about one contract, period and cutoff."""
    return {
        "tenant": tenant,
        "contract_id": contract_id,
        "start_at": period.start_at,
        "end_at": period.end_at,
        "starts_on": period.starts_on,
        "cutoff": cutoff,
    }


def _require_next_version(conn: Connection, tenant: str, last: Row, contract: Contract) -> None:
    fixed = {
        "seller_id": contract.seller.id,
        "buyer_id": contract.buyer.id,
        "currency": contract.currency,
        "time_zone": contract.time_zone,
        "anchor_day": contract.anchor_day,
    }
    changed = sorted(name for name, value in fixed.items() if last[name] != value)
    if changed:
        raise ContractVersionRefused(f"a new version cannot change: {', '.join(changed)}")
    if contract.effective_from <= last["effective_from"]:
        raise ContractVersionRefused(f"effective_from must be later than {last['effective_from']}")
    if not contract.is_period_start(contract.effective_from):
        raise ContractVersionRefused("effective_from must be the first day of a period")
    values = {
        "tenant": tenant,
        "contract_id": last["contract_id"],
        "effective_at": contract.effective_at,
        "products": sorted(contract.products),
    }
    if rows(conn, _BILLED_AFTER, values):
        raise ContractVersionRefused("a period after effective_from is billed already")
    dropped = rows(conn, _USED_BUT_DROPPED, values)
    if dropped:
        raise ContractVersionRefused(
            f"{dropped[0]['product']!r} was used after effective_from and needs a price"
        )


def _refuse_overlap(conn: Connection, tenant: str, contract_id: int | None, contract: Contract) -> None:
    values = {
        "tenant": tenant,
        "contract_id": contract_id,
        "effective_at": contract.effective_at,
        "products": sorted(contract.products),
    }
    overlap = rows(conn, _OVERLAP, values)
    if overlap:
        raise ContractOverlap(overlap[0]["product"], overlap[0]["name"])


def _insert_contract(conn: Connection, tenant: str, contract: Contract) -> int:
    values = {
        "tenant": tenant,
        "name": contract.name,
        "seller_id": contract.seller.id,
        "buyer_id": contract.buyer.id,
        "currency": contract.currency,
        "time_zone": contract.time_zone,
        "anchor_day": contract.anchor_day,
        "first_day": contract.effective_from,
    }
    return int(rows(conn, _INSERT_CONTRACT, values)[0]["contract_id"])


def _insert_version(
    conn: Connection, tenant: str, contract_id: int, version: int, contract: Contract, text: str
) -> None:
    key = {"tenant": tenant, "contract_id": contract_id, "version": version}
    conn.execute(
        _INSERT_VERSION,
        {
            **key,
            "effective_from": contract.effective_from,
            "effective_at": contract.effective_at,
            "source_text": text,
            "source_sha256": contract.source_sha256,
        },
    )
    for rate in contract.rates:
        conn.execute(_INSERT_RATE, {**key, "product": rate.product, "pricing_model": rate.pricing.model})


def _stored(row: Row) -> StoredContract:
    return StoredContract(
        row["contract_id"], row["version"], contracts.load(row["source_text"]), row["first_day"]
    )


def _recorded(row: Row) -> RecordedUsage:
    return RecordedUsage(
        row["ingest_sequence"], event_of(row), row["received_at"], decision_of(row), row["statement_id"]
    )


def _statement(row: Row) -> Statement:
    return statement_record.from_text(row["document"], row["statement_id"])


_CONTRACT_BY_NAME = """
SELECT c.*, v.version, v.effective_from, v.source_sha256 FROM billing.contract c
JOIN billing.contract_version v USING (tenant, contract_id)
WHERE c.tenant = %(tenant)s AND c.name = %(name)s ORDER BY v.version DESC LIMIT 1
"""
_BILLED_AFTER = """
SELECT 1 FROM billing.period
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND ends_at > %(effective_at)s LIMIT 1
"""
_USED_BUT_DROPPED = """
SELECT e.product FROM billing.event_decision d JOIN billing.usage_event e USING (tenant, ingest_sequence)
WHERE d.tenant = %(tenant)s AND d.contract_id = %(contract_id)s AND d.outcome = 'billable'
  AND e.occurred_at >= %(effective_at)s AND e.product <> ALL (%(products)s) LIMIT 1
"""
# Another contract overlaps where a version of it that is in force at effective_at, or comes later, prices
# one of the products.
_OVERLAP = """
SELECT r.product, c.name FROM billing.contract_rate r
JOIN billing.contract_version v USING (tenant, contract_id, version)
JOIN billing.contract c USING (tenant, contract_id)
WHERE r.tenant = %(tenant)s AND r.product = ANY (%(products)s)
  AND r.contract_id IS DISTINCT FROM %(contract_id)s::bigint
  AND NOT EXISTS (
    SELECT 1 FROM billing.contract_version next WHERE next.tenant = v.tenant
    AND next.contract_id = v.contract_id AND next.version = v.version + 1 AND next.effective_at <= %(effective_at)s
  )
ORDER BY r.product LIMIT 1
"""
_UPSERT_PARTY = """
INSERT INTO billing.party (tenant, party_id, legal_name) VALUES (%(tenant)s, %(party_id)s, %(legal_name)s)
ON CONFLICT (tenant, party_id) DO UPDATE SET legal_name = excluded.legal_name
"""
_INSERT_CONTRACT = """
INSERT INTO billing.contract (tenant, name, seller_id, buyer_id, currency, time_zone, anchor_day, first_day)
VALUES (%(tenant)s, %(name)s, %(seller_id)s, %(buyer_id)s, %(currency)s, %(time_zone)s, %(anchor_day)s, %(first_day)s)
RETURNING contract_id
"""
_INSERT_VERSION = """
INSERT INTO billing.contract_version
    (tenant, contract_id, version, effective_from, effective_at, source_text, source_sha256)
VALUES (%(tenant)s, %(contract_id)s, %(version)s, %(effective_from)s, %(effective_at)s, %(source_text)s,
    %(source_sha256)s)
"""
_INSERT_RATE = """
INSERT INTO billing.contract_rate (tenant, contract_id, version, product, pricing_model)
VALUES (%(tenant)s, %(contract_id)s, %(version)s, %(product)s, %(pricing_model)s)
"""
_LATEST_VERSIONS = """
SELECT DISTINCT ON (c.contract_id) c.contract_id, c.first_day, v.version, v.source_text
FROM billing.contract c JOIN billing.contract_version v USING (tenant, contract_id)
WHERE c.tenant = %(tenant)s ORDER BY c.contract_id, v.version DESC
"""
_VERSION_AT = """
SELECT c.contract_id, c.first_day, v.version, v.source_text
FROM billing.contract c JOIN billing.contract_version v USING (tenant, contract_id)
WHERE c.tenant = %(tenant)s AND c.contract_id = %(contract_id)s AND v.effective_at <= %(instant)s
ORDER BY v.effective_at DESC LIMIT 1
"""
_USAGE = """
SELECT e.*, d.outcome, d.reason_code, d.explanation, d.contract_id, s.statement_id FROM billing.usage_event e
JOIN LATERAL (
    SELECT * FROM billing.event_decision d WHERE d.tenant = e.tenant AND d.ingest_sequence = e.ingest_sequence
    ORDER BY d.revision DESC LIMIT 1
) d ON true
LEFT JOIN billing.statement_event s ON s.tenant = e.tenant AND s.ingest_sequence = e.ingest_sequence
WHERE e.tenant = %(tenant)s
"""
_USAGE_PAGE = """
AND (%(before)s::bigint IS NULL OR e.ingest_sequence < %(before)s::bigint)
ORDER BY e.ingest_sequence DESC LIMIT %(limit)s
"""
_USAGE_STUDY = "AND e.study_ref = %(study_ref)s ORDER BY e.ingest_sequence"
_USAGE_STATEMENT = "AND s.statement_id = %(statement_id)s ORDER BY e.occurred_at, e.ingest_sequence"
_USAGE_PERIOD = """
SELECT e.*, d.outcome, d.reason_code, d.explanation, d.contract_id, s.statement_id FROM billing.usage_event e
JOIN LATERAL (
    SELECT * FROM billing.event_decision d WHERE d.tenant = e.tenant AND d.ingest_sequence = e.ingest_sequence
    AND d.decision_sequence <= %(cutoff)s ORDER BY d.revision DESC LIMIT 1
) d ON true
LEFT JOIN billing.statement_event s ON s.tenant = e.tenant AND s.ingest_sequence = e.ingest_sequence
WHERE e.tenant = %(tenant)s AND d.contract_id = %(contract_id)s
  AND e.occurred_at >= %(start_at)s AND e.occurred_at < %(end_at)s
ORDER BY e.occurred_at, e.ingest_sequence
"""
_STATEMENTS = """
SELECT statement_id, document FROM billing.statement WHERE tenant = %(tenant)s
ORDER BY issued_at DESC, statement_id DESC LIMIT %(limit)s
"""
_STATEMENT_BY_ID = """
SELECT statement_id, document FROM billing.statement
WHERE tenant = %(tenant)s AND statement_id = %(statement_id)s
"""
_STATEMENT_BY_PERIOD = """
SELECT statement_id, document FROM billing.statement
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND period_start = %(starts_on)s
"""
