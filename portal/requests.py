"""What pages and API routes ask of a request: the context, who is asking, the language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response

from portal.auth import ApiKey, reader_identity
from portal.context import Identity, PortalContext, Role
from portal.errors import NotSignedIn, PageNotFound, RoleNotAllowed
from portal.sessions import Session, find_session

SESSION_COOKIE = "radmeter_session"


def portal_context(request: Request) -> PortalContext:
    context = request.app.state.context
    assert isinstance(context, PortalContext)
    return context


Context = Annotated[PortalContext, Depends(portal_context)]


def signed_in(roles: frozenset[Role] = frozenset(Role)) -> Callable[[Request, PortalContext], Identity]:
    """A dependency: the person of the session cookie, who must have one of `roles`."""

    def check(request: Request, context: Context) -> Identity:
        session = session_of(request, context)
        session.require_complete()
        request.state.identity = session.identity
        if not session.identity.may(roles):
            raise RoleNotAllowed
        return session.identity

    return check


def session_of(request: Request, context: Context) -> Session:
    """A dependency of the steps of signing in: the session, finished or not. Raises `NotSignedIn`."""
    token = request.cookies.get(SESSION_COOKIE)
    if not token:
        raise NotSignedIn
    asks_by_itself = request.method == "GET" and (is_htmx(request) or is_stream(request))
    return find_session(context, token, is_used=not asks_by_itself)


def finished_session(request: Request, context: Context) -> Session:
    """A dependency of the person's own pages: who has signed in to the end."""
    session = session_of(request, context)
    session.require_complete()
    request.state.identity = session.identity
    return session


def program_or_person(roles: frozenset[Role]) -> Callable[[Request, PortalContext], Identity]:
    """A dependency of the API: `Authorization: Bearer <API key>`, else the session cookie."""
    by_session = signed_in(roles)

    def check(request: Request, context: Context) -> Identity:
        key = request_key(request)
        if key is None:
            return by_session(request, context)
        identity = reader_identity(context.database, key)
        request.state.identity = identity
        return identity

    return check


def bearer_token(request: Request) -> str | None:
    """What follows `Authorization: Bearer`, if the request has it."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def request_key(request: Request) -> ApiKey | None:
    """The API key of the request, found before its route was; see `portal/api/metered.py`."""
    key = request.state.api_key
    assert key is None or isinstance(key, ApiKey)
    return key


def parse_id(text: str) -> UUID:
    """Our ids are UUIDs; anything else is nothing of ours. Raises `PageNotFound`."""
    try:
        return UUID(text)
    except ValueError:
        raise PageNotFound from None


def is_htmx(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"


def is_stream(request: Request) -> bool:
    return "text/event-stream" in request.headers.get("accept", "")


def browser_address(request: Request) -> str:
    return request.client.host if request.client else ""


def keep_session(response: Response, context: PortalContext, token: str) -> None:
    """Hand the browser the token of its session."""
    response.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=round(context.session_hours * 3600),
        httponly=True,
        samesite="strict",
        secure=context.cookie_secure,
    )


def device_of(request: Request) -> str:
    """What the browser calls itself, for the list of the person's sessions."""
    return request.headers.get("user-agent", "")


def own_path(target: str) -> str:
    """`target` if it is a path on this server, else nothing: a link must not send people elsewhere."""
    is_own = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_own and "\\" not in target else ""


def browser_language(request: Request) -> str:
    """The language before the tenant is known: Chinese if the browser asks for it first, else English."""
    return "zh" if request.headers.get("accept-language", "").lower().startswith("zh") else "en"
