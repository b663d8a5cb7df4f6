"""Around every request: a size limit, the same-site check, response headers, a log line, a measurement."""

from __future__ import annotations

import logging
import os
import re
import time
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.errors import CrossSiteRequest, PortalError, RequestTooLarge
from portal.streamed_body import UnreadBody

log = logging.getLogger("radmeter.portal")

BODY_SIZE_MAX = 1024 * 1024
# Batches of usage events are larger than any form.
LARGER_BODIES = {"/api/v1/usage/events": 4 * 1024 * 1024}
# These read their bodies themselves, piece by piece and within limits of their own.
STREAMED_PATHS = re.compile(r"/dicom-web/studies(/[^/]*)?|/upload")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it, browsers send `Origin: null` with our own forms over plain http, where
    # Sec-Fetch-Site is absent too, and the same-site check could not know them. Other sites see nothing
    # either way.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def require_same_site(method: str, headers: Headers) -> None:
    """Raise `CrossSiteRequest` if a browser sent this changing request from a page that is not ours.

    The session cookie is SameSite=Strict; this is the second wall. Every browser names the origin of a
    changing request; a program that sends neither header carries no cookie of a person.
    """
    if method in SAFE_METHODS:
        return
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    if site is not None:
        if site not in {"same-origin", "none"}:
            raise CrossSiteRequest
    elif origin is not None:
        if urlsplit(origin).netloc != headers.get("host", ""):
            raise CrossSiteRequest
    elif "cookie" in headers:
        raise CrossSiteRequest


def protect(path: str, headers: MutableHeaders) -> None:
    """Set the headers that every answer carries, where the answer has not set its own."""
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if not path.startswith("/static/"):
        # Pages name patients: neither proxies nor the disk of a shared workstation keep them.
        headers.setdefault("Cache-Control", "no-store")


class Guard:
    """ASGI middleware around the whole portal."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry, *, is_secure: bool) -> None:
        self._app = app
        self._is_secure = is_secure
        # Several processes together: the registry collects from their files, ours among them.
        own = None if "PROMETHEUS_MULTIPROC_DIR" in os.environ else registry
        self._requests = Counter(
            "radmeter_http_requests",
            "Requests by route template.",
            ["method", "route", "status"],
            registry=own,
        )
        self._seconds = Histogram(
            "radmeter_http_request_seconds",
            "Time to answer, by route template.",
            ["route"],
            registry=own,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status = 500
        is_streamed = scope["method"] == "POST" and STREAMED_PATHS.fullmatch(scope["path"]) is not None
        unread = UnreadBody(receive, has_begun="expect" not in Headers(scope=scope))

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                self._set_headers(scope["path"], headers)
                if is_streamed and unread.has_more:
                    await unread.skip()
                    headers["Connection"] = "close"
            await send(message)

        try:
            if is_streamed:
                await self._answer_streamed(scope, unread, send_guarded)
            else:
                await self._answer(scope, receive, send_guarded)
        finally:
            self._observe(scope, status, time.monotonic() - started)

    async def _answer_streamed(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            require_same_site(scope["method"], Headers(scope=scope))
        except PortalError as error:
            await PlainTextResponse(str(error), error.status)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            require_same_site(scope["method"], headers)
            size_max = LARGER_BODIES.get(scope["path"], BODY_SIZE_MAX)
            body = (
                await _read_body(receive, headers, size_max) if scope["method"] not in SAFE_METHODS else b""
            )
        except PortalError as error:
            await PlainTextResponse(str(error), error.status)(scope, receive, send)
            return
        if scope["method"] in SAFE_METHODS:
            await self._app(scope, receive, send)
        else:
            await self._app(scope, _replay(body, receive), send)

    def _set_headers(self, path: str, headers: MutableHeaders) -> None:
        protect(path, headers)
        if self._is_secure:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")

    def _observe(self, scope: Scope, status: int, duration_s: float) -> None:
        """The route's template stands for the path: neither metrics nor logs take what a client made up."""
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in {*SAFE_METHODS, "POST"} else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(duration_s)
        if not route.startswith("/static") and route not in {"/healthz", "/readyz", "/metrics"}:
            duration_ms = round(duration_s * 1000)
            fields = {"method": method, "route": route, "status": status, "duration_ms": duration_ms}
            log.info("request_answered", extra=fields)


async def _read_body(receive: Receive, headers: Headers, size_max: int) -> bytes:
    """The whole body, at most `size_max` bytes."""
    declared = headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > size_max:
        raise RequestTooLarge
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > size_max:
            raise RequestTooLarge
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that hands out `body` once, then listens to the connection again."""
    is_sent = False

    async def replay() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
