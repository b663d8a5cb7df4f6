"""Usage: every usage event with its decision. Opaque study ids only, no patients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from billing.contracts import store as billing_store
from billing.contracts.store import RecordedUsage
from pipeline.database import Database
from portal.context import SEES_MONEY, Identity
from portal.csv_export import csv_text
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Viewer = Annotated[Identity, Depends(signed_in(SEES_MONEY))]

PAGE_SIZE = 100
EXPORT_BATCH = 1000
SEQUENCE_MAX = 2**63 - 1

CSV_HEADER = (
    "sequence", "occurred_at", "received_at", "kind", "product", "quantity", "outcome", "reason_code",
    "explanation", "contract_id", "statement_id", "study_ref", "case_key", "sending_peer", "revision",
)  # fmt: skip


@router.get("/usage")
def show(
    request: Request,
    context: Context,
    identity: Viewer,
    before: Annotated[int | None, Query(ge=0, le=SEQUENCE_MAX)] = None,
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        rows = billing_store.list_usage(conn, identity.tenant, limit=PAGE_SIZE + 1, before=before)
    shown = rows[:PAGE_SIZE]
    older = shown[-1].ingest_sequence if len(rows) > PAGE_SIZE else None
    return page(request, "usage.html", rows=shown, older=older, before=before)


@router.get("/usage.csv")
def download(context: Context, identity: Viewer) -> Response:
    """All usage, latest first, in batches: a year of it does not lie in memory at once."""
    return StreamingResponse(
        _csv(context.database, identity.tenant),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="usage.csv"'},
    )


def _csv(database: Database, tenant: str) -> Iterator[str]:
    before: int | None = None
    yield csv_text(CSV_HEADER, [])
    while True:
        with database.transaction(tenant) as conn:
            rows = billing_store.list_usage(conn, tenant, limit=EXPORT_BATCH, before=before)
        if not rows:
            return
        yield csv_text(None, (csv_row(row) for row in rows))
        before = rows[-1].ingest_sequence


def csv_row(row: RecordedUsage) -> tuple[object, ...]:
    event, decision = row.event, row.decision
    return (
        row.ingest_sequence, event.occurred_at.isoformat(), row.received_at.isoformat(), str(event.kind),
        event.product, event.quantity, decision.outcome.value, decision.reason_code.value,
        decision.explanation, decision.contract_id, row.statement_id, event.study_ref, event.case_key,
        event.dimensions.get("sending_peer", ""), event.dimensions.get("revision", ""),
    )  # fmt: skip
