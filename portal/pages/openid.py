"""Sign in by the hospital's own OpenID Connect provider."""

from __future__ import annotations

import hmac
import secrets
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from pipeline import audit
from pipeline.audit import AuditEvent
from portal.errors import OpenIdRefused, OpenIdUnavailable
from portal.navigation import home_of
from portal.openid import Attempt, OpenIdClient
from portal.openid_store import ATTEMPT_GOOD_FOR, admit, find_provider, keep_attempt, take_attempt
from portal.render import page
from portal.requests import Context, browser_address, device_of, keep_session, own_path
from portal.sessions import TOKEN_BYTES, find_session, open_session

router = APIRouter(include_in_schema=False)

ATTEMPT_COOKIE = "radmeter_openid"
Text = Annotated[str, Query(max_length=4096)]


def _client(request: Request) -> OpenIdClient:
    client = request.app.state.openid
    assert isinstance(client, OpenIdClient)
    return client


@router.get("/sign-in/openid/{tenant}/out")
def go_out(request: Request, context: Context, tenant: str, next: Text = "") -> Response:
    """To the provider; a cookie binds the way back to this browser."""
    attempt, browser = Attempt.new(), secrets.token_urlsafe(TOKEN_BYTES)
    with context.database.transaction(tenant) as conn:
        provider = find_provider(conn, context.secrets_directory, tenant)
    try:
        target = _client(request).way_out(provider, attempt)
    except OpenIdUnavailable as error:
        return _refused(request, error)
    with context.database.transaction(tenant) as conn:
        keep_attempt(conn, tenant, browser, attempt, own_path(next))
    redirect = RedirectResponse(target, 303)
    redirect.set_cookie(
        ATTEMPT_COOKIE,
        browser,
        max_age=round(ATTEMPT_GOOD_FOR.total_seconds()),
        path="/sign-in/openid/",
        httponly=True,
        samesite="lax",  # the way back comes from the provider's site
        secure=context.cookie_secure,
    )
    return redirect


@router.get("/sign-in/openid/back")
def come_back(
    request: Request, context: Context, state: Text = "", code: Text = "", error: Text = ""
) -> Response:
    """The session opens when all is right. A page leads on, because the browser keeps our cookie, which is for this
    site alone, out of whatever the provider's redirect still leads to."""
    with context.database.system_transaction() as conn:
        kept = take_attempt(conn, request.cookies.get(ATTEMPT_COOKIE, ""))
    if kept is None or not hmac.compare_digest(kept["state"].encode(), state.encode()):
        return _refused(
            request, OpenIdRefused("this sign-in was not begun here, or it took too long: begin again")
        )
    tenant, address = kept["tenant"], browser_address(request)
    try:
        if error or not code:
            raise OpenIdRefused("the provider did not sign you in")
        with context.database.transaction(tenant) as conn:
            provider = find_provider(conn, context.secrets_directory, tenant)
        attempt = Attempt(kept["state"], kept["nonce"], kept["code_verifier"])
        claims = _client(request).claims(provider, attempt, code)
        with context.database.transaction(tenant) as conn:
            name = admit(conn, provider, claims)
            token = open_session(
                conn, tenant, name, address=address, device=device_of(request), hours=context.session_hours,
                by_openid=True,
            )  # fmt: skip
            detail = {"user": name, "host": address, "provider": provider.issuer}
            audit.record(conn, tenant, AuditEvent.SIGNED_IN, detail)
    except (OpenIdRefused, OpenIdUnavailable) as problem:
        detail = {"host": address, "reason": str(problem)}
        audit.record_now(context.database, tenant, AuditEvent.SIGN_IN_FAILED, detail)
        return _refused(request, problem)
    target = kept["next"] or home_of(find_session(context, token).identity)
    response = page(request, "openid_back.html", target=target)
    keep_session(response, context, token)
    response.delete_cookie(ATTEMPT_COOKIE, path="/sign-in/openid/")
    return response


def _refused(request: Request, problem: OpenIdRefused | OpenIdUnavailable) -> Response:
    return page(request, "openid_refused.html", status_code=problem.status, problem=str(problem))
