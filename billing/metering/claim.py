"""Claim: which event a case is charged for. At most one per contract and case, whoever comes at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from billing.guarding import wallet
from billing.guarding.wallet import Taken
from billing.metering.decide import POLICY, Decision, Outcome, Reason
from billing.metering.usage import UsageEvent
from billing.queries import execute, one_row, packed, rows, unpacked
from billing.rating import explain

Connection = psycopg.Connection[Any]
_BY_TAKEN = {Taken.TAKEN: Reason.PREPAID, Taken.PAID_ALREADY: Reason.ALREADY_CHARGED}


class Version(NamedTuple):
    """What prices an event. is_prepaid: a package is sold by its product, or taken for it."""

    contract_id: int
    number: int
    is_prepaid: bool


Terms = Mapping[tuple[str, str], Sequence[tuple[datetime, datetime, Version]]]
"""By product and meter the versions that price it, with the instants at which each begins and ends."""


class Draft(NamedTuple):
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
    versions = [draft.version for draft in drafts]
    return {
        "tenant": tenant,
        "ingest_sequence": packed([str(draft.sequence) for draft in drafts]),
        "kind": packed([draft.event.kind for draft in drafts]),
        "revision": packed([str(draft.revision) for draft in drafts]),
        "outcome": packed([decision.outcome for decision in settled]),
        "reason_code": packed([decision.reason_code for decision in settled]),
        "explanation": packed([decision.explanation for decision in settled]),
        "contract_id": packed([str(version.contract_id) if version else "" for version in versions]),
        "contract_version": packed([str(version.number) if version else "" for version in versions]),
        "case_key": packed([decision.case_key for decision in settled]),
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
    cases = sorted(wanted)
    values = {
        "tenant": tenant,
        "contract_id": packed([str(contract_id) for contract_id, _ in cases]),
        "case_key": packed([case for _, case in cases]),
        "ingest_sequence": packed([str(wanted[case]) for case in cases]),
    }
    return set(map(int, unpacked(one_row(conn, "claim_cases", values)["sequences"])))


def find_terms(conn: Connection, tenant: str, events: Iterable[UsageEvent]) -> Terms:
    """What prices the products of these events, at whatever time. It holds while nobody changes contracts: under
    `lock_for_recording`."""
    products = sorted({event.product for event in events})
    terms: dict[tuple[str, str], list[tuple[datetime, datetime, Version]]] = {}
    for row in rows(conn, "versions_of_products", {"tenant": tenant, "products": products}):
        version = Version(row["contract_id"], row["version"], row["is_prepaid"])
        term = (row["effective_at"], row["ends_at"], version)
        terms.setdefault((row["product"], row["meter"]), []).append(term)
    return terms


def find_versions(terms: Terms, events: Sequence[UsageEvent]) -> list[Version | None]:
    """Of each event the version in force when it occurred that prices its product and meter."""
    versions: list[Version | None] = []
    for event in events:
        at = event.occurred_at
        for begins_at, ends_at, version in terms.get((event.product, event.priced_meter), ()):
            if begins_at <= at < ends_at:
                versions.append(version)
                break
        else:
            versions.append(None)
    return versions


def find_version(conn: Connection, tenant: str, event: UsageEvent) -> Version | None:
    """The same of a single event."""
    return find_versions(find_terms(conn, tenant, [event]), [event])[0]
