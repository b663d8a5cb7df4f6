"""The portal as one ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import psycopg_pool
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware

from billing.errors import BillingError
from pipeline.audit_access import AccessTrail
from pipeline.errors import StudyNotFound
from pipeline.report import TEMPLATES
from pipeline.review_errors import FindingUnknown
from portal import health, kept_form
from portal.access_audit import AccessAudit
from portal.attempt import NOT_FOUND
from portal.auth import create_first_admin
from portal.context import PortalContext
from portal.errors import (
    ActionConflict,
    InvalidInput,
    NotSignedIn,
    PageNotFound,
    PortalError,
    StepNeeded,
    StudyGone,
)
from portal.guard import Guard, protect
from portal.intake import Intake
from portal.openid import OpenIdClient
from portal.rate_limit import FailureLimit
from portal.render import page
from portal.requests import is_htmx, own_path
from portal.routes import ROUTES
from portal.sign_in import SignIn
from portal.viewer_link import VIEWER_PATH
from storage.errors import StoreNotReady

__all__ = ["PortalContext", "create_app", "create_first_admin"]

log = logging.getLogger("radmeter.portal")

STATIC = Path(__file__).resolve().parent / "static"


def create_app(context: PortalContext) -> FastAPI:
    """The portal over one database and one data folder."""
    # FastAPI's own documentation pages load their scripts from elsewhere; `portal/api` has its own.
    app = FastAPI(title="radmeter", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_life)
    app.state.context = context
    app.state.intake = Intake(context)
    app.state.sign_in = SignIn(context)
    app.state.openid = OpenIdClient()
    app.state.shared_limit = FailureLimit(30, 900.0)
    app.state.form_key = secrets.token_bytes(32)
    app.state.static_version = _static_version()
    for module in ROUTES:
        app.include_router(module.router)
    app.add_api_route("/static/report.css", _report_style, include_in_schema=False)
    # Only what is the same for everybody is compressed: the length of a page tells nothing of what it says.
    app.mount("/static", GZipMiddleware(StaticFiles(directory=STATIC), minimum_size=1024), name="static")
    _answer_errors(app)
    health.register_studies(context.registry, context.database)
    app.add_middleware(AccessAudit, trail=AccessTrail(context.database))
    app.add_middleware(Guard, registry=context.registry, is_secure=context.cookie_secure)
    return app


@contextlib.asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    yield
    await asyncio.to_thread(app.state.intake.close)


def _static_version() -> str:
    """Changes with the static files, so that browsers fetch them anew after an update."""
    digest = hashlib.sha256()
    for path in [*sorted(STATIC.iterdir()), TEMPLATES / "report.css"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _report_style() -> Response:
    """The style that the report brings, the same on the page and in print."""
    return FileResponse(TEMPLATES / "report.css", media_type="text/css")


def _answer_errors(app: FastAPI) -> None:
    """The one table from errors to HTTP."""

    def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and (error.status_code, request.method) == (405, "OPTIONS"):
            return Response(status_code=204, headers=error.headers)
        if isinstance(error, StudyNotFound) and is_htmx(request):
            # The page that asks is of a study that has just been removed: anew it says so.
            return Response(status_code=204, headers={"HX-Refresh": "true"})
        if isinstance(error, StudyNotFound) and not _is_api(request):
            error = StudyGone()
        if isinstance(error, (StudyNotFound, FindingUnknown, *NOT_FOUND)):
            error = PageNotFound()
        if isinstance(error, BillingError):
            error = ActionConflict(type(error).__doc__)
        # DataError: text that PostgreSQL cannot hold, such as a NUL
        if isinstance(error, RequestValidationError | psycopg.DataError):
            error = InvalidInput()
        if isinstance(error, HTTPException):
            error = _of_status(error)
        assert isinstance(error, PortalError)
        return _answer_portal_error(request, error)

    secure = app.state.context.cookie_secure
    app.add_exception_handler(NotSignedIn, kept_form.keeping(answer, app.state.form_key, secure=secure))
    for kind in (
        PortalError,
        StudyNotFound,
        FindingUnknown,
        BillingError,
        RequestValidationError,
        psycopg.DataError,
        HTTPException,
    ):
        app.add_exception_handler(kind, answer)
    for away in (psycopg.OperationalError, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed, StoreNotReady):
        app.add_exception_handler(away, _answer_not_ready)
    app.add_exception_handler(Exception, _answer_own_mistake)


def _of_status(error: HTTPException) -> PortalError:
    """Starlette's own errors (no such route, method not allowed) as ours."""
    ours = PageNotFound() if error.status_code == 404 else PortalError(str(error.detail))
    ours.status = error.status_code  # type: ignore[misc]  # the instance's own, not the class's
    return ours


def _is_api(request: Request) -> bool:
    return request.url.path.startswith(("/api/", "/dicom-web/"))


def _answer_portal_error(request: Request, error: PortalError) -> Response:
    retry_after_s = getattr(error, "retry_after_s", None)
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    if _is_api(request):
        if isinstance(error, NotSignedIn):
            headers["WWW-Authenticate"] = "Bearer"
        body = {"error": {"code": error.code, "message": str(error), **error.detail}}
        return JSONResponse(body, error.status, headers)
    if isinstance(error, NotSignedIn):
        return _to_sign_in(request, error.path if isinstance(error, StepNeeded) else "/sign-in")
    response = page(request, "error.html", status_code=error.status, message=str(error))
    response.headers.update(headers)
    return response


def _to_sign_in(request: Request, target: str) -> Response:
    """The page that a person comes back to is named in `next`; a fragment sends the whole page away."""
    if is_htmx(request):
        back = urlsplit(request.headers.get("hx-current-url", "")).path
    elif request.method == "GET":
        back = request.url.path
        if back.startswith(VIEWER_PATH):  # what is to be looked at stands in its query
            back += f"?{request.url.query}"
    else:
        back = urlsplit(request.headers.get("referer", "")).path
    if own_path(back) and back != "/" and not back.startswith("/sign-in"):
        target += "?next=" + quote(back)
    if is_htmx(request):
        return Response(status_code=401, headers={"HX-Redirect": target})
    return RedirectResponse(target, 303)


def _answer_not_ready(request: Request, error: Exception) -> Response:
    what = "object_store" if isinstance(error, StoreNotReady) else "database"
    log.error(f"{what}_unavailable", extra={"error": type(error).__name__})
    message = "The service is not ready. Try again in a moment."
    headers = {"Retry-After": "5"}
    if _is_api(request):
        return JSONResponse({"error": {"code": "not_ready", "message": message}}, 503, headers)
    response = page(request, "error.html", status_code=503, message=message)
    response.headers.update(headers)
    return response


def _answer_own_mistake(request: Request, error: Exception) -> Response:
    """The client learns that it was not its fault; the traceback is logged by the server.

    Starlette answers here from outside all middleware, so the headers are set once more.
    """
    log.error("request_failed", extra={"error": type(error).__name__})
    message = "Something went wrong on our side."
    if _is_api(request):
        response: Response = JSONResponse({"error": {"code": "internal", "message": message}}, 500)
    else:
        response = page(request, "error.html", status_code=500, message=message)
    protect(request.url.path, response.headers)
    return response
