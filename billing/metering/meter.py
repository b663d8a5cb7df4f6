"""Meter: record once what happened, and decide once whether it may be charged.

Events, their decisions and the claims of their case keys are written in the caller's transaction, together
with the facts they speak of; they stand or fall with them. One event and a thousand take the same few statements.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

import psycopg

from billing.errors import NotQuarantined, UsageEventConflict, UsageEventNotFound
from billing.lock import lock_for_deciding_again, lock_for_recording
from billing.metering import verdicts
from billing.metering.claim import Draft, Terms, decide_as, find_terms, find_version, find_versions
from billing.metering.decide import Decision, Outcome, Reason, decide
from billing.metering.usage import Kind, UsageEvent
from billing.queries import Row, first_row, one_row, packed, rows, unpacked

Connection = psycopg.Connection[Any]


def case_key(secret: bytes, study_instance_uid: str, product: str, question: str) -> str:
    """HMAC-SHA256 (hex) that names a case to billing; only the holder of `secret` can tell which study it is.

    question: the clinical request, or the digest of the series read; another question is another case.
    """
    parts = (study_instance_uid, product, question)
    message = b"".join(len(part.encode()).to_bytes(4) + part.encode() for part in parts)
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


class Status(StrEnum):
    """What became of an event that was sent."""

    CREATED = "created"
    KNOWN = "known"
    """It was recorded before: the first answer again."""
    CONFLICT = "conflict"
    """Its id was recorded before with another payload; the first stays as it is."""


class Recorded(NamedTuple):
    """sequence, decision: of the event that is stored under the id; of a conflict, of the first one."""

    status: Status
    sequence: int
    decision: Decision


def record(conn: Connection, event: UsageEvent, *, received_at: datetime | None = None) -> Decision:
    """Record `event` and decide about it; the same event again returns the first decision.

    received_at: when billing heard of it; now, unless a test's clock says otherwise.
    Raises `UsageEventConflict` where the id is known with another payload.
    """
    [recorded] = record_many(conn, event.tenant, [event], received_at=received_at or datetime.now(UTC))
    if recorded.status is Status.CONFLICT:
        raise UsageEventConflict(event.source, event.event_id)
    return recorded.decision


def record_many(
    conn: Connection, tenant: str, events: Sequence[UsageEvent], *, received_at: datetime
) -> list[Recorded]:
    """Record a batch of one tenant's events; what became of each, in their order.

    Of two with one id the first counts, as if they had come one after the other; so do two of one case.
    """
    lock_for_recording(conn, tenant)
    return record_priced(conn, tenant, events, find_terms(conn, tenant, events), received_at=received_at)


def record_priced(
    conn: Connection, tenant: str, events: Sequence[UsageEvent], terms: Terms, *, received_at: datetime
) -> list[Recorded]:
    """The same under `lock_for_recording`. terms: read since, of all products of the batch."""
    assert all(event.tenant == tenant for event in events), "a batch is one tenant's"
    for event in events:
        if event.kind == Kind.OUTCOME:
            verdicts.require_allowed(conn, event)
    first: dict[tuple[str, str], UsageEvent] = {}
    for event in events:
        first.setdefault((event.source, event.event_id), event)
    sequences = _insert_events(conn, tenant, first.values(), received_at)
    new = [(event, sequences[key]) for key, event in first.items() if key in sequences]
    made = _decide_first(conn, tenant, new, terms, received_at) if new else {}
    known = first_answers(conn, tenant, [key for key in first if key not in sequences])
    answers = []
    for event in events:
        key = (event.source, event.event_id)
        if key in made and event is first[key]:
            answers.append(Recorded(Status.CREATED, sequences[key], made[key]))
        elif key in made:
            status = Status.KNOWN if event.payload_hash == first[key].payload_hash else Status.CONFLICT
            answers.append(Recorded(status, sequences[key], made[key]))
        else:
            row = known[key]
            same = bytes(row["payload_hash"]) == event.payload_hash
            status = Status.KNOWN if same else Status.CONFLICT
            answers.append(Recorded(status, row["ingest_sequence"], decision_of(row)))
    return answers


def release(
    conn: Connection, tenant: str, source: str, event_id: str, decided_by: str, *, now: datetime | None = None
) -> Decision:
    """Decide a quarantined event by the policy after all, on a person's word."""
    now = now or datetime.now(UTC)
    row = _quarantined(conn, tenant, source, event_id)
    event = event_of(row)
    version = find_version(conn, tenant, event)
    outcome, reason = decide(event, now, has_contract=version is not None, is_clock_checked=False)
    draft = Draft(event, row["ingest_sequence"], row["revision"] + 1, outcome, reason, version)
    return decide_as(conn, tenant, [draft], decided_by, now)[0]


def dismiss(
    conn: Connection, tenant: str, source: str, event_id: str, decided_by: str, *, now: datetime | None = None
) -> Decision:
    """Decide that a quarantined event is not charged, on a person's word."""
    row = _quarantined(conn, tenant, source, event_id)
    event = event_of(row)
    version = find_version(conn, tenant, event)
    sequence, revision = row["ingest_sequence"], row["revision"] + 1
    draft = Draft(event, sequence, revision, Outcome.NOT_BILLABLE, Reason.DISMISSED, version)
    return decide_as(conn, tenant, [draft], decided_by, now or datetime.now(UTC))[0]


def _insert_events(
    conn: Connection, tenant: str, events: Iterable[UsageEvent], received_at: datetime
) -> dict[tuple[str, str], int]:
    """By source and id the sequences of those that were new."""
    ordered = sorted(events, key=lambda event: (event.source, event.event_id))
    values = {
        "tenant": tenant,
        "received_at": received_at,
        "source": packed([event.source for event in ordered]),
        "event_id": packed([event.event_id for event in ordered]),
        "kind": packed([event.kind for event in ordered]),
        "product": packed([event.product for event in ordered]),
        "quantity": packed([event.quantity_text for event in ordered]),
        "occurred_at": packed([event.occurred_text for event in ordered]),
        "study_ref": packed([event.study_ref for event in ordered]),
        "case_key": packed([event.case_key for event in ordered]),
        "dimensions": packed([event.dimensions_json for event in ordered]),
        "evidence": packed([event.evidence_json for event in ordered]),
        "hash": packed([event.payload_hash.hex() for event in ordered]),
        "amount_minor": packed(
            ["" if event.amount_minor is None else str(event.amount_minor) for event in ordered]
        ),
        "amount_currency": packed([event.amount_currency or "" for event in ordered]),
        "meter": packed([event.meter for event in ordered]),
    }
    made = one_row(conn, "insert_events_new", values)
    keys = zip(unpacked(made["sources"]), unpacked(made["event_ids"]), strict=True)
    return dict(zip(keys, map(int, unpacked(made["sequences"])), strict=True))


def _decide_first(
    conn: Connection, tenant: str, new: Sequence[tuple[UsageEvent, int]], terms: Terms, received_at: datetime
) -> dict[tuple[str, str], Decision]:
    drafts = []
    versions = find_versions(terms, [event for event, _ in new])
    for (event, sequence), version in zip(new, versions, strict=True):
        outcome, reason = decide(event, received_at, has_contract=version is not None)
        drafts.append(Draft(event, sequence, 1, outcome, reason, version))
    decisions = decide_as(conn, tenant, drafts, "policy", received_at)
    return {(event.source, event.event_id): made for (event, _), made in zip(new, decisions, strict=True)}


def first_answers(
    conn: Connection, tenant: str, keys: Sequence[tuple[str, str]]
) -> Mapping[tuple[str, str], Row]:
    if not keys:
        return {}
    values = {"tenant": tenant, "sources": [key[0] for key in keys], "event_ids": [key[1] for key in keys]}
    return {(row["source"], row["event_id"]): row for row in rows(conn, "first_decisions", values)}


def decision_of(row: Row) -> Decision:
    """A decision from its row."""
    reason = Reason(row["reason_code"])
    return Decision(Outcome(row["outcome"]), reason, row["explanation"], row["case_key"], row["contract_id"])


def event_of(row: Row) -> UsageEvent:
    """A usage event from its row."""
    return UsageEvent(
        tenant=row["tenant"],
        source=row["source"],
        event_id=row["event_id"],
        kind=row["kind"],
        product=row["product"],
        quantity=row["quantity"],
        occurred_at=row["occurred_at"],
        study_ref=row["study_ref"],
        case_key=row["case_key"],
        dimensions=row["dimensions"],
        evidence=row["evidence"],
        amount_minor=row["amount_minor"],
        amount_currency=row["amount_currency"],
        meter=row["meter"],
    )


def _quarantined(conn: Connection, tenant: str, source: str, event_id: str) -> Row:
    lock_for_recording(conn, tenant)
    lock_for_deciding_again(conn, tenant)
    row = first_row(conn, "usage_by_id", {"tenant": tenant, "source": source, "event_id": event_id})
    if row is None:
        raise UsageEventNotFound(f"no usage event {event_id!r} of source {source!r}")
    if row["outcome"] != Outcome.QUARANTINED:
        raise NotQuarantined(f"event {event_id!r} is decided: {row['outcome']}")
    return row
