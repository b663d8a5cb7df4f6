"""WADO-RS: instances and their metadata (PS3.18 section 10.4). Frames and pictures are in `wado_frames`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from dicom_gateway.stow_response import JSON
from dicom_gateway.web_accept import DICOM, Offer, accepted_ranges, choose, choose_plain, instance_offers
from dicom_gateway.web_decode import decoded_instances
from portal.context import PortalContext
from portal.dicomweb_objects import (
    GET,
    INSTANCE,
    SERIES,
    STUDY,
    ImageRoute,
    OfSeries,
    OfStudy,
    OneInstance,
    WebObject,
    accept_of,
    at_hand,
    etag_of,
    explained,
    metadata_of,
    not_modified,
    service_root,
)
from portal.errors import NotAcceptable
from portal.multipart_answer import Part, multipart_answer, pieces_of
from portal.requests import Context

router = APIRouter(prefix="/dicom-web", include_in_schema=False, route_class=ImageRoute)
_TRANSCODED_AT_A_TIME = 8
_BROUGHT_AT_A_TIME = 40


@router.api_route(STUDY, methods=GET)
def study(request: Request, context: Context, objects: OfStudy) -> Response:
    """All instances of a study."""
    return _instances(request, context, objects)


@router.api_route(SERIES, methods=GET)
def series(request: Request, context: Context, objects: OfSeries) -> Response:
    """All instances of a series."""
    return _instances(request, context, objects)


@router.api_route(INSTANCE, methods=GET)
def instance(request: Request, context: Context, one: OneInstance) -> Response:
    """One instance, as the only part or as the body."""
    return _instances(request, context, [one], is_one=True)


@router.api_route(STUDY + "/metadata", methods=GET)
def study_metadata(request: Request, context: Context, objects: OfStudy) -> Response:
    """The attributes of all instances of a study, without bulk data."""
    return _metadata(request, context, objects)


@router.api_route(SERIES + "/metadata", methods=GET)
def series_metadata(request: Request, context: Context, objects: OfSeries) -> Response:
    """The attributes of all instances of a series."""
    return _metadata(request, context, objects)


@router.api_route(INSTANCE + "/metadata", methods=GET)
def instance_metadata(request: Request, context: Context, one: OneInstance) -> Response:
    """The attributes of one instance."""
    return _metadata(request, context, [one])


def _metadata(request: Request, context: PortalContext, objects: Sequence[WebObject]) -> Response:
    media_type = choose_plain(accept_of(request), [JSON, "application/json"])
    if media_type is None:
        raise NotAcceptable("The answer comes as application/dicom+json, and the client does not accept it.")
    root = service_root(request, context)
    etag = etag_of(objects, "metadata", root, media_type)
    unchanged = not_modified(request, etag)
    if unchanged is not None:
        return unchanged
    headers = {"ETag": etag}
    if request.method == "HEAD":
        return Response(headers=headers, media_type=media_type)
    texts = context.web_index.metadata([one.file for one in objects])
    return StreamingResponse(metadata_of(objects, texts, root), headers=headers, media_type=media_type)


def _instances(
    request: Request, context: PortalContext, objects: Sequence[WebObject], *, is_one: bool = False
) -> Response:
    offers = [_offer(request, context, one, is_one=is_one) for one in objects]
    etag = etag_of(objects, "instances", *(offer.content_type for offer in offers))
    unchanged = not_modified(request, etag)
    if unchanged is not None:
        return unchanged
    headers = {"ETag": etag}
    if request.method == "HEAD":
        return Response(headers=headers, media_type=DICOM if is_one else f'multipart/related; type="{DICOM}"')
    with explained():
        if is_one and not offers[0].is_multipart:
            return StreamingResponse(
                _first_made(_pieces(objects[0], offers[0])),
                headers=headers,
                media_type=offers[0].content_type,
            )
        parts = _parts(objects, offers, service_root(request, context))
        return multipart_answer(DICOM, parts, headers)


def _offer(request: Request, context: PortalContext, one: WebObject, *, is_one: bool) -> Offer:
    """In which transfer syntax the instance is given."""
    table = context.web_index.frames(one.file)
    stored = one.stored.transfer_syntax_uid or table.transfer_syntax_uid
    offers = instance_offers(stored, is_transcodable=table.is_transcodable)
    found = choose(
        accepted_ranges(accept_of(request)), [offer for offer in offers if is_one or offer.is_multipart]
    )
    if found is None:
        raise NotAcceptable(
            "An instance comes as application/dicom, in multipart/related, as it is stored (transfer-syntax=*)"
            " or, where that loses nothing, in Explicit VR Little Endian."
        )
    return found


def _parts(objects: Sequence[WebObject], offers: Sequence[Offer], root: str) -> Iterator[Part]:
    """So many files are brought side by side, where they are not on this machine, before the first of them is sent."""
    for start in range(0, len(objects), _BROUGHT_AT_A_TIME):
        some = slice(start, start + _BROUGHT_AT_A_TIME)
        with at_hand(objects[some]):
            yield from _parts_here(objects[some], offers[some], root)


def _parts_here(objects: Sequence[WebObject], offers: Sequence[Offer], root: str) -> Iterator[Part]:
    waiting: list[WebObject] = []
    for one, offer in zip(objects, offers, strict=True):
        if offer.is_stored:
            yield Part(offer.content_type, root + one.address, one.pieces())
            continue
        waiting.append(one)
        if len(waiting) == _TRANSCODED_AT_A_TIME:
            yield from _transcoded(waiting, offer, root)
            waiting = []
    if waiting:
        made = next(offer for offer in offers if not offer.is_stored)
        yield from _transcoded(waiting, made, root)


def _transcoded(objects: Sequence[WebObject], offer: Offer, root: str) -> Iterator[Part]:
    with at_hand(objects), decoded_instances([one.path for one in objects]) as paths:
        for one, path in zip(objects, paths, strict=True):
            yield Part(offer.content_type, root + one.address, pieces_of(path))


def _pieces(one: WebObject, offer: Offer) -> Iterator[bytes]:
    if offer.is_stored:
        yield from one.pieces()
        return
    with at_hand([one]), decoded_instances([one.path]) as (path,):
        yield from pieces_of(path)


def _first_made(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same, its first piece made already, so that it may still fail before the answer begins."""
    first = next(pieces, b"")

    def again() -> Iterator[bytes]:
        yield first
        yield from pieces

    return again()
