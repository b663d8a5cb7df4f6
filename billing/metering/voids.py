"""Void: an event that should not have been recorded is declared void by another event, with a reason.

What was recorded stays. The voided event's next decision is that it is not charged; where a statement has charged
it, the next statement takes it off. A correction is a void and a new event with its own id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from billing.errors import UsageEventNotFound, VoidRefused
from billing.guarding import wallet
from billing.guarding.limits_errors import PackageInUse
from billing.lock import lock_for_deciding_again, lock_for_recording
from billing.metering import meter
from billing.metering.claim import Draft, Version, decide_as
from billing.metering.decide import Decision, Outcome, Reason
from billing.metering.usage import Kind, UsageEvent
from billing.queries import Row, rows

Connection = psycopg.Connection[Any]
PERSON = "person"
"""Source of the voids that people declare."""


@dataclass(frozen=True)
class VoidRequest:
    """source, event_id: of the void itself. target: (source, event id) of the event that is to be void."""

    source: str
    event_id: str
    target: tuple[str, str]
    reason: str
    occurred_at: datetime


Refused = UsageEventNotFound | VoidRefused


def void(
    conn: Connection, tenant: str, source: str, event_id: str, *, reason: str, by: str, now: datetime
) -> Decision:
    """Declare an event void on a person's word; the event's decision from now on.

    Raises `UsageEventNotFound`, `VoidRefused`, `InvalidUsageEvent`.
    """
    # Derived from what it voids, so that an event is void once.
    name = hashlib.sha256(f"{len(source)}:{source}:{event_id}".encode()).hexdigest()[:32]
    request = VoidRequest(PERSON, f"void:{name}", (source, event_id), reason, now)
    [answer] = void_many(conn, tenant, [request], by=by, now=now)
    if isinstance(answer, Exception):
        raise answer
    if answer.status is not meter.Status.CREATED:
        raise VoidRefused(f"{event_id!r} is void already")
    return meter.decision_of(_targets(conn, tenant, [request])[source, event_id])


def void_many(
    conn: Connection, tenant: str, requests: Sequence[VoidRequest], *, by: str, now: datetime
) -> list[meter.Recorded | Refused]:
    """Record a batch of voids; for each what became of it, or why it is refused and nothing was recorded.

    The next delivery of a case whose event is voided takes its place: the case is charged once as long as one
    delivery of it stands.
    """
    lock_for_recording(conn, tenant)
    lock_for_deciding_again(conn, tenant)
    targets = _targets(conn, tenant, requests)
    known = meter.first_answers(conn, tenant, [(request.source, request.event_id) for request in requests])
    answers: list[meter.Recorded | Refused | UsageEvent] = []
    taken: set[tuple[str, str]] = set()
    for request in requests:
        target = targets.get(request.target)
        is_new = (request.source, request.event_id) not in known
        refusal = _refusal(request, target, is_new and request.target in taken, is_new)
        if refusal is None and is_new and target is not None and target["is_prepaid"]:
            refusal = _give_back(conn, target, now)
        taken.add(request.target)
        answers.append(refusal or _event_of(request, targets[request.target]))
    events = [answer for answer in answers if isinstance(answer, UsageEvent)]
    recorded = iter(meter.record_many(conn, tenant, events, received_at=now))
    done = [next(recorded) if isinstance(answer, UsageEvent) else answer for answer in answers]
    voided = [
        targets[request.target]
        for request, answer in zip(requests, done, strict=True)
        if isinstance(answer, meter.Recorded) and answer.status is meter.Status.CREATED
    ]
    _decide_void(conn, tenant, voided, by, now)
    return done


def _refusal(request: VoidRequest, target: Row | None, is_taken: bool, is_new: bool) -> Refused | None:
    source, event_id = request.target
    if target is None:
        return UsageEventNotFound(f"no usage event {event_id!r} of source {source!r}")
    if target["kind"] == Kind.VOID:
        return VoidRefused(f"{event_id!r} is itself a void: record a new event instead")
    if is_taken or (is_new and target["reason_code"] == Reason.VOIDED):
        return VoidRefused(f"{event_id!r} is void already")
    return None


def _give_back(conn: Connection, target: Row, now: datetime) -> VoidRefused | None:
    """What the event took from a package returns to it; a package that was bought by it ends."""
    try:
        with conn.transaction():
            wallet.give_back(conn, target["tenant"], target["ingest_sequence"], now)
    except PackageInUse as problem:
        return VoidRefused(str(problem))
    return None


def _event_of(request: VoidRequest, target: Row) -> UsageEvent:
    source, event_id = request.target
    return UsageEvent(
        tenant=target["tenant"],
        source=request.source,
        event_id=request.event_id,
        kind=Kind.VOID,
        product=target["product"],
        quantity=target["quantity"],
        occurred_at=request.occurred_at,
        study_ref=target["study_ref"],
        case_key=target["case_key"],
        evidence={"voided_source": source, "voided_event_id": event_id, "reason": request.reason},
    )


def _decide_void(conn: Connection, tenant: str, targets: Sequence[Row], by: str, now: datetime) -> None:
    if not targets:
        return
    drafts = [_draft(row, Outcome.NOT_BILLABLE, Reason.VOIDED) for row in targets]
    decide_as(conn, tenant, drafts, by, now)
    freed = [
        row for row in targets if row["outcome"] == Outcome.BILLABLE or row["reason_code"] == Reason.PREPAID
    ]
    values = {
        "tenant": tenant,
        "contracts": [row["contract_id"] for row in freed],
        "cases": [row["case_key"] for row in freed],
    }
    following = rows(conn, "next_of_cases", values)
    if following:
        decide_as(
            conn, tenant, [_draft(row, Outcome.BILLABLE, Reason.IN_PLACE) for row in following], "policy", now
        )


def _draft(row: Row, outcome: Outcome, reason: Reason) -> Draft:
    version = None
    if row["contract_id"] is not None:
        version = Version(row["contract_id"], row["contract_version"], row["is_prepaid"])
    return Draft(meter.event_of(row), row["ingest_sequence"], row["revision"] + 1, outcome, reason, version)


def _targets(conn: Connection, tenant: str, requests: Sequence[VoidRequest]) -> Mapping[tuple[str, str], Row]:
    """By source and id, the events that are to be void, with their current decisions."""
    values = {
        "tenant": tenant,
        "sources": [request.target[0] for request in requests],
        "event_ids": [request.target[1] for request in requests],
    }
    return {(row["source"], row["event_id"]): row for row in rows(conn, "usage_by_ids", values)}
