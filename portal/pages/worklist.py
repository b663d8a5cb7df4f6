"""The work list: every study of the tenant, newest first, with its status."""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from pipeline import store
from pipeline.status import TERMINAL, StudyStatus
from portal.context import SEES_STUDIES, Identity
from portal.errors import InvalidInput
from portal.render import page
from portal.requests import Context, is_htmx, signed_in

router = APIRouter(include_in_schema=False)

PAGE_SIZE = 50
SEARCH_LENGTH_MAX = 100
# A search names a patient, so it stays out of addresses, which end up in logs and histories: the address
# says that there is a search, this cookie says what for.
SEARCH_COOKIE = "radmeter_search"


@router.get("/")
def show(
    request: Request,
    context: Context,
    identity: Annotated[Identity, Depends(signed_in(SEES_STUDIES))],
    status: str = "",
    search: str = "",
    before: str = "",
    seen: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """The page, or for htmx its table alone; nothing (204) when the table is what the browser has `seen`."""
    text = _search_text(request) if search else ""
    wanted = _status(status)
    with context.database.transaction(identity.tenant) as conn:
        rows = store.list_studies(
            conn, identity.tenant, status=wanted, search=text, limit=PAGE_SIZE + 1, before=_instant(before)
        )
        counts = store.count_by_status(conn, identity.tenant)
        tenant = store.get_tenant(conn, identity.tenant)
    shown = rows[:PAGE_SIZE]
    values: dict[str, Any] = {
        "rows": shown,
        "counts": counts,
        "in_progress": sum(n for name, n in counts.items() if StudyStatus(name) not in TERMINAL),
        "status": wanted or "",
        "search": text,
        "before": before,
        "query": _query(wanted, text),
        "older": shown[-1]["created_at"].isoformat() if len(rows) > PAGE_SIZE else "",
        "called_ae_title": tenant["called_ae_title"],
        "statuses": [name.value for name in StudyStatus],
    }
    values["digest"] = hashlib.sha256(repr((shown, counts)).encode()).hexdigest()[:16]
    if is_htmx(request):
        if seen == values["digest"]:
            return Response(status_code=204)
        return page(request, "worklist_table.html", **values)
    return page(request, "worklist.html", **values)


@router.post("/search", dependencies=[Depends(signed_in(SEES_STUDIES))])
def search(
    context: Context,
    text: Annotated[str, Form(max_length=SEARCH_LENGTH_MAX)] = "",
    status: Annotated[str, Form()] = "",
) -> Response:
    wanted = _status(status)
    query = _query(wanted, text.strip())
    redirect = RedirectResponse(f"/?{query}" if query else "/", 303)
    redirect.set_cookie(
        SEARCH_COOKIE,
        base64.urlsafe_b64encode(text.strip().encode()).decode(),
        httponly=True,
        samesite="strict",
        secure=context.cookie_secure,
    )
    return redirect


def _query(status: str | None, search: str) -> str:
    return urlencode({key: value for key, value in (("status", status), ("search", search and "1")) if value})


def _search_text(request: Request) -> str:
    try:
        return base64.urlsafe_b64decode(request.cookies.get(SEARCH_COOKIE, "")).decode()[:SEARCH_LENGTH_MAX]
    except (binascii.Error, ValueError):
        return ""


def _status(text: str) -> str | None:
    if not text:
        return None
    try:
        return StudyStatus(text).value
    except ValueError:
        raise InvalidInput from None


def _instant(text: str) -> datetime | None:
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput from None
    if instant.tzinfo is None:
        raise InvalidInput
    return instant
