"""QIDO-RS as a client (PS3.18 section 10.6): what an archive has. Whatever a server does is an answer.

Only addresses below the configured root are asked; a URL that the server sends (RetrieveURL, BulkDataURI,
Location) is never followed, so an answer cannot send us to another machine.
"""

from __future__ import annotations

import json
import logging
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydicom.datadict import tag_for_keyword

from dicom_gateway.archive_match import (
    RETURN_KEYS,
    USUAL_LIMITS,
    Level,
    Match,
    QueryAnswer,
    QueryLimits,
    make_match,
)
from dicom_gateway.query_errors import DicomWebURLInvalid, ServerRefused
from dicom_gateway.tls import why_tls_failed
from study.identifiers import validate_uid

logger = logging.getLogger(__name__)

_PAGE_MATCHES = 100
_PAGES_MAX = 1000
_ITEMS: dict[Level, str] = {"STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}
_KEYS_ABOVE: dict[Level, tuple[str, ...]] = {
    "STUDY": (),
    "SERIES": ("StudyInstanceUID",),
    "IMAGE": ("StudyInstanceUID", "SeriesInstanceUID"),
}


@dataclass(frozen=True)
class DicomWebServer:
    """A DICOMweb root (`https://pacs/dicom-web`) and how to sign in.

    username, secret: Basic with a user name, Bearer with a secret alone, nothing without one. They go to this
        origin only.
    tls: the context that verifies the server; None takes the machine's certificate authorities.
    allows_clear_text: somebody decided that the secret may go over plain http through this network.
    """

    url: str
    username: str = ""
    secret: str = ""
    timeout_s: float = 10.0
    tls: ssl.SSLContext | None = None
    allows_clear_text: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise DicomWebURLInvalid(self.url)
        if parts.username or parts.password:
            raise DicomWebURLInvalid("a URL with a password")

    @property
    def may_hear_secrets(self) -> bool:
        """Over TLS, where nothing leaves the machine, or where it was decided."""
        parts = urlsplit(self.url)
        return (
            self.allows_clear_text
            or parts.scheme == "https"
            or parts.hostname in ("localhost", "127.0.0.1", "::1")
        )


def search(
    server: DicomWebServer, level: Level, keys: Mapping[str, str], limits: QueryLimits = USUAL_LIMITS
) -> QueryAnswer:
    """Ask for the studies, series or instances that match `keys` (keyword → value). Never raises for the server."""
    matches: dict[str, Match] = {}
    unusable = 0
    error: str | None = None
    budget = _Budget(limits)
    try:
        with connected(server) as client:
            for page in _pages(client, level, keys, budget):
                before = len(matches)
                for item in page:
                    match = make_match(level, _texts(item)) if isinstance(item, dict) else None
                    unusable += match is None
                    if match is not None:
                        matches.setdefault(match.uid, match)
                    if len(matches) + unusable > limits.matches_max:
                        raise ServerRefused(f"more than {limits.matches_max} matches")
                if len(matches) == before:
                    break  # a server that knows no offset sends its first page again
    except ServerRefused as refusal:
        error = str(refusal)
    except httpx.HTTPError as failure:
        error = why_not_answered(failure)
    found = tuple(matches.values())[: limits.matches_max]
    logger.info("archive_queried level=%s matches=%d complete=%s", level, len(found), not error)
    return QueryAnswer(found, error, unusable)


@contextmanager
def connected(server: DicomWebServer) -> Iterator[httpx.Client]:
    """A client that stays at the server's origin: no redirects, no proxies or passwords of the environment."""
    if server.secret and not server.may_hear_secrets:
        raise ServerRefused("a password or token is sent over https only")
    headers = {"Accept-Encoding": "identity"}
    if server.secret and not server.username:
        headers["Authorization"] = f"Bearer {server.secret}"
    with httpx.Client(
        base_url=server.url.rstrip("/") + "/",
        headers=headers,
        auth=(server.username, server.secret) if server.username else None,
        timeout=server.timeout_s,
        verify=server.tls or True,
        follow_redirects=False,
        trust_env=False,
    ) as client:
        yield client


def why_not_answered(error: httpx.HTTPError) -> str:
    """What a person can do something about. httpx's own message may quote the address; it is not repeated."""
    if isinstance(error, httpx.ConnectTimeout):
        return "the server does not answer"
    if isinstance(error, httpx.ConnectError):
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError | socket.gaierror):
            cause = cause.__cause__ or cause.__context__
        if isinstance(cause, ssl.SSLError):
            return why_tls_failed(cause)
        return "no address is known for the server's name" if cause else "no connection to the server"
    if isinstance(error, httpx.TimeoutException):
        return "the server did not answer in time"
    return f"the transfer failed: {type(error).__name__}"


def require_success(response: httpx.Response) -> None:
    """Raise `ServerRefused` unless the answer is what was asked for and comes as it is."""
    if response.is_redirect:
        raise ServerRefused("the server redirects; another address is not followed")
    if response.status_code not in (200, 204, 206):
        raise ServerRefused(f"the server answers {response.status_code}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ServerRefused("the server compresses its answer")


def study_path(keys: Mapping[str, str]) -> str:
    """`studies/<uid>[/series/<uid>]` of validated UIDs; raises `InvalidUID`."""
    path = f"studies/{validate_uid(keys['StudyInstanceUID'])}"
    series_uid = keys.get("SeriesInstanceUID")
    return f"{path}/series/{validate_uid(series_uid)}" if series_uid else path


class _Budget:
    """What is left of a query's time and bytes."""

    def __init__(self, limits: QueryLimits) -> None:
        self._limits = limits
        self._ends_at = time.monotonic() + limits.time_s
        self._bytes = 0

    def spend(self, count: int) -> None:
        self._bytes += count
        if self._bytes > self._limits.bytes_max:
            raise ServerRefused("the server sends more than we take")
        if time.monotonic() >= self._ends_at:
            raise ServerRefused(f"no complete answer within {self._limits.time_s:g} s")


def _pages(
    client: httpx.Client, level: Level, keys: Mapping[str, str], budget: _Budget
) -> Iterator[list[Any]]:
    above = _KEYS_ABOVE[level]
    in_path = {keyword: keys[keyword] for keyword in above if keyword in keys}
    path = f"{study_path(in_path)}/{_ITEMS[level]}" if in_path else _ITEMS[level]
    wanted = {keyword: value for keyword, value in keys.items() if keyword not in in_path and value}
    for number in range(_PAGES_MAX):
        parameters: list[tuple[str, str | int | float | bool | None]] = [*wanted.items()]
        parameters += [*(("includefield", keyword) for keyword in RETURN_KEYS[level])]
        parameters += [("limit", str(_PAGE_MATCHES)), ("offset", str(number * _PAGE_MATCHES))]
        page, has_more = _page(client, path, parameters, budget)
        yield page
        if not page or (len(page) < _PAGE_MATCHES and not has_more):
            return


def _page(
    client: httpx.Client,
    path: str,
    parameters: list[tuple[str, str | int | float | bool | None]],
    budget: _Budget,
) -> tuple[list[Any], bool]:
    """One page of matches, and whether the server says that there are more (PS3.18 section 8.3.4.4)."""
    with client.stream(
        "GET", path, params=parameters, headers={"Accept": "application/dicom+json"}
    ) as response:
        require_success(response)
        body = bytearray()
        for part in response.iter_raw():
            budget.spend(len(part))
            body += part
        has_more = "additional results" in response.headers.get("warning", "").lower()
    if not body:
        return [], False  # 204: no matches
    try:
        page = json.loads(body)
    except (ValueError, RecursionError):
        raise ServerRefused("the answer is no JSON") from None
    if not isinstance(page, list):
        raise ServerRefused("the answer is no list of matches")
    return page, has_more


_KEYWORD_OF = {
    f"{tag_for_keyword(keyword):08X}": keyword for keys in RETURN_KEYS.values() for keyword in keys
}


def _texts(item: dict[str, Any]) -> dict[str, str]:
    """Keyword → text of the attributes that were asked for (DICOM JSON, PS3.18 annex F.2)."""
    texts: dict[str, str] = {}
    for tag, keyword in _KEYWORD_OF.items():
        element = item.get(tag)
        values = element.get("Value") if isinstance(element, dict) else None
        if isinstance(values, list):
            texts[keyword] = "\\".join(_text(value) for value in values[:64])
    return texts


def _text(value: object) -> str:
    if isinstance(value, dict):  # a person name has up to three groups
        return str(value.get("Alphabetic") or value.get("Ideographic") or "")
    return "" if value is None else str(value)
