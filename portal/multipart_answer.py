"""Bodies of several parts, sent while they are read (RFC 2387)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from fastapi import Response
from fastapi.responses import StreamingResponse

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Part:
    """content_location: the address of what the part holds."""

    content_type: str
    content_location: str
    pieces: Iterable[bytes]


def multipart_answer(media_type: str, parts: Iterator[Part], headers: dict[str, str]) -> Response:
    """The parts under one boundary. The first piece is made before the answer begins, so that it may still fail."""
    boundary = secrets.token_hex(16)
    pieces = _encoded(boundary, parts)
    first = next(pieces)
    content_type = f'multipart/related; type="{media_type}"; boundary={boundary}'
    return StreamingResponse(chain([first], pieces), headers=headers, media_type=content_type)


def pieces_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _encoded(boundary: str, parts: Iterator[Part]) -> Iterator[bytes]:
    for part in parts:
        head = (
            f"\r\n--{boundary}\r\nContent-Type: {part.content_type}\r\n"
            f"Content-Location: {part.content_location}\r\n\r\n"
        ).encode()
        for piece in part.pieces:
            yield head + piece
            head = b""
    yield f"\r\n--{boundary}--\r\n".encode()
