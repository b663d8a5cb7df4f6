"""The outcome of a finished review: one verdict on the whole result, for billing and for the model's concordance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from billing.metering import meter, voids
from billing.metering.usage import Kind, UsageEvent, Verdict
from billing.queries import first_row
from billing.rating.case_errors import AdjudicatorIsPayee, OutcomeWithoutCase
from pipeline.database import Connection
from pipeline.store import StudyRecord
from pipeline.verdict_store import ResultKey
from study.review import Review, VerdictKind

SOURCE = "review"
_STANDS = frozenset({VerdictKind.ACCEPT, VerdictKind.EDIT})


class Judged(Protocol):
    """A finding or statement as the outcome needs it."""

    @property
    def finding_uid(self) -> str: ...
    @property
    def is_positive(self) -> bool: ...


def outcome_of(items: Sequence[Judged], review: Review) -> Verdict | None:
    """Whether the conclusion of the result stands; None where the reader could not tell.

    Rejected: a finding was missed, or a positive result has no finding that stands. Accepted: all else, so a false
    finding beside a true one does not make the result wrong.
    """
    if review.missed:
        return Verdict.REJECTED
    positive = [one for one in items if one.is_positive]
    said = [verdict.kind for one in positive if (verdict := review.of(one.finding_uid)) is not None]
    if not positive or any(kind in _STANDS for kind in said):
        return Verdict.ACCEPTED
    return None if VerdictKind.UNSURE in said else Verdict.REJECTED


def record(
    conn: Connection, study: StudyRecord, key: ResultKey, items: Sequence[Judged], review: Review, *, by: str
) -> str:
    """Record the outcome of a review that was just finished; what became of it, for the timeline.

    by: the party that judges. One outcome stands for a result: another one makes the earlier void. Who earns with the
    result may review it, and does not decide about money; a case that nobody charges has no outcome.
    """
    assert review.at is not None
    delivered = _event(conn, key, "pipeline", f"{study.id}:{key.product}:result_delivered:r{key.revision}")
    verdict = outcome_of(items, review)
    earlier = _standing(conn, key)
    if delivered is None:
        return "no delivered result"
    if earlier is not None and earlier.dimensions.get("verdict") == verdict:
        return f"{verdict} as before"
    if earlier is not None:
        _take_off(conn, key, earlier, at=review.at, by=by)
    if verdict is None:
        return "undecided"
    outcome = UsageEvent(
        tenant=key.tenant,
        source=SOURCE,
        event_id=f"{study.id}:{key.product}:outcome:r{key.revision}-{review.number}",
        kind=Kind.OUTCOME,
        product=key.product,
        quantity=Decimal(1),
        # A clock that was set back must not let the verdict come before the delivery.
        occurred_at=max(review.at, delivered.occurred_at),
        study_ref=str(study.id),
        case_key=delivered.case_key,
        dimensions={"verdict": verdict},
        evidence={"adjudicator": by, "review": review.number, "revision": key.revision},
    )
    try:
        meter.record(conn, outcome, received_at=review.at)
    except AdjudicatorIsPayee:
        return f"{verdict}, not counted: the reviewer's party is paid for the result"
    except OutcomeWithoutCase:
        return f"{verdict}, not counted: the case is not charged"
    return str(verdict)


def _standing(conn: Connection, key: ResultKey) -> UsageEvent | None:
    """The outcome that an earlier review of this result has left and that is not void."""
    found = conn.execute(
        """SELECT * FROM billing.current_usage
           WHERE tenant = %s AND source = %s AND study_ref = %s AND product = %s AND kind = 'outcome'
             AND evidence->>'revision' = %s AND reason_code = 'outcome'
           ORDER BY ingest_sequence DESC LIMIT 1""",
        (key.tenant, SOURCE, str(key.study_id), key.product, str(key.revision)),
    ).fetchone()
    return meter.event_of(found) if found is not None else None


def _event(conn: Connection, key: ResultKey, source: str, event_id: str) -> UsageEvent | None:
    row = first_row(conn, "usage_by_id", {"tenant": key.tenant, "source": source, "event_id": event_id})
    return meter.event_of(row) if row is not None else None


def _take_off(conn: Connection, key: ResultKey, earlier: UsageEvent, *, at: datetime, by: str) -> None:
    voids.void(
        conn, key.tenant, earlier.source, earlier.event_id, reason="reviewed again", by=by[:100], now=at
    )
