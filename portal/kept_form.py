"""A form that was sent with a session that had ended: kept by the browser, shown filled after the person signs in.

It is kept in cookies that scripts cannot read and the browser sends to one page alone, signed, so that nobody else's
text comes back as a person's own, and for a quarter of an hour. Nothing is sent by itself: the person looks and sends.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from fastapi import Request, Response

KEPT_FOR_S = 900
PATH = "/continue"
_COOKIE = "radmeter_form_{}"
_PART_LENGTH, _PARTS_MAX = 3500, 3
_TEXT_MAX = 64 * 1024
_SIGNATURE_LENGTH = 32


@dataclass(frozen=True)
class KeptForm:
    """Where the form was to be sent, and its fields in their order."""

    path: str
    fields: tuple[tuple[str, str], ...]


def keeping(
    answer: Callable[[Request, Exception], Response], key: bytes, *, secure: bool
) -> Callable[[Request, Exception], Awaitable[Response]]:
    """`answer`, which leads to the sign-in page, with the form kept that the request brought."""

    async def answer_keeping(request: Request, error: Exception) -> Response:
        return await keep(request, answer(request, error), key, secure=secure)

    return answer_keeping


async def keep(request: Request, response: Response, key: bytes, *, secure: bool) -> Response:
    """Let the answer that leads to the sign-in page lead back to the form that `request` brought, if it brought one.

    A form that is larger than what cookies hold is not kept.
    """
    kind = request.headers.get("content-type", "").partition(";")[0]
    if request.method != "POST" or kind != "application/x-www-form-urlencoded":
        return response
    form = await request.form()
    fields = [[name, value] for name, value in form.multi_items() if isinstance(value, str)]
    parts = _sealed({"path": request.url.path, "fields": fields, "until": int(time.time()) + KEPT_FOR_S}, key)
    if parts is None or not fields or request.url.path.startswith("/sign-"):
        return response
    for number, part in enumerate(parts):
        response.set_cookie(
            _COOKIE.format(number), part, max_age=KEPT_FOR_S, path=PATH, httponly=True, samesite="strict",
            secure=secure,
        )  # fmt: skip
    for header in ("location", "hx-redirect"):
        if header in response.headers:
            response.headers[header] = _leading_back(response.headers[header])
    return response


def read(request: Request, key: bytes) -> KeptForm | None:
    """The form that this browser keeps; None where there is none, or it is old or not ours."""
    text = "".join(request.cookies.get(_COOKIE.format(number), "") for number in range(_PARTS_MAX))
    try:
        sealed = base64.urlsafe_b64decode(text)
    except (ValueError, binascii.Error):
        return None
    signature, packed = sealed[:_SIGNATURE_LENGTH], sealed[_SIGNATURE_LENGTH:]
    if not hmac.compare_digest(signature, hmac.digest(key, packed, hashlib.sha256)):
        return None
    record = json.loads(zlib.decompressobj().decompress(packed, _TEXT_MAX))  # ours: the signature holds
    if record["until"] < time.time():
        return None
    return KeptForm(record["path"], tuple((name, value) for name, value in record["fields"]))


def forget(response: Response) -> None:
    """Who signs out leaves nothing typed behind on a workstation that others use."""
    for number in range(_PARTS_MAX):
        response.delete_cookie(_COOKIE.format(number), path=PATH, httponly=True, samesite="strict")


def _sealed(record: dict[str, object], key: bytes) -> list[str] | None:
    text = json.dumps(record).encode()
    packed = zlib.compress(text)
    whole = base64.urlsafe_b64encode(hmac.digest(key, packed, hashlib.sha256) + packed).decode()
    if len(text) > _TEXT_MAX or len(whole) > _PART_LENGTH * _PARTS_MAX:
        return None
    return [whole[start : start + _PART_LENGTH] for start in range(0, len(whole), _PART_LENGTH)]


def _leading_back(address: str) -> str:
    """The sign-in address with the page of the kept form as the one that comes next."""
    parts = urlsplit(address)
    query = dict(parse_qsl(parts.query)) | {"next": PATH}
    return urlunsplit(parts._replace(query=urlencode(query, safe="/", quote_via=quote)))
