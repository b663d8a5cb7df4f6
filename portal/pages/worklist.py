"""The work list: every study of the tenant, what needs a person first, then the newest."""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from pipeline import peers, store, work_list
from pipeline.critical_findings import CRITICAL_RULES, rules_of
from pipeline.status import StudyStatus
from pipeline.work_list import OVERDUE_AFTER, URGENT_FOR, Filter, Place, View
from portal.context import SEES_STUDIES, Identity
from portal.errors import InvalidInput, SearchTooLong
from portal.render import page
from portal.requests import Context, is_htmx, signed_in
from portal.worklist_text import what_to_do

router = APIRouter(include_in_schema=False)

PAGE_SIZE = 50
SEARCH_LENGTH_MAX = 100
# A search names a patient, so it stays out of addresses, which end up in logs and histories: the address
# says that there is a search, this cookie says what for.
SEARCH_COOKIE = "radmeter_search"
DAYS = (1, 7, 30)
VIEW_WORDS = {
    View.ALL: ("All", None),
    View.CRITICAL: ("Critical", "alert"),
    View.TO_READ: ("To read", "eye"),
    View.IN_PROGRESS: ("In progress", "clock"),
    View.PROBLEMS: ("Problems", "bar"),
    View.REVIEWED: ("Reviewed", "check"),
}


@router.get("/")
def show(
    request: Request,
    context: Context,
    identity: Annotated[Identity, Depends(signed_in(SEES_STUDIES))],
    view: str = "",
    status: str = "",
    sender: Annotated[str, Query(max_length=16)] = "",
    days: str = "",
    search: str = "",
    after: Annotated[str, Query(max_length=100)] = "",
    seen: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """The page, or for htmx its table alone; nothing (204) when the table is what the browser has `seen`."""
    text = _search_text(request) if search else ""
    wanted = Filter(_view(view), _status(status), sender or None, _since(days), text)
    seen_version, _, seen_digest = seen.partition(".")
    with context.database.transaction(identity.tenant) as conn:
        version, is_settled = work_list.version(conn, identity.tenant)
        if is_htmx(request) and is_settled and version == seen_version:
            return Response(status_code=204)
        rows = work_list.list_studies(conn, identity.tenant, wanted, limit=PAGE_SIZE + 1, after=_place(after))
        counts, by_status = work_list.count_by_view(conn, identity.tenant)
        tenant = store.get_tenant(conn, identity.tenant)
        senders = sorted({peer["ae_title"] for peer in peers.list_peers(conn, identity.tenant)} - {sender})
    shown = rows[:PAGE_SIZE]
    digest = hashlib.sha256(repr((shown, counts, by_status)).encode()).hexdigest()[:16]
    if is_htmx(request) and seen_digest == digest:
        return Response(status_code=204)
    values: dict[str, Any] = {
        "rows": shown,
        "counts": counts,
        "by_status": by_status,
        "view": wanted.view,
        "views": VIEW_WORDS,
        "status": status,
        "sender": sender,
        "senders": [*([sender] if sender else []), *senders],
        "days": days,
        "search": text,
        "after": after,
        "query": _query(view, status, sender, days, text),
        "view_query": _query("", status, sender, days, text),
        "query_without_search": _query(view, status, sender, days, ""),
        "next": _text_of(shown[-1]) if len(rows) > PAGE_SIZE else "",
        "seen": f"{version}.{digest}",
        "called_ae_title": tenant["called_ae_title"],
        "rules_of": rules_of,
        "what_to_do": what_to_do,
        "critical_rules": CRITICAL_RULES,
        "overdue_minutes": round(OVERDUE_AFTER.total_seconds() / 60),
        "urgent_days": URGENT_FOR.days,
    }
    return page(request, "worklist_table.html" if is_htmx(request) else "worklist.html", **values)


@router.post("/search", dependencies=[Depends(signed_in(SEES_STUDIES))])
def search(
    context: Context,
    text: Annotated[str, Form()] = "",
    view: Annotated[str, Form()] = "",
    status: Annotated[str, Form()] = "",
    sender: Annotated[str, Form(max_length=16)] = "",
    days: Annotated[str, Form()] = "",
) -> Response:
    for check, value in ((_view, view), (_status, status), (_since, days)):
        check(value)
    text = text.strip()
    if len(text) > SEARCH_LENGTH_MAX:
        raise SearchTooLong
    query = _query(view, status, sender, days, text)
    redirect = RedirectResponse(f"/?{query}" if query else "/", 303)
    redirect.set_cookie(
        SEARCH_COOKIE,
        base64.urlsafe_b64encode(text.encode()).decode(),
        httponly=True,
        samesite="strict",
        secure=context.cookie_secure,
    )
    return redirect


def _query(view: str, status: str, sender: str, days: str, search: str) -> str:
    parts = {"view": view, "status": status, "sender": sender, "days": days, "search": search and "1"}
    return urlencode({name: value for name, value in parts.items() if value})


def _search_text(request: Request) -> str:
    try:
        return base64.urlsafe_b64decode(request.cookies.get(SEARCH_COOKIE, "")).decode()[:SEARCH_LENGTH_MAX]
    except (binascii.Error, ValueError):
        return ""


def _view(text: str) -> View:
    try:
        return View(text) if text else View.ALL
    except ValueError:
        raise InvalidInput from None


def _status(text: str) -> str | None:
    try:
        return StudyStatus(text).value if text else None
    except ValueError:
        raise InvalidInput from None


def _since(days: str) -> datetime | None:
    if not days:
        return None
    if days not in map(str, DAYS):
        raise InvalidInput
    return datetime.now(UTC) - timedelta(days=int(days))


def _text_of(row: store.Row) -> str:
    """The place behind a study, for the address of the next page; `_place` reads it."""
    return f"{row['urgency']}~{row['created_at'].astimezone(UTC).isoformat()}~{row['id']}"


def _place(text: str) -> Place | None:
    if not text:
        return None
    try:
        urgency, instant, study_id = text.split("~")
        place = Place(int(urgency), datetime.fromisoformat(instant), UUID(study_id))
    except ValueError:
        raise InvalidInput from None
    if place.created_at.tzinfo is None or not 0 <= place.urgency <= 3:
        raise InvalidInput
    return place
