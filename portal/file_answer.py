"""A file as an answer that a browser may keep and ask about again (RFC 9110, section 13)."""

from __future__ import annotations

from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import FileResponse

from portal.dicomweb_objects import not_modified
from portal.errors import PageNotFound

# Kept, and asked about with the session each time: who has signed out sees nothing of it any more.
_CACHE = "private, no-cache"


def file_answer(request: Request, path: Path, media_type: str) -> Response:
    """The file, or 304 where the browser has this very one. Raises `PageNotFound` when it has just gone."""
    try:
        answer = FileResponse(path, media_type=media_type, stat_result=path.stat())
    except FileNotFoundError:
        raise PageNotFound from None
    answer.headers["Cache-Control"] = _CACHE
    unchanged = not_modified(request, answer.headers["etag"])
    if unchanged is not None:
        unchanged.headers["Cache-Control"] = _CACHE
    return unchanged or answer
