"""Sign in, with a second factor where there is one, and out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from pipeline.store import Row
from portal import kept_form
from portal.context import PortalContext
from portal.errors import NotSignedIn, PortalError, TooManyAttempts, WrongCode, WrongNameOrPassword
from portal.navigation import home_of
from portal.openid import OpenIdClient
from portal.openid_store import find_provider
from portal.render import page
from portal.requests import (
    SESSION_COOKIE,
    Context,
    browser_address,
    device_of,
    keep_session,
    own_path,
    session_of,
)
from portal.sessions import Session, find_session, sign_out
from portal.sign_in import SignIn

router = APIRouter(include_in_schema=False)

AnySession = Annotated[Session, Depends(session_of)]
Next = Annotated[str, Form(max_length=2000)]


def checker(request: Request) -> SignIn:
    found = request.app.state.sign_in
    assert isinstance(found, SignIn)
    return found


Checker = Annotated[SignIn, Depends(checker)]


@router.get("/sign-in")
def show(
    request: Request, context: Context, next: str = "", at: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    """at: a tenant whose own sign-in is offered; not needed where there is one alone."""
    token = request.cookies.get(SESSION_COOKIE)
    if token:
        try:
            return RedirectResponse(home_of(find_session(context, token).identity), 303)
        except NotSignedIn:
            token = None  # an old cookie: ask again
    return page(
        request, "sign_in.html", next=own_path(next), problem="", user_name="", minutes=0,
        provider=_provider(context, at),
    )  # fmt: skip


def _provider(context: PortalContext, at: str) -> Row | None:
    """The OpenID provider to offer: of the tenant that was named, else the only one. Others' stay unknown."""
    with context.database.system_transaction() as conn:
        rows = conn.execute("SELECT * FROM openid_providers()").fetchall()
    named = [row for row in rows if row["tenant"] == at] if at else rows
    return named[0] if len(named) == 1 else None


@router.post("/sign-in")
def submit(
    request: Request,
    context: Context,
    checker: Checker,
    name: Annotated[str, Form(max_length=100)] = "",
    password: Annotated[str, Form(max_length=4096)] = "",
    next: Next = "",
) -> Response:
    values = {"next": own_path(next), "user_name": name, "provider": _provider(context, "")}
    try:
        token = checker.sign_in(name, password, browser_address(request), device_of(request))
    except (WrongNameOrPassword, TooManyAttempts) as error:
        return _again(request, "sign_in.html", error, values)
    target = own_path(next) or home_of(find_session(context, token).identity)
    redirect = RedirectResponse(target, 303)
    keep_session(redirect, context, token)
    return redirect


@router.get("/sign-in/second-factor")
def ask_code(request: Request, session: AnySession, next: str = "") -> Response:
    if not session.has_second_factor or session.passed_second_factor:
        return RedirectResponse(home_of(session.identity), 303)
    return page(request, "second_factor.html", next=own_path(next), problem="", minutes=0)


@router.post("/sign-in/second-factor")
def take_code(
    request: Request,
    context: Context,
    checker: Checker,
    session: AnySession,
    code: Annotated[str, Form(max_length=100)] = "",
    next: Next = "",
) -> Response:
    try:
        token = checker.pass_second_factor(session, code, browser_address(request), device_of(request))
    except (WrongCode, TooManyAttempts) as error:
        return _again(request, "second_factor.html", error, {"next": own_path(next)})
    redirect = RedirectResponse(own_path(next) or home_of(session.identity), 303)
    keep_session(redirect, context, token)
    return redirect


def _again(request: Request, template: str, error: PortalError, values: dict[str, Any]) -> Response:
    """The form once more, with what was wrong."""
    if not isinstance(error, TooManyAttempts):
        return page(request, template, status_code=error.status, **values, problem="wrong", minutes=0)
    minutes = -(-error.retry_after_s // 60)
    response = page(request, template, status_code=error.status, **values, problem="wait", minutes=minutes)
    response.headers["Retry-After"] = str(error.retry_after_s)
    return response


@router.post("/sign-out")
def leave(request: Request, context: Context, session: AnySession) -> Response:
    """Who came by a provider is still signed in there; a link leads to its sign-out."""
    sign_out(context, request.cookies[SESSION_COOKIE])
    address = _sign_out_there(request, context, session) if session.by_openid else ""
    response: Response = (
        page(request, "signed_out.html", address=address) if address else RedirectResponse("/sign-in", 303)
    )
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict", secure=context.cookie_secure)
    kept_form.forget(response)
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


def _sign_out_there(request: Request, context: PortalContext, session: Session) -> str:
    """Of RP-initiated logout; nothing where the provider has none or is away."""
    client: OpenIdClient = request.app.state.openid
    with context.database.transaction(session.identity.tenant) as conn:
        try:
            provider = find_provider(conn, context.secrets_directory, session.identity.tenant)
            return client.way_to_sign_out(provider)
        except PortalError:
            return ""
