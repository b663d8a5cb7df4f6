"""HTTP/1.1 as uvicorn and h11 speak it, large bodies without h11's copies."""

from __future__ import annotations

from h11._readers import ContentLengthReader
from uvicorn.protocols.http.h11_impl import H11Protocol


class LargeBodyProtocol(H11Protocol):
    """Content that a Content-Length announced needs no parsing: what the socket gave is handed on as it is.

    Through h11 and uvicorn each byte is copied four times, a fifth of what STOW-RS costs the processor. h11 is told
    in its own count how much it did not see; the first and the last bytes of a body, and all that is chunked, go
    through it.
    """

    def data_received(self, data: bytes) -> None:
        if self._takes_as_it_is(data):
            # `receive` takes bytes() of it, which is no copy.
            self.cycle.body = data  # type: ignore[assignment]  # a bytearray before and after
            self.flow.pause_reading()
            self.cycle.message_event.set()
        else:
            super().data_received(data)

    def _takes_as_it_is(self, data: bytes) -> bool:
        cycle, reader = self.cycle, self.conn._reader
        if not isinstance(reader, ContentLengthReader) or len(data) >= reader._remaining:
            return False
        if cycle is None or cycle.body or cycle.response_complete or cycle.waiting_for_100_continue:
            return False
        if not cycle.more_body or len(self.conn._receive_buffer):
            return False
        reader._remaining -= len(data)
        return True
