"""Payouts: what each payee earned. A vendor's people see their own party alone."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from billing import payees
from portal.context import SEES_PAYOUTS, Identity
from portal.errors import PageNotFound
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Viewer = Annotated[Identity, Depends(signed_in(SEES_PAYOUTS))]


@router.get("/payouts")
def show(request: Request, context: Context, identity: Viewer) -> Response:
    """The payees; for somebody of one party, its shares at once."""
    if identity.only_party is not None:
        return show_party(request, context, identity, identity.only_party)
    with context.database.transaction(identity.tenant) as conn:
        found = payees.payees(conn, identity.tenant)
    return page(request, "payouts.html", payees=found)


@router.get("/payouts/{party_id}")
def show_party(request: Request, context: Context, identity: Viewer, party_id: str) -> Response:
    """What one party earned, period by period. Another's is nothing of theirs: 404."""
    if identity.only_party not in (None, party_id):
        raise PageNotFound
    with context.database.transaction(identity.tenant) as conn:
        found = payees.payees(conn, identity.tenant, party_id)
        shares = payees.earned_shares(conn, identity.tenant, party_id)
    if not found and identity.only_party is None:
        raise PageNotFound
    return page(request, "payee.html", party_id=party_id, payees=found, shares=shares)
