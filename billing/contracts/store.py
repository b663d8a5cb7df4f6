"""Contracts, usage and statements as they lie in the database; always in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import psycopg

from billing.contracts import continuity
from billing.contracts import contract as contracts
from billing.contracts.contract import Contract
from billing.errors import ContractNotFound, ContractOverlap, ContractVersionRefused, StatementNotFound
from billing.lock import lock_for_cutoff
from billing.metering.decide import Decision
from billing.metering.meter import decision_of, event_of
from billing.metering.usage import UsageEvent
from billing.period import Period
from billing.queries import Row, execute, one_row, rows
from billing.statements import statement_record
from billing.statements.statement_record import Statement

Connection = psycopg.Connection[Any]
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


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
    """A usage event and its current decision.

    ingest_sequence: pass the last one as `before` for the next page.
    statement_id: the statement that charged it, if one was issued.
    """

    ingest_sequence: int
    event: UsageEvent
    received_at: datetime
    decision: Decision
    statement_id: int | None


def add_contract(conn: Connection, tenant: str, yaml_text: str) -> int:
    """Store a contract, or the next version of the one that has its name.

    The same text again changes nothing.
    Raises `ContractError`, `ContractOverlap`, `ContractVersionRefused`.
    """
    contract = contracts.load(yaml_text)
    lock_for_cutoff(conn, tenant)
    known = rows(conn, "contract_by_name", {"tenant": tenant, "name": contract.name})
    if known and known[0]["source_sha256"] == contract.source_sha256:
        return int(known[0]["contract_id"])
    if known:
        _require_next_version(conn, tenant, known[0], contract)
    contract_id = int(known[0]["contract_id"]) if known else None
    _refuse_overlap(conn, tenant, contract_id, contract)
    for party in (contract.seller, contract.buyer, *contract.parties):
        execute(conn, "upsert_party", {"tenant": tenant, "party_id": party.id, "legal_name": party.name})
    if contract_id is None:
        contract_id = _insert_contract(conn, tenant, contract)
    version = known[0]["version"] + 1 if known else 1
    _insert_version(conn, tenant, contract_id, version, contract, yaml_text)
    return contract_id


def list_parties(conn: Connection, tenant: str) -> dict[str, str]:
    """Id → legal name of every party that a contract of the tenant names."""
    return {row["party_id"]: row["legal_name"] for row in rows(conn, "parties", {"tenant": tenant})}


def party_exists(conn: Connection, tenant: str, party_id: str) -> bool:
    """Whether a contract of the tenant names this party."""
    return bool(rows(conn, "party_exists", {"tenant": tenant, "party_id": party_id}))


def list_contracts(conn: Connection, tenant: str) -> list[StoredContract]:
    """The latest version of each contract, by id."""
    return [_stored(row) for row in rows(conn, "latest_versions", {"tenant": tenant})]


def contract_text(conn: Connection, tenant: str, contract_id: int, version: int) -> str:
    """The YAML of a version, as it was stored."""
    values = {"tenant": tenant, "contract_id": contract_id, "version": version}
    return str(one_row(conn, "version_text", values)["source_text"])


def contract_at(conn: Connection, tenant: str, contract_id: int, instant: datetime) -> StoredContract:
    """The version in force at `instant`; raises `ContractNotFound`."""
    values = {"tenant": tenant, "contract_id": contract_id, "instant": instant}
    found = rows(conn, "version_at", values)
    if not found:
        raise ContractNotFound(f"no contract {contract_id} was in force at {instant.isoformat()}")
    return _stored(found[0])


def list_usage(
    conn: Connection,
    tenant: str,
    limit: int = 100,
    before: int | None = None,
    *,
    source: str | None = None,
    event_id: str | None = None,
) -> list[RecordedUsage]:
    """Usage with its current decision, latest first; of all sources and ids, unless one is named.

    before: an ingest sequence, exclusive.
    """
    values = {"tenant": tenant, "limit": limit, "before": before, "source": source, "event_id": event_id}
    return [recorded(row) for row in rows(conn, "usage_page", values)]


def usage_for_study(conn: Connection, tenant: str, study_ref: str) -> list[RecordedUsage]:
    """Everything recorded for one study, in the order of recording."""
    found = rows(conn, "usage_of_study", {"tenant": tenant, "study_ref": study_ref})
    return [recorded(row) for row in found]


def usage_of_statement(conn: Connection, tenant: str, statement: Statement) -> list[RecordedUsage]:
    """The cases behind a draft or an issued statement, charged or not, by the time they occurred.

    Of several payers' statements of a period the first holds the events; each shows those that its payer may owe a
    part of.
    """
    first = find_statement(conn, tenant, statement.contract_id, statement.period)
    values = {
        **period_values(tenant, statement.contract_id, statement.period, statement.cutoff_sequence),
        "statement_id": first.statement_id if first else None,
    }
    name = "usage_of_draft" if statement.statement_id is None else "usage_of_issued"
    payers = contract_at(conn, tenant, statement.contract_id, statement.period.start_at).contract.payers
    found = (recorded(row) for row in rows(conn, name, values))
    return [one for one in found if payers.may_owe(statement.payer.id, one.event.dimensions)]


def list_statements(
    conn: Connection, tenant: str, limit: int = 1000, payer_id: str | None = None
) -> list[Statement]:
    """Issued statements, latest first; of one payer where one is named."""
    values = {"tenant": tenant, "limit": limit, "payer_id": payer_id}
    return [_statement(row) for row in rows(conn, "statements", values)]


def get_statement(conn: Connection, tenant: str, statement_id: int) -> Statement:
    """An issued statement, as it was issued; raises `StatementNotFound`."""
    found = rows(conn, "statement_by_id", {"tenant": tenant, "statement_id": statement_id})
    if not found:
        raise StatementNotFound(f"no statement {statement_id}")
    return _statement(found[0])


def find_statement(conn: Connection, tenant: str, contract_id: int, period: Period) -> Statement | None:
    """The issued statement of a contract and period, if there is one; of several payers' the first's."""
    return next(iter(find_statements(conn, tenant, contract_id, period)), None)


def find_statements(conn: Connection, tenant: str, contract_id: int, period: Period) -> tuple[Statement, ...]:
    """The issued statements of a contract and period: one for each payer, in the order of issue."""
    values = {"tenant": tenant, "contract_id": contract_id, "starts_on": period.starts_on}
    return tuple(_statement(row) for row in rows(conn, "statement_by_period", values))


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
    latest = contract_at(conn, tenant, last["contract_id"], _END_OF_TIME).contract
    for problem in continuity.problems(latest, contract):
        raise ContractVersionRefused(problem)
    values = {
        "tenant": tenant,
        "contract_id": last["contract_id"],
        "effective_at": contract.effective_at,
        "priced": sorted({f"{rate.product} {rate.meter}" for rate in contract.rates}),
    }
    if rows(conn, "period_billed_after", values):
        raise ContractVersionRefused("a period after effective_from is billed already")
    dropped = rows(conn, "product_used_after", values)
    if dropped:
        raise ContractVersionRefused(
            f"{dropped[0]['product']!r} ({dropped[0]['meter']}) was used after effective_from and needs a price"
        )


def _refuse_overlap(conn: Connection, tenant: str, contract_id: int | None, contract: Contract) -> None:
    values = {
        "tenant": tenant,
        "contract_id": contract_id,
        "effective_at": contract.effective_at,
        "products": sorted(contract.products),
    }
    overlap = rows(conn, "overlapping_contract", values)
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
    return int(one_row(conn, "insert_contract", values)["contract_id"])


def _insert_version(
    conn: Connection, tenant: str, contract_id: int, version: int, contract: Contract, text: str
) -> None:
    key = {"tenant": tenant, "contract_id": contract_id, "version": version}
    execute(
        conn,
        "insert_version",
        {
            **key,
            "effective_from": contract.effective_from,
            "effective_at": contract.effective_at,
            "source_text": text,
            "source_sha256": contract.source_sha256,
        },
    )
    models = {(rate.product, rate.meter): rate.pricing.model for rate in reversed(contract.rates)}
    for (product, meter), model in models.items():
        execute(conn, "insert_rate", {**key, "product": product, "meter": meter, "pricing_model": model})
    for product in sorted(contract.limits.products_of_packages):
        execute(conn, "insert_contract_prepaid", {**key, "product": product})


def _stored(row: Row) -> StoredContract:
    return StoredContract(
        row["contract_id"], row["version"], contracts.load(row["source_text"]), row["first_day"]
    )


def recorded(row: Row) -> RecordedUsage:
    """A row of the view `current_usage`."""
    return RecordedUsage(
        row["ingest_sequence"], event_of(row), row["received_at"], decision_of(row), row["statement_id"]
    )


def _statement(row: Row) -> Statement:
    return statement_record.from_text(row["document"], row["statement_id"])
