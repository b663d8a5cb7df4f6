"""WADO-RS as a client (PS3.18 section 10.4): a study as Part 10 files in one answer, taken apart while it comes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import httpx

from dicom_gateway.dicomweb_client import (
    DicomWebServer,
    connected,
    require_success,
    study_path,
    why_not_answered,
)
from dicom_gateway.errors import InstanceRefused, MultipartMalformed, NotAPart10File
from dicom_gateway.file_meta import scan_file_meta
from dicom_gateway.multipart_related import Event, MultipartParser, PartBegins, PartEnds, parse_header_value
from dicom_gateway.query_errors import ServerRefused
from dicom_gateway.retrieved_instances import RetrievedInstances, RetrieveOutcome

logger = logging.getLogger(__name__)

_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def retrieve(
    server: DicomWebServer, study_instance_uid: str, instances: RetrievedInstances
) -> RetrieveOutcome:
    """Take the study. Never raises for the server; an instance that is refused does not stop the others."""
    path = study_path({"StudyInstanceUID": study_instance_uid})
    error: str | None = None
    try:
        with connected(server) as client, client.stream("GET", path, headers={"Accept": _ACCEPT}) as response:
            require_success(response)
            parts = _Parts(_events(response, instances.limits.time_s))
            while parts.begin():
                _take(parts, instances)
    except (ServerRefused, MultipartMalformed) as refusal:
        error = str(refusal)
    except httpx.HTTPError as failure:
        error = why_not_answered(failure)
    if error is None and instances.failed:
        error = f"{instances.failed} instances were not taken"
    logger.info("study_retrieved completed=%d failed=%d", instances.completed, instances.failed)
    return RetrieveOutcome(instances.completed, instances.failed, error)


def _events(response: httpx.Response, time_s: float) -> Iterator[Event]:
    kind, parameters = parse_header_value(response.headers.get("content-type", ""))
    if kind != "multipart/related":
        raise ServerRefused("the answer is not multipart/related")
    ends_at = time.monotonic() + time_s
    parser = MultipartParser(parameters.get("boundary", ""))
    for piece in response.iter_raw():
        if time.monotonic() >= ends_at:
            raise ServerRefused(f"not complete within {time_s:g} s")
        yield from parser.feed(piece)
        if parser.has_ended:
            return  # not every server closes the connection after it, and none tells the length
    parser.finish()


class _Parts:
    """The events as parts, one at a time."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events

    def begin(self) -> bool:
        """Go to the next part; what is left of the one before is passed over."""
        return any(isinstance(event, PartBegins) for event in self._events)

    def content(self) -> Iterator[memoryview]:
        for event in self._events:
            if isinstance(event, PartEnds):
                return
            if isinstance(event, memoryview):
                yield event


def _take(parts: _Parts, instances: RetrievedInstances) -> None:
    start = bytearray()
    content = parts.content()
    try:
        for piece in content:
            start += piece
            scanned = scan_file_meta(bytes(start))
            if scanned is not None:
                announced, offset = scanned
                instances.take(announced, _joined(bytes(start[offset:]), content))
                return
    except NotAPart10File:
        instances.failed += 1
    except InstanceRefused as refusal:
        logger.info("retrieved_instance_refused reason=%s", type(refusal).__name__)
    else:
        instances.failed += 1


def _joined(first: bytes, rest: Iterator[memoryview]) -> Iterator[bytes | memoryview]:
    yield first
    yield from rest
