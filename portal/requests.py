"""What pages and API routes ask of a request: the context, who is asking, the language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from portal.auth import ApiKey, identify_session, reader_identity
from portal.context import Identity, PortalContext, Role
from portal.errors import NotSignedIn, PageNotFound, RoleNotAllowed

SESSION_COOKIE = "radmeter_session"


def portal_context(request: Request) -> PortalContext:
    context = request.app.state.context
    assert isinstance(context, PortalContext)
    return context


Context = Annotated[PortalContext, Depends(portal_context)]


def signed_in(roles: frozenset[Role] = frozenset(Role)) -> Callable[[Request, PortalContext], Identity]:
    """A dependency: the person of the session cookie, who must have one of `roles`."""

    def check(request: Request, context: Context) -> Identity:
        token = request.cookies.get(SESSION_COOKIE)
        if not token:
            raise NotSignedIn
        identity = identify_session(context.database, token)
        request.state.identity = identity
        if not identity.may(roles):
            raise RoleNotAllowed
        return identity

    return check


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


def browser_language(request: Request) -> str:
    """The language before the tenant is known: Chinese if the browser asks for it first, else English."""
    return "zh" if request.headers.get("accept-language", "").lower().startswith("zh") else "en"
