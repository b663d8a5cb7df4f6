"""Deliver: STOW-RS as user agent (PS3.18 section 10.5), one request for a list of files, else for each.

The files are streamed as they are. An instance counts as acknowledged only when the answer names it as stored; a
success without that list (a proxy's, say) is none. What a server does wrong is an outcome, never an exception.
"""

from __future__ import annotations

import email.utils
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from dicom_gateway.acceptor_settings import KIB, MIB
from dicom_gateway.delivery_outcome import DeliveryOutcome
from dicom_gateway.dicomweb_client import DicomWebServer, connected, why_not_answered
from dicom_gateway.errors import NotAPart10File
from dicom_gateway.file_meta import FileMeta, read_file_meta
from dicom_gateway.query_errors import ServerRefused
from dicom_gateway.status import describe, is_refusal

logger = logging.getLogger(__name__)

JSON = "application/dicom+json"
_READ_BYTES = 256 * KIB
_ANSWER_BYTES_MAX = 8 * MIB
# Slowest transfer that is still one: 64 KiB/s, and this much for a small request.
_WHOLE_S_MIN = 300.0
_BYTES_PER_S_MIN = 64 * KIB

_FAILED, _REFERENCED, _UID = "00081198", "00081199", "00081155"
_FAILURE_REASON, _WARNING_REASON = "00081197", "00081196"
# One instance in a request may be what the server does not like; sent alone, each has an answer of its own.
_SENT_ALONE = frozenset({400, 409, 413, 415, 422})
# Not the instance's fault and not the moment's: somebody has to change something first, here or there.
_REFUSALS = frozenset({400, 401, 403, 404, 405, 406, 411, 413, 414, 415, 421, 422, 426, 501})


@dataclass(frozen=True)
class StowDestination:
    """Where to send.

    server: its root, how to sign in, TLS and the time for each piece of a transfer.
    answer_timeout_s: from the end of the request to the answer; archives index before they answer.
    """

    server: DicomWebServer
    answer_timeout_s: float = 120.0


def stow_instances(
    paths: Sequence[Path],
    destination: StowDestination,
    on_progress: Callable[[DeliveryOutcome], None] | None = None,
) -> list[DeliveryOutcome]:
    """Send Part 10 files in one request; one outcome for each, in their order. Never raises for the server."""
    if not paths:
        return []
    metas: dict[Path, FileMeta] = {}
    unreadable: dict[Path, str] = {}
    for path in paths:
        try:
            metas[path] = read_file_meta(path)
        except NotAPart10File as error:
            unreadable[path] = str(error)
    answer = _post(destination, list(metas)) if metas else _Answer()
    if answer.is_of_whole and len(metas) > 1:
        return [one for path in paths for one in stow_instances([path], destination, on_progress)]
    outcomes = []
    for path in paths:
        if path in metas:
            outcome = answer.outcome_of(metas[path], path)
        else:
            outcome = DeliveryOutcome("", None, False, unreadable[path], path)
        outcomes.append(outcome)
        if on_progress is not None:
            on_progress(outcome)
    acknowledged = sum(outcome.acknowledged for outcome in outcomes)
    logger.info("instances_stowed count=%d acknowledged=%d", len(outcomes), acknowledged)
    return outcomes


def probe(server: DicomWebServer) -> str | None:
    """Whether a DICOMweb service answers there: None, or the reason as a sentence. Stores and reads nothing."""
    try:
        # A body that is no multipart: a STOW-RS service says what it does not like, anything else has no such place.
        with connected(server) as client, client.stream("POST", "studies", content=b"") as response:
            code = response.status_code
    except httpx.HTTPError as error:
        return why_not_answered(error)
    if code in (401, 403):
        return f"the server does not let us in (HTTP {code}): check the token"
    if code in (404, 405, 501) or 300 <= code < 400:
        return f"there is no STOW-RS service at this address (HTTP {code})"
    return f"the server has a problem (HTTP {code})" if code >= 500 and code != 503 else None


@dataclass(frozen=True)
class _Answer:
    """What the server said: of each instance, and of the request as a whole where it named none.

    stored: SOP Instance UID → warning reason or None. failed: SOP Instance UID → failure reason.
    """

    stored: dict[str, int | None] | None = None
    failed: dict[str, int] | None = None
    error: str = "no answer from the server"
    is_refusal: bool = False
    retry_after_s: float | None = None
    is_of_whole: bool = False
    """The request as a whole was refused, and that may be one instance's doing."""

    def outcome_of(self, meta: FileMeta, path: Path) -> DeliveryOutcome:
        uid = meta.sop_instance_uid
        if self.failed and uid in self.failed:
            status = self.failed[uid]
            words = f"{describe(status)} ({status:04X}H)"
            return DeliveryOutcome(
                uid, status, False, words, path, is_refusal(status), retry_after_s=self.retry_after_s
            )
        if self.stored is not None and uid in self.stored:
            reason = self.stored[uid]
            warning = None if reason is None else f"{describe(reason)} ({reason:04X}H)"
            return DeliveryOutcome(uid, reason or 0, True, None, path, warning=warning)
        return DeliveryOutcome(
            uid, None, False, self.error, path, self.is_refusal, retry_after_s=self.retry_after_s
        )


def _post(destination: StowDestination, paths: list[Path]) -> _Answer:
    boundary = f"radmeter-{secrets.token_hex(16)}"
    timeout = httpx.Timeout(destination.server.timeout_s, read=destination.answer_timeout_s)
    try:
        body = _Body(paths, boundary)
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(body.size),
            "Accept": JSON,
        }
        with (
            connected(destination.server) as client,
            client.stream(
                "POST", "studies", content=iter(body), headers=headers, timeout=timeout
            ) as response,
        ):
            return _read(response, time.monotonic() + destination.answer_timeout_s)
    except ServerRefused as refusal:
        return _Answer(error=str(refusal))
    except httpx.HTTPError as error:
        return _Answer(error=why_not_answered(error))
    except OSError as error:
        return _Answer(error=f"a file cannot be read ({error.strerror})")


class _Body:
    """The multipart body: files in pieces, never one as a whole. Raises `ServerRefused` when it takes too long."""

    def __init__(self, paths: Sequence[Path], boundary: str) -> None:
        self._paths = paths
        self._head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self._end = f"--{boundary}--\r\n".encode()
        self.size = sum(len(self._head) + path.stat().st_size + 2 for path in paths) + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        ends_at = time.monotonic() + _WHOLE_S_MIN + self.size / _BYTES_PER_S_MIN
        for path in self._paths:
            yield self._head
            with path.open("rb") as file:
                while piece := file.read(_READ_BYTES):
                    if time.monotonic() > ends_at:
                        raise ServerRefused("the server takes the request too slowly")
                    yield piece
            yield b"\r\n"
        yield self._end


def _read(response: httpx.Response, ends_at: float) -> _Answer:
    """The answer, bounded in bytes and time."""
    code = response.status_code
    retry_after = retry_after_s(response.headers.get("retry-after", ""))
    if response.is_redirect:
        return _Answer(error="the server redirects; another address is not followed", is_refusal=True)
    body = bytearray()
    for part in response.iter_raw():
        body += part
        if len(body) > _ANSWER_BYTES_MAX:
            raise ServerRefused("the server sends more than we take")
        if time.monotonic() > ends_at:
            raise ServerRefused("the answer did not arrive in time")
    named = _named(bytes(body)) if code in (200, 202, 409) or code >= 400 else None
    if named is None:
        missing = "without naming the instances that it stored" if code < 300 else "and names no instance"
        error = f"the server answers HTTP {code} {missing}"
        is_of_whole = code in _SENT_ALONE
        return _Answer(
            error=error, is_refusal=code in _REFUSALS, retry_after_s=retry_after, is_of_whole=is_of_whole
        )
    stored, failed = named
    # Only these two say that something was stored (PS3.18 table 10.5.3-1).
    kept = stored if code in (200, 202) else {}
    error = f"the server answers HTTP {code} and does not name this instance"
    return _Answer(kept, failed, error, code in _REFUSALS, retry_after)


def _named(body: bytes) -> tuple[dict[str, int | None], dict[str, int]] | None:
    """(stored, failed) of the Store Instances Response Module (PS3.18 annex I); None where there is none."""
    try:
        dataset = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(dataset, list) and len(dataset) == 1:
        dataset = dataset[0]
    if not isinstance(dataset, dict) or not ({_FAILED, _REFERENCED} & dataset.keys()):
        return None
    failed = {uid: reason or 0x0110 for uid, reason in _items(dataset, _FAILED, _FAILURE_REASON)}
    stored = {
        uid: reason for uid, reason in _items(dataset, _REFERENCED, _WARNING_REASON) if uid not in failed
    }
    return stored, failed


def _items(dataset: dict[str, Any], sequence: str, reason: str) -> Iterator[tuple[str, int | None]]:
    values = dataset.get(sequence)
    for item in _values(values):
        uid = next(iter(_values(item.get(_UID) if isinstance(item, dict) else None)), None)
        code = next(iter(_values(item.get(reason) if isinstance(item, dict) else None)), None)
        if isinstance(uid, str):
            yield uid.strip(), code if isinstance(code, int) and 0 <= code <= 0xFFFF else None


def _values(element: object) -> list[Any]:
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def retry_after_s(value: str) -> float | None:
    """Seconds from the header's value, which is a number or a date (RFC 9110 section 10.2.3)."""
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return float(min(int(text[:9]), 86_400))
    try:
        at = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max(0.0, (at - datetime.now(UTC)).total_seconds()), 86_400.0)
