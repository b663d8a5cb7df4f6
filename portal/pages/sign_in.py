"""Sign in and out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from portal.auth import SignIn, identify_session, sign_out
from portal.errors import NotSignedIn, TooManyAttempts, WrongNameOrPassword
from portal.render import home_of, page
from portal.requests import SESSION_COOKIE, Context, signed_in

router = APIRouter(include_in_schema=False)


@router.get("/sign-in")
def show(request: Request, context: Context, next: str = "") -> Response:
    token = request.cookies.get(SESSION_COOKIE)
    if token:
        try:
            return RedirectResponse(home_of(identify_session(context.database, token)), 303)
        except NotSignedIn:
            token = None  # an old cookie: ask again
    return page(request, "sign_in.html", next=_own_path(next), problem="", user_name="", minutes=0)


@router.post("/sign-in")
def submit(
    request: Request,
    context: Context,
    name: Annotated[str, Form(max_length=100)] = "",
    password: Annotated[str, Form(max_length=4096)] = "",
    next: Annotated[str, Form()] = "",
) -> Response:
    checker: SignIn = request.app.state.sign_in
    address = request.client.host if request.client else ""
    values = {"next": _own_path(next), "user_name": name, "minutes": 0}
    try:
        token = checker.sign_in(name, password, address)
    except WrongNameOrPassword as error:
        return page(request, "sign_in.html", status_code=error.status, **{**values, "problem": "wrong"})
    except TooManyAttempts as error:
        minutes = -(-error.retry_after_s // 60)
        response = page(
            request,
            "sign_in.html",
            status_code=error.status,
            **{**values, "problem": "wait", "minutes": minutes},
        )
        response.headers["Retry-After"] = str(error.retry_after_s)
        return response
    target = _own_path(next) or home_of(identify_session(context.database, token))
    redirect = RedirectResponse(target, 303)
    redirect.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=round(context.session_hours * 3600),
        httponly=True,
        samesite="strict",
        secure=context.cookie_secure,
    )
    return redirect


@router.post("/sign-out", dependencies=[Depends(signed_in())])
def leave(request: Request, context: Context) -> Response:
    sign_out(context.database, request.cookies[SESSION_COOKIE])
    redirect = RedirectResponse("/sign-in", 303)
    redirect.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict", secure=context.cookie_secure)
    redirect.headers["Clear-Site-Data"] = '"cache", "storage"'
    return redirect


def _own_path(target: str) -> str:
    """`target` if it is a path on this server, else nothing: a link must not send people elsewhere."""
    is_own = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_own and "\\" not in target else ""
