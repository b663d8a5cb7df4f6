"""Meter: record once what happened, and decide once whether it may be charged.

The event, its decision and the claim of the case key are written in the caller's transaction, together
with the fact they speak of; they stand or fall with it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from billing import explain, wallet
from billing.decide import POLICY, Decision, Outcome, Reason, decide
from billing.errors import NotQuarantined, UsageEventConflict, UsageEventNotFound
from billing.lock import lock_for_recording
from billing.queries import Row, first_row, one_row
from billing.usage import UsageEvent, plain
from billing.wallet import Taken

Connection = psycopg.Connection[Any]


def case_key(secret: bytes, study_instance_uid: str, product: str, question: str) -> str:
    """HMAC-SHA256 (hex) that names a case to billing; only the holder of `secret` can tell which study it is.

    question: the clinical request, or the digest of the series read; another question is another case.
    """
    parts = (study_instance_uid, product, question)
    message = b"".join(len(part.encode()).to_bytes(4) + part.encode() for part in parts)
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


def record(conn: Connection, event: UsageEvent, *, received_at: datetime | None = None) -> Decision:
    """Record `event` and decide about it; the same event again returns the first decision.

    received_at: when billing heard of it; now, unless a test's clock says otherwise.
    Raises `UsageEventConflict` where the id is known with another payload.
    """
    received_at = received_at or datetime.now(UTC)
    lock_for_recording(conn, event.tenant)
    sequence = _insert_event(conn, event, received_at)
    if sequence is None:
        return _first_decision(conn, event)
    claim = _Claim(conn, event, sequence, 1, "policy", received_at, _find_version(conn, event))
    outcome, reason = decide(event, received_at, has_contract=claim.version is not None)
    return claim.write(outcome, reason)


def release(conn: Connection, tenant: str, source: str, event_id: str, decided_by: str) -> Decision:
    """Decide a quarantined event by the policy after all, on a person's word."""
    claim = _quarantined(conn, tenant, source, event_id, decided_by)
    has_contract = claim.version is not None
    outcome, reason = decide(claim.event, claim.decided_at, has_contract=has_contract, is_clock_checked=False)
    return claim.write(outcome, reason)


def dismiss(conn: Connection, tenant: str, source: str, event_id: str, decided_by: str) -> Decision:
    """Decide that a quarantined event is not charged, on a person's word."""
    return _quarantined(conn, tenant, source, event_id, decided_by).write(
        Outcome.NOT_BILLABLE, Reason.DISMISSED
    )


_BY_TAKEN = {Taken.TAKEN: Reason.PREPAID, Taken.PAID_ALREADY: Reason.ALREADY_CHARGED}


@dataclass(frozen=True)
class _Claim:
    """One event on its way to a decision. version: (contract id, version) that prices it, if any."""

    conn: Connection
    event: UsageEvent
    sequence: int
    revision: int
    decided_by: str
    decided_at: datetime
    version: tuple[int, int] | None

    def write(self, outcome: Outcome, reason: Reason) -> Decision:
        """Write the decision; whoever comes second for a case key gets `already_charged`.

        ON CONFLICT waits for a transaction that holds the same key, so two at once cannot both win.
        What a prepaid package covers is taken from it; a purchase of one brings its lot.
        """
        prepaid = outcome is Outcome.BILLABLE and self._prepaid_version()
        if prepaid:
            taken = wallet.take(self.conn, self.event, self.sequence, *prepaid, self.decided_at)
            if taken is not Taken.NOTHING:
                outcome, reason = Outcome.NOT_BILLABLE, _BY_TAKEN[taken]
        if not self._insert(outcome, reason):
            outcome, reason = Outcome.NOT_BILLABLE, Reason.ALREADY_CHARGED
            assert self._insert(outcome, reason), "a decision that is not billable claims nothing"
        if prepaid and outcome is Outcome.BILLABLE:
            wallet.add_lot(self.conn, self.event, self.sequence, *prepaid, self.decided_at)
        contract_id = self.version[0] if self.version else None
        return Decision(outcome, reason, explain.reason(reason, "en"), self.event.case_key, contract_id)

    def _prepaid_version(self) -> tuple[int, int] | None:
        """The version, where it has a package for the product."""
        product = self.event.product
        if self.version and wallet.is_prepaid(self.conn, self.event.tenant, *self.version, product):
            return self.version
        return None

    def _insert(self, outcome: Outcome, reason: Reason) -> bool:
        contract_id, version = self.version or (None, None)
        row = first_row(
            self.conn,
            "insert_decision",
            {
                "tenant": self.event.tenant,
                "ingest_sequence": self.sequence,
                "kind": str(self.event.kind),
                "revision": self.revision,
                "outcome": outcome,
                "reason_code": reason,
                "explanation": explain.reason(reason, "en"),
                "policy": POLICY,
                "contract_id": contract_id,
                "contract_version": version,
                "case_key": self.event.case_key,
                "decided_by": self.decided_by,
                "decided_at": self.decided_at,
            },
        )
        return row is not None


def _insert_event(conn: Connection, event: UsageEvent, received_at: datetime) -> int | None:
    values = {
        "tenant": event.tenant,
        "source": event.source,
        "event_id": event.event_id,
        "kind": str(event.kind),
        "product": event.product,
        "quantity": plain(event.quantity),
        "occurred_at": event.occurred_at,
        "received_at": received_at,
        "study_ref": event.study_ref,
        "case_key": event.case_key,
        "dimensions": Jsonb(dict(event.dimensions)),
        "evidence": Jsonb(dict(event.evidence)),
        "payload_hash": event.payload_hash,
        "amount_minor": event.amount_minor,
        "amount_currency": event.amount_currency,
        "meter": event.meter,
    }
    row = first_row(conn, "insert_event", values)
    return None if row is None else int(row["ingest_sequence"])


def _find_version(conn: Connection, event: UsageEvent) -> tuple[int, int] | None:
    """(contract id, version) in force when the event occurred that prices its product."""
    values = {"tenant": event.tenant, "occurred_at": event.occurred_at, "product": event.product}
    row = first_row(conn, "find_version", {**values, "meter": event.priced_meter})
    return None if row is None else (row["contract_id"], row["version"])


def _first_decision(conn: Connection, event: UsageEvent) -> Decision:
    values = {"tenant": event.tenant, "source": event.source, "event_id": event.event_id}
    row = one_row(conn, "first_decision", values)  # an event and its decision are written together
    if bytes(row["payload_hash"]) != event.payload_hash:
        raise UsageEventConflict(event.source, event.event_id)
    return decision_of(row)


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


def _quarantined(conn: Connection, tenant: str, source: str, event_id: str, decided_by: str) -> _Claim:
    lock_for_recording(conn, tenant)
    row = first_row(conn, "usage_by_id", {"tenant": tenant, "source": source, "event_id": event_id})
    if row is None:
        raise UsageEventNotFound(f"no usage event {event_id!r} of source {source!r}")
    if row["outcome"] != Outcome.QUARANTINED:
        raise NotQuarantined(f"event {event_id!r} is decided: {row['outcome']}")
    event, now = event_of(row), datetime.now(UTC)
    version = _find_version(conn, event)
    return _Claim(conn, event, row["ingest_sequence"], row["revision"] + 1, decided_by, now, version)
