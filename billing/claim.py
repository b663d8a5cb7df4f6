"""Claim: which event a case is charged for. At most one per contract and case, whoever comes at the same time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from billing import explain, wallet
from billing.decide import POLICY, Decision, Outcome, Reason
from billing.queries import Row, execute, rows
from billing.usage import UsageEvent
from billing.wallet import Taken

Connection = psycopg.Connection[Any]
_BY_TAKEN = {Taken.TAKEN: Reason.PREPAID, Taken.PAID_ALREADY: Reason.ALREADY_CHARGED}


class Version(NamedTuple):
    """What prices an event. is_prepaid: a package is sold by its product, or taken for it."""

    contract_id: int
    number: int
    is_prepaid: bool


@dataclass(frozen=True)
class Draft:
    """What is to be decided about an event. version: what prices it, if anything does."""

    event: UsageEvent
    sequence: int
    revision: int
    outcome: Outcome
    reason: Reason
    version: Version | None


def decide_as(
    conn: Connection, tenant: str, drafts: Sequence[Draft], decided_by: str, decided_at: datetime
) -> list[Decision]:
    """Claim the cases and write the decisions; whoever comes second for a case gets `already_charged`.

    Claiming waits for a transaction that holds the same case, so two at once cannot both win; cases are claimed
    in the order of their keys, so two batches cannot wait for each other. What a prepaid package covers is taken
    from it and holds its case too; a purchase of one brings its lot.
    """
    holders = _claim(conn, tenant, [draft for draft in drafts if draft.outcome is Outcome.BILLABLE])
    settled = [_settle(draft, holders) for draft in drafts]
    for index in _prepaid(drafts, settled):
        settled[index] = _take(conn, drafts[index], decided_at) or settled[index]
    execute(conn, "insert_decisions", _columns(tenant, drafts, settled, decided_by, decided_at))
    return settled


def _settle(draft: Draft, holders: set[int]) -> Decision:
    if draft.outcome is Outcome.BILLABLE and draft.sequence not in holders:
        return _decision(draft, Outcome.NOT_BILLABLE, Reason.ALREADY_CHARGED)
    return _decision(draft, draft.outcome, draft.reason)


def _decision(draft: Draft, outcome: Outcome, reason: Reason) -> Decision:
    contract_id = draft.version.contract_id if draft.version else None
    return Decision(outcome, reason, explain.reason(reason, "en"), draft.event.case_key, contract_id)


def _prepaid(drafts: Sequence[Draft], settled: Sequence[Decision]) -> list[int]:
    """Indexes of what a package may cover or bring, by member: two batches lock balances in one order."""
    found = [
        index
        for index, draft in enumerate(drafts)
        if settled[index].is_billable and draft.version and draft.version.is_prepaid
    ]
    return sorted(found, key=lambda index: (drafts[index].event.dimensions.get("member", ""), index))


def _take(conn: Connection, draft: Draft, at: datetime) -> Decision | None:
    """The decision where a package covers the event; None where it stays billable."""
    assert draft.version is not None, "what is billable has a contract"
    contract = (draft.version.contract_id, draft.version.number)
    taken = wallet.take(conn, draft.event, draft.sequence, *contract, at)
    if taken is not Taken.NOTHING:
        return _decision(draft, Outcome.NOT_BILLABLE, _BY_TAKEN[taken])
    wallet.add_lot(conn, draft.event, draft.sequence, *contract, at)
    return None


def _columns(
    tenant: str, drafts: Sequence[Draft], settled: Sequence[Decision], decided_by: str, decided_at: datetime
) -> dict[str, object]:
    told = [
        {
            "ingest_sequence": draft.sequence,
            "kind": draft.event.kind,
            "revision": draft.revision,
            "outcome": decision.outcome,
            "reason_code": decision.reason_code,
            "explanation": decision.explanation,
            "contract_id": draft.version.contract_id if draft.version else None,
            "contract_version": draft.version.number if draft.version else None,
            "case_key": draft.event.case_key,
        }
        for draft, decision in zip(drafts, settled, strict=True)
    ]
    return {
        "tenant": tenant,
        "decisions": json.dumps(told),
        "policy": POLICY,
        "decided_by": decided_by,
        "decided_at": decided_at,
    }


def _claim(conn: Connection, tenant: str, drafts: Sequence[Draft]) -> set[int]:
    """The sequences that hold their case now; of several of one case the first."""
    wanted: dict[tuple[int, str], int] = {}
    for draft in drafts:
        assert draft.version is not None, "what is billable has a contract"
        wanted.setdefault((draft.version.contract_id, draft.event.case_key), draft.sequence)
    if not wanted:
        return set()
    values = {
        "tenant": tenant,
        "contracts": [contract_id for contract_id, _ in wanted],
        "cases": [case for _, case in wanted],
        "sequences": list(wanted.values()),
    }
    return {row["ingest_sequence"] for row in rows(conn, "claim_cases", values)}


def find_versions(
    conn: Connection, tenant: str, events: Sequence[UsageEvent]
) -> Mapping[tuple[str, str], Version]:
    """By source and id, the version in force when the event occurred that prices its product and meter."""
    products = sorted({event.product for event in events})
    found = rows(conn, "versions_of_products", {"tenant": tenant, "products": products})
    priced: dict[tuple[str, str], list[Row]] = {}
    for row in found:
        priced.setdefault((row["product"], row["meter"]), []).append(row)
    versions = {}
    for event in events:
        for row in priced.get((event.product, event.priced_meter), ()):
            if row["effective_at"] <= event.occurred_at and event.occurred_at < row["ends_at"]:
                version = Version(row["contract_id"], row["version"], row["is_prepaid"])
                versions[event.source, event.event_id] = version
                break
    return versions
