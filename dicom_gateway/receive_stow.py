"""The body of a STOW-RS request into the store while it arrives (PS3.18 section 10.5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dicom_gateway.errors import PartIsNotDicom, TooManyInstances
from dicom_gateway.multipart_related import MultipartParser, PartBegins, PartEnds, parse_header_value
from dicom_gateway.receive_files import FileReceiver

DICOM = "application/dicom"
# What the answer names lies in memory until it is sent: 16 MiB of it.
INSTANCES_MAX = 10_000


def receive_stow(pieces: Iterable[bytes], boundary: str | None, receiver: FileReceiver) -> None:
    """Take the whole body, or raise `BodyNotTaken`; what the receiver has got by then counts.

    boundary: of multipart/related; None for a body that is one instance.
    """
    if boundary is None:
        _receive_one(pieces, receiver)
    else:
        _receive_parts(pieces, boundary, receiver)


def _receive_one(pieces: Iterable[bytes], receiver: FileReceiver) -> None:
    receiver.begin()
    for piece in pieces:
        receiver.append(memoryview(piece))
    receiver.end()


def _receive_parts(pieces: Iterable[bytes], boundary: str, receiver: FileReceiver) -> None:
    parser, count = MultipartParser(boundary), 0
    for piece in pieces:
        for event in parser.feed(piece):
            if isinstance(event, memoryview):
                receiver.append(event)
            elif isinstance(event, PartEnds):
                receiver.end()
            elif isinstance(event, PartBegins):
                count += 1
                if count > INSTANCES_MAX:
                    raise TooManyInstances(f"more than {INSTANCES_MAX} parts in one request")
                _begin(receiver, event.headers)
    parser.finish()


def _begin(receiver: FileReceiver, headers: Mapping[str, str]) -> None:
    media_type, parameters = parse_header_value(headers.get("content-type", DICOM))
    if media_type != DICOM:
        receiver.begin(refusal=PartIsNotDicom(f"a part is not {DICOM}"))
    else:
        syntax = parameters.get("transfer-syntax", "")
        receiver.begin("" if syntax == "*" else syntax)
