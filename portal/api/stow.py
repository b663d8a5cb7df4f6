"""STOW-RS: studies stored by HTTP (PS3.18 section 10.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from fastapi import APIRouter, Request, Response

from dicom_gateway.errors import BodyNotTaken
from dicom_gateway.multipart_related import parse_header_value
from dicom_gateway.peers import Peer
from dicom_gateway.receive_stow import DICOM, receive_stow
from dicom_gateway.stow_response import StowResult, choose_media_type
from portal.auth import identify_storing_key
from portal.errors import InvalidInput, MediaTypeNotSupported, NotAcceptable, NotSignedIn
from portal.intake import Intake
from portal.requests import bearer_token, portal_context
from study.errors import InvalidUID
from study.identifiers import validate_uid

router = APIRouter(prefix="/dicom-web", include_in_schema=False)

_RETRY_AFTER_S = 30


@router.post("/studies")
async def store(request: Request) -> Response:
    """Store instances of any study."""
    return await _store(request, None)


@router.post("/studies/{study_instance_uid}")
async def store_study(request: Request, study_instance_uid: str) -> Response:
    """Store instances of one study; others are refused one by one."""
    try:
        return await _store(request, validate_uid(study_instance_uid))
    except InvalidUID:
        raise InvalidInput("the study in the address is not a UID") from None


async def _store(request: Request, study_instance_uid: str | None) -> Response:
    peer = await asyncio.to_thread(_sender, request)
    boundary = _boundary(request)
    media_type = choose_media_type(request.headers.get("accept", ""))
    if media_type is None:
        raise NotAcceptable
    intake: Intake = request.app.state.intake

    def work(pieces: Iterator[bytes]) -> tuple[int, bytes]:
        result = StowResult()
        try:
            with intake.receiver(peer, result.add, study_instance_uid) as receiver:
                receive_stow(pieces, boundary, receiver)
        except BodyNotTaken as reason:
            result.break_off(reason)
        return result.status, result.encode(media_type)

    status, body = await intake.take(request, work)
    headers = {"Retry-After": str(_RETRY_AFTER_S)} if status == 503 else {}
    return Response(body, status, headers, media_type)


def _sender(request: Request) -> Peer:
    token = bearer_token(request)
    if token is None:
        raise NotSignedIn("Send an API key that is bound to a peer: Authorization: Bearer rm_…")
    return identify_storing_key(portal_context(request).database, token)


def _boundary(request: Request) -> str | None:
    """Of multipart/related with application/dicom; None for one instance that is the whole body."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise MediaTypeNotSupported("a compressed body is not taken")
    media_type, parameters = parse_header_value(request.headers.get("content-type", ""))
    if media_type == DICOM:
        return None
    kind = parameters.get("type", DICOM).lower()
    if media_type != "multipart/related" or kind != DICOM:
        raise MediaTypeNotSupported(_why_not(media_type + kind))
    return parameters.get("boundary", "")


def _why_not(sent: str) -> str:
    taken = f'multipart/related; type="{DICOM}" or a single {DICOM}'
    if "dicom+json" in sent or "dicom+xml" in sent:
        return f"metadata with bulk data apart is not taken: send {taken}"
    return f"send {taken}"
