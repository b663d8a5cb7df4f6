"""Sign in, with a second factor where there is one, and out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from portal.errors import NotSignedIn, PortalError, TooManyAttempts, WrongCode, WrongNameOrPassword
from portal.render import home_of, page
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
def show(request: Request, context: Context, next: str = "") -> Response:
    token = request.cookies.get(SESSION_COOKIE)
    if token:
        try:
            return RedirectResponse(home_of(find_session(context, token).identity), 303)
        except NotSignedIn:
            token = None  # an old cookie: ask again
    return page(request, "sign_in.html", next=own_path(next), problem="", user_name="", minutes=0)


@router.post("/sign-in")
def submit(
    request: Request,
    context: Context,
    checker: Checker,
    name: Annotated[str, Form(max_length=100)] = "",
    password: Annotated[str, Form(max_length=4096)] = "",
    next: Next = "",
) -> Response:
    values = {"next": own_path(next), "user_name": name}
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
def leave(request: Request, context: Context, _session: AnySession) -> Response:
    sign_out(context, request.cookies[SESSION_COOKIE])
    redirect = RedirectResponse("/sign-in", 303)
    forget_session(redirect, secure=context.cookie_secure)
    return redirect


def forget_session(response: Response, *, secure: bool) -> None:
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict", secure=secure)
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
