"""A multipart body taken apart while it arrives (RFC 2046 section 5.1; RFC 2387 related, RFC 7578 form-data).

Pure: bytes in, events out. Holds the head of one part or the start of a possible boundary, never content.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dicom_gateway.errors import MultipartMalformed

HEAD_BYTES_MAX = 8 * 1024  # of one part; a browser's longest has a path name in it
IGNORED_BYTES_MAX = 64 * 1024  # before the first boundary, and after the last

_CRLF = b"\r\n"
_BOUNDARY = re.compile(r"[ -~]{0,69}[!-~]", re.ASCII)  # RFC 2046: 1 to 70, no space at the end
_PARAMETER = re.compile(r';\s*([^\s;="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


@dataclass(frozen=True)
class PartBegins:
    """The head of a part. headers: lower-case name → value."""

    headers: Mapping[str, str]


@dataclass(frozen=True)
class PartEnds:
    """All content of the part has been given."""


Event = PartBegins | memoryview | PartEnds
"""A memoryview is content of the part that began last; it is valid until the next event is asked for."""


class _State(enum.Enum):
    PREAMBLE = enum.auto()
    HEAD = enum.auto()
    CONTENT = enum.auto()
    EPILOGUE = enum.auto()


def parse_header_value(text: str) -> tuple[str, dict[str, str]]:
    """(value in lower case, parameters) of a header like Content-Type; names of parameters in lower case."""
    value = text.partition(";")[0].strip().lower()
    parameters: dict[str, str] = {}
    for match in _PARAMETER.finditer(text):
        quoted = match[2]
        unquoted = match[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        parameters.setdefault(match[1].lower(), unquoted)
    return value, parameters


class MultipartParser:
    """`feed` it the body in pieces of any size, then `finish`; either raises `MultipartMalformed`."""

    def __init__(self, boundary: str) -> None:
        if _BOUNDARY.fullmatch(boundary) is None:
            raise MultipartMalformed("the boundary is missing or not allowed")
        self._delimiter = _CRLF + b"--" + boundary.encode("ascii")
        self._state = _State.PREAMBLE
        # The first boundary may open the body without the line break that belongs to every other.
        self._held = _CRLF
        self._ignored = 0
        self._line_break_left = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events of this piece. Take them all before the next piece."""
        if self._held:
            data, self._held = self._held + data, b""
        view, position = memoryview(data), 0
        while position < len(data):
            if self._state is _State.EPILOGUE:
                self._ignore(len(data) - position)
                return
            if self._state is _State.HEAD:
                if data.startswith(b"--", position):
                    self._state, position = _State.EPILOGUE, position + 2
                    continue
                end = _head_end(data, position)
                if end is None:
                    self._held = data[position:]
                    return
                yield PartBegins(_parse_head(data[position:end]))
                self._state = _State.CONTENT
                # The empty line's break also opens the boundary of a part that has no content at all.
                position, self._line_break_left = end - len(_CRLF), len(_CRLF)
            found = data.find(self._delimiter, position)
            until = found if found >= 0 else self._safe_end(data, position)
            if self._state is _State.PREAMBLE:
                self._ignore(until - position)
            elif until > position:
                skipped = min(self._line_break_left, until - position)
                self._line_break_left -= skipped
                if until > position + skipped:
                    yield view[position + skipped : until]
            if found < 0:
                self._held = data[until:]
                return
            if self._state is _State.CONTENT:
                yield PartEnds()
            self._state = _State.HEAD
            position = found + len(self._delimiter)

    @property
    def has_ended(self) -> bool:
        """The closing boundary was seen; whatever follows is ignored."""
        return self._state is _State.EPILOGUE

    def finish(self) -> None:
        """Say that the body has ended."""
        if not self.has_ended:
            raise MultipartMalformed("the body ends without its closing boundary")

    def _safe_end(self, data: bytes, position: int) -> int:
        """Up to where nothing can belong to a boundary. It holds one line break, at its start."""
        tail = data.rfind(b"\r", max(position, len(data) - len(self._delimiter) + 1))
        return tail if tail >= 0 and self._delimiter.startswith(data[tail:]) else len(data)

    def _ignore(self, count: int) -> None:
        self._ignored += count
        if self._ignored > IGNORED_BYTES_MAX:
            raise MultipartMalformed(f"more than {IGNORED_BYTES_MAX} bytes lie outside of the parts")


def _head_end(data: bytes, position: int) -> int | None:
    """Where the head of a part ends that begins behind its boundary, None for "not yet"."""
    end = data.find(_CRLF + _CRLF, position, position + HEAD_BYTES_MAX)
    if end < 0:
        if len(data) - position >= HEAD_BYTES_MAX:
            raise MultipartMalformed(f"the head of a part is longer than {HEAD_BYTES_MAX} bytes")
        return None
    if data[position : data.index(_CRLF, position)].strip(b" \t"):
        raise MultipartMalformed("something follows a boundary on its line")
    return end + 2 * len(_CRLF)


def _parse_head(data: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    # Folded lines (RFC 5322 section 2.2.3) are one line.
    lines = re.sub(rb"\r\n[ \t]+", b" ", data).split(_CRLF)
    for line in filter(None, (line.strip(b" \t") for line in lines)):
        name, colon, value = line.decode("utf-8", "replace").partition(":")
        if not colon or _HEADER_NAME.fullmatch(name) is None:
            raise MultipartMalformed("a line in the head of a part is not a header")
        if headers.setdefault(name.lower(), value.strip()) != value.strip():
            raise MultipartMalformed("a header stands twice in the head of a part")
    return headers
