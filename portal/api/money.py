"""Usage and statements."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from billing.contracts import store as billing_store
from portal.api.metered import MeteredRoute
from portal.api.shapes import StatementDocument, StatementSummary, Usage, UsageList
from portal.context import SEES_MONEY, Identity
from portal.requests import Context, program_or_person

router = APIRouter(prefix="/api/v1", tags=["money"], route_class=MeteredRoute)

Reader = Annotated[Identity, Depends(program_or_person(SEES_MONEY))]

ID_MAX = 2**63 - 1


@router.get("/usage")
def list_usage(
    context: Context,
    identity: Reader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=0, le=ID_MAX, description="a sequence, exclusive")] = None,
) -> UsageList:
    """Usage events with their decisions, latest first."""
    with context.database.transaction(identity.tenant) as conn:
        rows = billing_store.list_usage(conn, identity.tenant, limit=limit, before=before)
    next_before = rows[-1].ingest_sequence if len(rows) == limit else None
    return UsageList(usage=[Usage.of(row) for row in rows], next_before=next_before)


@router.get("/statements")
def list_statements(context: Context, identity: Reader) -> list[StatementSummary]:
    """Issued statements, latest first."""
    with context.database.transaction(identity.tenant) as conn:
        return [StatementSummary.of(one) for one in billing_store.list_statements(conn, identity.tenant)]


@router.get("/statements/{statement_id}")
def get_statement(
    context: Context, identity: Reader, statement_id: Annotated[int, Path(ge=1, le=ID_MAX)]
) -> StatementDocument:
    """One issued statement with its lines."""
    with context.database.transaction(identity.tenant) as conn:
        return StatementDocument.of(billing_store.get_statement(conn, identity.tenant, statement_id))
