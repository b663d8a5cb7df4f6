"""Ingest: a batch of usage events as a source tells them; each is recorded, known, in conflict or refused.

What is refused leaves nothing behind; the rest of the batch stands or falls together, in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from billing.errors import BillingError, InvalidUsageEvent
from billing.lock import lock_for_deciding_again, lock_for_recording
from billing.metering import meter, verdicts, voids
from billing.metering.claim import Terms, find_terms
from billing.metering.usage import RESULT_METER, Kind, UsageEvent
from billing.metering.usage_columns import read_batch
from billing.metering.voids import VoidRequest

Connection = psycopg.Connection[Any]
BATCH_MAX = 1000
_CONFLICT = "this id was recorded before with another payload; the first stays as it is"


class Answer(NamedTuple):
    """status: `created`, `known`, `conflict` or `refused`. event_id: as it was sent; None where there was none.

    recorded: of what is stored under the id; None for what was refused. message: why it was refused, or in conflict.
    """

    event_id: str | None
    status: str
    recorded: meter.Recorded | None
    message: str = ""


def ingest(
    conn: Connection, tenant: str, source: str, items: Sequence[object], *, by: str, now: datetime
) -> list[Answer]:
    """Record a batch of JSON values; see `usage_json` for their form. A void names an event of the same source."""
    read = read_batch(items, tenant, source)
    lock_for_recording(conn, tenant)
    if any(isinstance(one, VoidRequest) for one in read):
        lock_for_deciding_again(conn, tenant)
    answers = {
        index: Answer(_id_of(items[index]), "refused", None, str(one))
        for index, one in enumerate(read)
        if isinstance(one, InvalidUsageEvent)
    }
    events = {index: one for index, one in enumerate(read) if isinstance(one, UsageEvent)}
    terms = find_terms(conn, tenant, events.values())
    answers |= _refuse_unpriced(terms, events)
    # A verdict and a void may speak of an event of the same batch: they come after it.
    said = {index: one for index, one in events.items() if one.kind != Kind.OUTCOME and index not in answers}
    answers |= _record(conn, tenant, said, terms, now)
    verdict = {
        index: one for index, one in events.items() if one.kind == Kind.OUTCOME and index not in answers
    }
    answers |= _refuse_verdicts(conn, verdict)
    verdict = {index: one for index, one in verdict.items() if index not in answers}
    answers |= _record(conn, tenant, verdict, terms, now)
    requests = {index: one for index, one in enumerate(read) if isinstance(one, VoidRequest)}
    voided = voids.void_many(conn, tenant, list(requests.values()), by=by, now=now) if requests else []
    for (index, request), made in zip(requests.items(), voided, strict=True):
        answers[index] = _answer(request.event_id, made)
    return [answers[index] for index in range(len(read))]


def _record(
    conn: Connection, tenant: str, events: Mapping[int, UsageEvent], terms: Terms, now: datetime
) -> dict[int, Answer]:
    if not events:
        return {}
    recorded = meter.record_priced(conn, tenant, list(events.values()), terms, received_at=now)
    return {
        index: _answer(event.event_id, made)
        for (index, event), made in zip(events.items(), recorded, strict=True)
    }


def _refuse_unpriced(terms: Terms, events: Mapping[int, UsageEvent]) -> dict[int, Answer]:
    """Answers for the events that no version of any contract prices, at whatever time."""
    return {
        index: Answer(event.event_id, "refused", None, _unpriced(event))
        for index, event in events.items()
        if (event.product, event.priced_meter) not in terms
    }


def _refuse_verdicts(conn: Connection, outcomes: Mapping[int, UsageEvent]) -> dict[int, Answer]:
    answers = {}
    for index, outcome in outcomes.items():
        try:
            verdicts.require_allowed(conn, outcome)
        except BillingError as problem:
            answers[index] = Answer(outcome.event_id, "refused", None, str(problem))
    return answers


def _id_of(item: object) -> str | None:
    event_id = item.get("event_id") if isinstance(item, Mapping) else None
    return event_id[:200] if isinstance(event_id, str) and event_id.isprintable() else None


def _unpriced(event: UsageEvent) -> str:
    what = f"product {event.product!r}"
    if event.priced_meter != RESULT_METER:
        what += f" by the meter {event.meter!r}"
    return f"no contract prices {what}: check the name, or add it to a contract first"


def _answer(event_id: str, made: meter.Recorded | voids.Refused) -> Answer:
    if isinstance(made, Exception):
        return Answer(event_id, "refused", None, str(made))
    return Answer(event_id, made.status, made, _CONFLICT if made.status is meter.Status.CONFLICT else "")
