"""API keys of programs: made, seen in use, ended. For admins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from billing.guarding import call_guard
from billing.queries import Row
from pipeline.database import Connection
from pipeline.peers import get_peer, list_peers
from portal import auth
from portal.context import EDITS_USERS, Identity
from portal.errors import PageNotFound
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Admin = Annotated[Identity, Depends(signed_in(EDITS_USERS))]
Scope = Literal["read", "store", "usage"]


@router.get("/keys")
def show(request: Request, context: Context, identity: Admin) -> Response:
    return _list(request, context, identity)


@router.post("/keys")
def make(
    request: Request,
    context: Context,
    identity: Admin,
    label: Annotated[str, Form(max_length=100)] = "",
    scope: Annotated[Scope, Form()] = "read",
    peer: Annotated[str, Form(max_length=16)] = "",
    source: Annotated[str, Form(max_length=100)] = "",
    days: Annotated[int, Form(ge=1, le=3650)] = 365,
    requests_per_minute: Annotated[int, Form(ge=1, le=1_000_000)] = 600,
    concurrent_max: Annotated[int, Form(ge=1, le=1000)] = 8,
) -> Response:
    """The key is shown on the page that answers, and never again."""
    label, source = label.strip(), source.strip()
    if not label or not label.isprintable():
        return _list(request, context, identity, problem="Say what the key is for.", status=422)
    if scope == "usage" and not (source and source.isprintable()):
        return _list(
            request, context, identity, problem="Give the name under which it records usage.", status=422
        )
    with context.database.transaction(identity.tenant) as conn:
        if scope == "store" and get_peer(conn, identity.tenant, peer) is None:
            raise PageNotFound
        key = auth.create_api_key(
            conn,
            identity.tenant,
            label,
            datetime.now(UTC) + timedelta(days=days),
            peer if scope == "store" else None,
            usage_source=source if scope == "usage" else None,
            requests_per_minute=requests_per_minute,
            concurrent_max=concurrent_max,
            by=identity.user_name,
        )
    return _list(request, context, identity, shown_once=key)


@router.post("/keys/revoke")
def revoke(context: Context, identity: Admin, prefix: Annotated[str, Form(max_length=20)]) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        if not auth.revoke_api_key(conn, identity.tenant, prefix, by=identity.user_name):
            raise PageNotFound
    return RedirectResponse("/keys", 303)


def _list(
    request: Request,
    context: Context,
    identity: Identity,
    *,
    problem: str = "",
    shown_once: str = "",
    status: int = 200,
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        rows = auth.list_api_keys(conn, identity.tenant)
        peers = [row["ae_title"] for row in list_peers(conn, identity.tenant)]
        refused = _refused(conn, identity.tenant, datetime.now(UTC))
    return page(
        request,
        "keys.html",
        status_code=status,
        rows=rows,
        peers=peers,
        refused=refused,
        problem=problem,
        shown_once=shown_once,
    )


def _refused(conn: Connection, tenant: str, now: datetime) -> dict[str, Row]:
    """By key its last refusal that may still hold: of a limit that has not begun anew, or of the last day."""
    found = reversed(call_guard.list_refused(conn, tenant))
    return {
        row["api_key"]: row for row in found if now < (row["opens_at"] or row["last_at"] + timedelta(days=1))
    }
