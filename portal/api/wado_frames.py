"""WADO-RS: frames, pictures of them, and bulk data (PS3.18 sections 10.4.1.1.3 to 10.4.1.1.6)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fastapi import APIRouter, Request, Response

from dicom_gateway.frame_table import FrameTable
from dicom_gateway.transfer_syntaxes import EXPLICIT_VR_BIG_ENDIAN
from dicom_gateway.web_accept import (
    OCTETS,
    Offer,
    accepted_ranges,
    choose,
    choose_plain,
    frame_offers,
)
from dicom_gateway.web_decode import Drawing, bulk_value, decode_frames, draw_frame
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
    not_modified,
    service_root,
)
from portal.drawing import drawing_of
from portal.errors import NotAcceptable, PageNotFound, QueryNotUnderstood
from portal.multipart_answer import Part, multipart_answer
from portal.requests import Context

router = APIRouter(prefix="/dicom-web", include_in_schema=False, route_class=ImageRoute)
_FRAMES = re.compile(r"[0-9]{1,6}(,[0-9]{1,6}){0,1999}", re.ASCII)
_ELEMENT = re.compile(r"[0-9A-F]{8}(/[1-9][0-9]{0,5}/[0-9A-F]{8}){0,8}", re.ASCII)
_PIXEL_DATA = ("7FE00010", "7FE00008", "7FE00009")
PICTURES = ["image/jpeg", "image/png"]


@router.api_route(INSTANCE + "/frames/{frames}", methods=GET)
def frames(request: Request, context: Context, one: OneInstance, frames: str) -> Response:
    """Frames by number, from 1 on."""
    table = _table(context, one)
    return _frames(request, context, one, table, _numbers(frames, table))


@router.api_route(INSTANCE + "/bulkdata/{element:path}", methods=GET)
def bulk_data(request: Request, context: Context, one: OneInstance, element: str) -> Response:
    """The value of an element that the metadata names by its address; of pixel data all frames."""
    if element in _PIXEL_DATA:
        table = _table(context, one)
        return _frames(request, context, one, table, range(1, table.frame_count + 1))
    if _ELEMENT.fullmatch(element) is None:
        raise QueryNotUnderstood("bulk data is named by tags and numbers of items")
    offers = [Offer(OCTETS, "", is_multipart, is_default=True) for is_multipart in (True, False)]
    offer = choose(accepted_ranges(accept_of(request)), offers)
    if offer is None:
        raise NotAcceptable("Bulk data comes as application/octet-stream, also in multipart/related.")
    etag = etag_of([one], "bulk", element)
    unchanged = not_modified(request, etag)
    if unchanged is not None:
        return unchanged
    way = element.split("/")
    numbers = [int(part, 16) if number % 2 == 0 else int(part) for number, part in enumerate(way)]
    with explained(PageNotFound), at_hand([one]):
        value = bulk_value(one.path, numbers)
    if not offer.is_multipart:
        return Response(value, headers={"ETag": etag}, media_type=OCTETS)
    address = f"{service_root(request, context)}{one.address}/bulkdata/{element}"
    return multipart_answer(OCTETS, iter([Part(OCTETS, address, [value])]), {"ETag": etag})


@router.api_route(INSTANCE + "/rendered", methods=GET)
def rendered(request: Request, context: Context, one: OneInstance) -> Response:
    """A picture of the first frame."""
    return _picture(request, context, one, 1)


@router.api_route(INSTANCE + "/frames/{frames}/rendered", methods=GET)
def rendered_frame(request: Request, context: Context, one: OneInstance, frames: str) -> Response:
    """A picture of one frame."""
    return _picture(request, context, one, _one_number(context, one, frames))


@router.api_route(INSTANCE + "/thumbnail", methods=GET)
def instance_thumbnail(request: Request, context: Context, one: OneInstance) -> Response:
    """A small picture of the first frame."""
    return _picture(request, context, one, 1, is_small=True)


@router.api_route(INSTANCE + "/frames/{frames}/thumbnail", methods=GET)
def frame_thumbnail(request: Request, context: Context, one: OneInstance, frames: str) -> Response:
    """A small picture of one frame."""
    return _picture(request, context, one, _one_number(context, one, frames), is_small=True)


@router.api_route(SERIES + "/thumbnail", methods=GET)
def series_thumbnail(request: Request, context: Context, objects: OfSeries) -> Response:
    """A small picture of an instance in the middle of the series."""
    return _picture(request, context, objects[len(objects) // 2], 1, is_small=True)


@router.api_route(STUDY + "/thumbnail", methods=GET)
def study_thumbnail(request: Request, context: Context, objects: OfStudy) -> Response:
    """A small picture of a received instance in the middle of the study."""
    received = [one for one in objects if not one.stored.is_result] or objects
    return _picture(request, context, received[len(received) // 2], 1, is_small=True)


def _table(context: PortalContext, one: WebObject) -> FrameTable:
    """Raises `PageNotFound` where the instance has no frames."""
    table: FrameTable = context.web_index.frames(one.file)
    if table.problem:
        raise PageNotFound(f"There are no frames: {table.problem}.")
    return table


def _numbers(text: str, table: FrameTable) -> list[int]:
    if _FRAMES.fullmatch(text) is None:
        raise QueryNotUnderstood("frames are numbers from 1 on, separated by commas, 2,000 at most")
    numbers = [int(number) for number in text.split(",")]
    if not all(1 <= number <= table.frame_count for number in numbers):
        raise PageNotFound(f"The instance has the frames 1 to {table.frame_count}.")
    return numbers


def _one_number(context: PortalContext, one: WebObject, text: str) -> int:
    numbers = _numbers(text, _table(context, one))
    if len(numbers) != 1:
        raise QueryNotUnderstood("one frame is drawn at a time")
    return numbers[0]


def _frames(
    request: Request, context: PortalContext, one: WebObject, table: FrameTable, numbers: Sequence[int]
) -> Response:
    stored = table.transfer_syntax_uid
    offers = frame_offers(
        stored,
        is_compressed=table.encapsulated is not None,
        is_decodable=table.is_decodable,
        count=len(numbers),
    )
    offer = choose(accepted_ranges(accept_of(request)), offers)
    if offer is None:
        kinds = ", ".join(dict.fromkeys(each.content_type for each in offers))
        raise NotAcceptable(f"These frames come as {kinds}, in multipart/related.")
    etag = etag_of([one], "frames", offer.content_type, str(offer.is_multipart), ",".join(map(str, numbers)))
    unchanged = not_modified(request, etag)
    if unchanged is not None:
        return unchanged
    headers = {"ETag": etag}
    if request.method == "HEAD":
        return Response(headers=headers, media_type=offer.content_type)
    is_as_stored = offer.is_stored and table.is_aligned and stored != EXPLICIT_VR_BIG_ENDIAN
    contents = _stored_frames(one, table, numbers) if is_as_stored else _decoded_frames(one, numbers)
    with explained():
        if not offer.is_multipart:
            return Response(next(iter(contents)), headers=headers, media_type=offer.content_type)
        address = service_root(request, context) + one.address
        parts = (
            Part(offer.content_type, f"{address}/frames/{number}", [content])
            for number, content in zip(numbers, contents, strict=True)
        )
        return multipart_answer(offer.media_type, parts, headers)


def _stored_frames(one: WebObject, table: FrameTable, numbers: Sequence[int]) -> Iterator[bytes]:
    with at_hand([one]), one.path.open("rb") as file:
        for number in numbers:
            yield table.read(file, number)


def _decoded_frames(one: WebObject, numbers: Sequence[int]) -> Iterator[bytes]:
    with at_hand([one]):
        yield from decode_frames(one.path, numbers)


def _picture(
    request: Request, context: PortalContext, one: WebObject, number: int, *, is_small: bool = False
) -> Response:
    media_type = choose_plain(accept_of(request), PICTURES)
    if media_type is None:
        raise NotAcceptable("Pictures come as image/jpeg or image/png.")
    drawing: Drawing = drawing_of(request.query_params, media_type, is_small=is_small)
    _table(context, one)
    etag = etag_of([one], "picture", str(number), repr(drawing))
    unchanged = not_modified(request, etag)
    if unchanged is not None:
        return unchanged
    headers = {"ETag": etag}
    if request.method == "HEAD":
        return Response(headers=headers, media_type=media_type)
    with explained(), at_hand([one]):
        return Response(draw_frame(one.path, number, drawing), headers=headers, media_type=media_type)
