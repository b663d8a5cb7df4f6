"""Usage events from outside: recorded in batches, each answered for itself, and looked up again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field, TypeAdapter

from billing.contracts import store as billing_store
from billing.metering import ingest
from portal.api.metered import MeteredRoute
from portal.api.money import ID_MAX
from portal.api.shapes import Usage, UsageList
from portal.auth import ApiKey
from portal.context import SEES_MONEY
from portal.errors import InvalidInput, NotSignedIn
from portal.key_errors import KeyRecordsNoUsage
from portal.requests import Context, program_or_person, request_key

router = APIRouter(prefix="/api/v1/usage/events", tags=["money"], route_class=MeteredRoute)

_STATUS_OF_ONE = {"conflict": 409, "refused": 422}


class UsageBatch(BaseModel):
    """1 to 1000 events, at most 4 MiB; the form of an event is in docs/usage_api.md."""

    events: list[Any]


@dataclass(slots=True)  # not frozen: there are a thousand of them in an answer
class UsageAnswer:
    """What became of one event of a batch."""

    event_id: str | None
    status: Annotated[str, Field(description="created, known, conflict or refused")]
    sequence: Annotated[int | None, Field(description="of the event that is stored under the id")]
    outcome: Annotated[str | None, Field(description="first decision: billable, not_billable or quarantined")]
    reason_code: str | None
    message: Annotated[str, Field(description="why, in a sentence")]


@dataclass(slots=True)
class UsageBatchAnswer:
    """One answer for each event, in the order of the batch."""

    results: list[UsageAnswer]


_batch_answer = TypeAdapter(UsageBatchAnswer)


def _told(answer: ingest.Answer) -> UsageAnswer:
    if answer.recorded is None:
        return UsageAnswer(answer.event_id, answer.status, None, None, None, answer.message)
    _, sequence, decision = answer.recorded
    return UsageAnswer(
        answer.event_id,
        answer.status,
        sequence,
        decision.outcome,
        decision.reason_code,
        answer.message or decision.explanation,
    )


def _recording_key(request: Request) -> ApiKey:
    key = request_key(request)
    if key is None:
        raise NotSignedIn("Send an API key with the scope usage:write: Authorization: Bearer rm_…")
    if key.usage_source is None:
        raise KeyRecordsNoUsage
    return key


@router.post("", response_model=UsageBatchAnswer)
def record(context: Context, key: Annotated[ApiKey, Depends(_recording_key)], batch: UsageBatch) -> Response:
    """Record usage events; the same batch again gets the first answers. A single event in conflict is a 409."""
    if not 1 <= len(batch.events) <= ingest.BATCH_MAX:
        raise InvalidInput(f"A batch holds 1 to {ingest.BATCH_MAX} events, this one {len(batch.events)}.")
    assert key.usage_source is not None, "the dependency asked for it"
    with context.database.transaction(key.tenant) as conn:
        answers = ingest.ingest(
            conn, key.tenant, key.usage_source, batch.events, by=f"key {key.prefix}", now=datetime.now(UTC)
        )
    told = _batch_answer.dump_json(UsageBatchAnswer(list(map(_told, answers))))
    status = _STATUS_OF_ONE.get(answers[0].status, 200) if len(answers) == 1 else 200
    # As text at once: a thousand answers that we made need no check of their shape.
    return Response(told, status, media_type="application/json")


_reader = program_or_person(SEES_MONEY)


def _visible_source(request: Request, context: Context) -> tuple[str, str | None]:
    """(tenant, source): a key that records sees its own source, who sees money sees all."""
    key = request_key(request)
    if key is not None and key.usage_source is not None:
        return key.tenant, key.usage_source
    return _reader(request, context).tenant, None


@router.get("")
def find(
    context: Context,
    visible: Annotated[tuple[str, str | None], Depends(_visible_source)],
    source: Annotated[str | None, Query(max_length=200)] = None,
    event_id: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=0, le=ID_MAX, description="a sequence, exclusive")] = None,
) -> UsageList:
    """Usage events with their current decisions, latest first; all, or those of one source or id."""
    tenant, own_source = visible
    if own_source is not None and source not in (None, own_source):
        return UsageList(usage=[], next_before=None)
    with context.database.transaction(tenant) as conn:
        rows = billing_store.list_usage(
            conn, tenant, limit=limit, before=before, source=own_source or source, event_id=event_id
        )
    next_before = rows[-1].ingest_sequence if len(rows) == limit else None
    return UsageList(usage=[Usage.of(row) for row in rows], next_before=next_before)
