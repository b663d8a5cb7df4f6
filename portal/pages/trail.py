"""The way of one yuan: a line of a statement, its cases, what proves each, and who gets the money."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from billing.books import trail
from pipeline import case_evidence, store
from portal.context import SEES_MONEY, Identity
from portal.pages.study import EVENT_WORDS
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Viewer = Annotated[Identity, Depends(signed_in(SEES_MONEY))]
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.get("/statements/{statement_id}/lines/{line_number}")
def show_line(
    request: Request,
    context: Context,
    identity: Viewer,
    statement_id: Number,
    line_number: Number,
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
) -> Response:
    """A line with its explanation, its shares and, page by page, its cases."""
    with context.database.transaction(identity.tenant) as conn:
        found = trail.line_trail(conn, identity.tenant, statement_id, line_number, after=after)
    return page(request, "line.html", trail=found, after=after)


@router.get("/usage/{ingest_sequence}")
def show_case(request: Request, context: Context, identity: Viewer, ingest_sequence: Number) -> Response:
    """A usage event: what happened, what proves it, what was decided by whom, and the line that charged it."""
    tenant = identity.tenant
    with context.database.transaction(tenant) as conn:
        found = trail.case_trail(conn, tenant, ingest_sequence)
        study, product = found.usage.event.study_ref, found.usage.event.product
        return page(
            request,
            "case.html",
            trail=found,
            runs=case_evidence.runs(conn, tenant, study, product),
            acknowledgements=case_evidence.acknowledgements(conn, tenant, study, product),
            series=case_evidence.series_read(conn, tenant, study, product),
            times=store.study_events(conn, tenant, study),
            event_words=EVENT_WORDS,
        )
