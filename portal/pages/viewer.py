"""The optional image viewer under `/ohif/`: its page, its files, its own content security policy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from portal.context import SEES_STUDIES, Identity, PortalContext
from portal.errors import PageNotFound
from portal.requests import Context, signed_in
from portal.viewer_link import VIEWER_PATH, viewer_is_installed

router = APIRouter(prefix=VIEWER_PATH, include_in_schema=False)

_CONFIG = Path(__file__).resolve().parent.parent / "viewer/app-config.js"
# Segmentations are read by generated code and by WebAssembly; decoders run in workers made of blobs. Nothing of that
# is allowed anywhere else in the portal.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(/[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*){0,4}", re.ASCII)
_NAME_LENGTH_MAX = 200
_HASHED = re.compile(r"[0-9a-f]{16}\.[a-z0-9]+$", re.ASCII)
_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}


@router.get("/")
def root() -> Response:
    """There is no list of studies here: the work list is it."""
    return RedirectResponse("/", 303)


@router.get("/viewer")
def show(
    request: Request, context: Context, _identity: Annotated[Identity, Depends(signed_in(SEES_STUDIES))]
) -> Response:
    """The page of the viewer; what it shows it asks of `/dicom-web` with the same session."""
    if not viewer_is_installed(context):
        raise PageNotFound("The image viewer is not installed here. `radmeter viewer install` fetches it.")
    return _file(request, context, "index.html")


@router.get("/{name:path}")
def file(request: Request, context: Context, name: str) -> Response:
    """A file of the viewer; it is the same for everybody."""
    if name == "app-config.js" and viewer_is_installed(context):
        return _secured(FileResponse(_CONFIG, media_type="text/javascript"), "no-cache")
    if len(name) > _NAME_LENGTH_MAX or _NAME.fullmatch(name) is None or name == "index.html":
        raise PageNotFound
    return _file(request, context, name)


def _file(request: Request, context: PortalContext, name: str) -> Response:
    path = context.viewer_root / name
    media_type = _TYPES.get(path.suffix)
    if media_type is None or not path.is_file():
        raise PageNotFound
    caching = "public, max-age=31536000, immutable" if _HASHED.search(name) else "no-cache"
    packed = path.with_name(path.name + ".gz")
    if packed.is_file() and "gzip" in request.headers.get("accept-encoding", ""):
        response = FileResponse(packed, media_type=media_type, headers={"Content-Encoding": "gzip"})
    else:
        response = FileResponse(path, media_type=media_type)
    response.headers["Vary"] = "Accept-Encoding"
    return _secured(response, caching)


def _secured(response: Response, caching: str) -> Response:
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Cache-Control"] = caching
    return response
