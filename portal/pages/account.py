"""The person's own: password, second factor, language, sessions."""

from __future__ import annotations

import re
import time
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from pipeline import audit
from pipeline.audit import AuditEvent
from portal import second_factor
from portal.errors import (
    InvalidInput,
    PasswordCommon,
    PasswordTooShort,
    PortalError,
    TooManyAttempts,
    WrongCode,
    WrongNameOrPassword,
)
from portal.navigation import home_of
from portal.pages.sign_in import AnySession, Checker, Next
from portal.render import page
from portal.requests import Context, browser_address, device_of, finished_session, keep_session, own_path
from portal.sessions import Session, end_sessions, list_sessions
from portal.sign_in import change_password
from portal.text import LANGUAGES

router = APIRouter(include_in_schema=False)

Own = Annotated[Session, Depends(finished_session)]
Password = Annotated[str, Form(max_length=4096)]
_SECRET = re.compile(r"[A-Z2-7]{32}")


@router.get("/account")
def show(request: Request, context: Context, session: Own) -> Response:
    identity = session.identity
    with context.database.transaction(identity.tenant) as conn:
        rows = list_sessions(conn, identity.tenant, identity.user_name)
        codes_left = second_factor.recovery_codes_left(conn, identity.tenant, identity.user_name)
    return page(request, "account.html", session=session, rows=rows, codes_left=codes_left)


@router.post("/account/language")
def set_language(
    context: Context, session: Own, language: Annotated[str, Form(max_length=10)] = ""
) -> Response:
    """Empty: the tenant's."""
    if language and language not in LANGUAGES:
        raise InvalidInput
    identity = session.identity
    with context.database.transaction(identity.tenant) as conn:
        conn.execute(
            "UPDATE portal_user SET language = %s WHERE tenant = %s AND name = %s",
            (language or None, identity.tenant, identity.user_name),
        )
        detail = {"user": identity.user_name, "by": identity.user_name, "changes": {"language": language}}
        audit.record(conn, identity.tenant, AuditEvent.USER_CHANGED, detail)
    return RedirectResponse("/account", 303)


@router.post("/account/sessions/end")
def end(context: Context, session: Own, which: Annotated[str, Form(max_length=40)] = "") -> Response:
    """One session by its id; "others": all but this one; "all": this one too."""
    identity = session.identity
    try:
        only = None if which in ("others", "all") else UUID(which)
    except ValueError:
        raise InvalidInput from None
    with context.database.transaction(identity.tenant) as conn:
        end_sessions(
            conn,
            identity.tenant,
            identity.user_name,
            by=identity.user_name,
            only=only,
            keep=session.id if which == "others" else None,
        )
    return RedirectResponse("/account", 303)


@router.get("/account/password")
def ask_password(request: Request, session: AnySession, next: str = "") -> Response:
    session.require_second_factor()
    return _password_form(request, session, own_path(next), "")


@router.post("/account/password")
def set_password(
    request: Request,
    context: Context,
    checker: Checker,
    session: AnySession,
    present: Password = "",
    new: Password = "",
    again: Password = "",
    next: Next = "",
) -> Response:
    session.require_second_factor()
    target = own_path(next)
    if new != again:
        return _password_form(request, session, target, "The two new passwords differ.", 422)
    if new == present:
        return _password_form(request, session, target, "The new password is the present one.", 422)
    address = browser_address(request)
    try:
        checker.check_password(session, present, address)
        token = change_password(context, session, new, address, device_of(request))
    except (WrongNameOrPassword, TooManyAttempts, PasswordTooShort, PasswordCommon) as error:
        return _password_form(request, session, target, _sentence(error), error.status)
    redirect = RedirectResponse(target or home_of(session.identity), 303)
    keep_session(redirect, context, token)
    return redirect


def _password_form(
    request: Request, session: Session, target: str, problem: str, status: int = 200
) -> Response:
    _show_as(request, session)
    return page(
        request, "password.html", status_code=status, next=target, problem=problem, session=session,
        forced=session.must_change_password,
    )  # fmt: skip


@router.get("/account/second-factor")
def ask_enrolment(request: Request, session: AnySession, next: str = "") -> Response:
    session.require_own_password()
    return _enrolment_form(request, session, second_factor.new_secret(), own_path(next), "")


@router.post("/account/second-factor")
def enrol(
    request: Request,
    context: Context,
    checker: Checker,
    session: AnySession,
    secret: Annotated[str, Form(max_length=100)] = "",
    password: Password = "",
    code: Annotated[str, Form(max_length=100)] = "",
    next: Next = "",
) -> Response:
    """Set up, or set up anew: another telephone."""
    session.require_own_password()
    if _SECRET.fullmatch(secret) is None:
        raise InvalidInput
    try:
        checker.check_password(session, password, browser_address(request))
        step = second_factor.matching_step(secret, code.replace(" ", "").strip(), 0, time.time())
        if step is None:
            raise WrongCode
    except (WrongNameOrPassword, TooManyAttempts, WrongCode) as error:
        return _enrolment_form(request, session, secret, own_path(next), _sentence(error), error.status)
    identity = session.identity
    with context.database.transaction(identity.tenant) as conn:
        codes = second_factor.enrol(conn, context, identity.tenant, identity.user_name, secret, step)
        conn.execute(
            "UPDATE portal_session SET second_factor_at = now() WHERE tenant = %s AND id = %s",
            (identity.tenant, session.id),
        )
    request.state.identity = identity
    return page(request, "recovery_codes.html", codes=codes, next=own_path(next) or home_of(identity))


@router.post("/account/second-factor/remove")
def remove(
    request: Request, context: Context, checker: Checker, session: Own, password: Password = ""
) -> Response:
    checker.check_password(session, password, browser_address(request))
    identity = session.identity
    with context.database.transaction(identity.tenant) as conn:
        second_factor.remove(conn, identity.tenant, identity.user_name, by=identity.user_name)
    return RedirectResponse("/account", 303)


def _enrolment_form(
    request: Request, session: Session, secret: str, target: str, problem: str, status: int = 200
) -> Response:
    _show_as(request, session)
    identity = session.identity
    uri = second_factor.enrolment_uri(secret, identity.user_name, identity.tenant_name)
    return page(
        request, "enrolment.html", status_code=status, secret=secret, picture=second_factor.picture(uri),
        next=target, problem=problem, session=session,
        forced=session.must_have_second_factor and not session.has_second_factor,
    )  # fmt: skip


def _show_as(request: Request, session: Session) -> None:
    """Whose sign-in is not finished sees no menu."""
    try:
        session.require_complete()
    except PortalError:
        return
    request.state.identity = session.identity


def _sentence(error: PortalError) -> str:
    if isinstance(error, WrongNameOrPassword):
        return "The present password is wrong."
    return str(error)
