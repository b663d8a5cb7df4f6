"""The body of a large request, read by a thread piece by piece, while the event loop stays free."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import anyio.from_thread
from starlette.types import Message, Receive

from dicom_gateway.errors import BodyTooSlow, ClientGone


@dataclass(frozen=True)
class BodyLimits:
    """How slow a body may be.

    Within each window of `window_s` seconds at least `window_bytes_min` arrive, the whole within `deadline_s`.
    """

    window_s: float = 30.0
    window_bytes_min: int = 64 * 1024
    deadline_s: float = 3600.0


class UnreadBody:
    """Stands before `receive` and knows whether there is more; lets a refusal be heard.

    A client that is still sending when the connection closes may never see the answer.
    """

    # Enough for most bodies, little enough to be no burden.
    _SKIPPED_BYTES_MAX = 16 * 1024 * 1024
    _SKIPPED_S = 3.0

    def __init__(self, receive: Receive, *, has_begun: bool) -> None:
        self._receive = receive
        self._has_begun = has_begun
        self.has_more = True

    async def __call__(self) -> Message:
        message = await self._receive()
        self._has_begun = True
        self.has_more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def skip(self) -> None:
        """Read a little more of the body; nothing of one that the client holds back until it is asked for."""
        left = self._SKIPPED_BYTES_MAX if self._has_begun else 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._SKIPPED_S):
                while self.has_more and left > 0:
                    left -= len((await self()).get("body", b""))


class StreamedBody:
    """`pieces` is iterated in a worker thread that anyio started; `close` it in the event loop afterwards.

    Handing over between the two threads costs more than the bytes: so many are handed over at once, and the next are
    gathered while the thread works. Memory is twice `_GATHERED_BYTES` and what uvicorn holds.
    """

    _GATHERED_BYTES = 1024 * 1024
    # A sender that pauses is not waited for any longer: what came may already be worth a refusal.
    _GATHERED_S = 0.05

    def __init__(self, receive: Receive, limits: BodyLimits) -> None:
        self._receive = receive
        self._limits = limits
        self._ends_at = time.monotonic() + limits.deadline_s
        self._window_ends_at = time.monotonic() + limits.window_s
        self._window_bytes = 0
        self._has_more = True
        self._ahead: asyncio.Task[list[bytes]] | None = None

    def pieces(self) -> Iterator[bytes]:
        """The body in the pieces in which it arrives; raises `BodyTooSlow` and `ClientGone`."""
        while pieces := anyio.from_thread.run(self._next):
            yield from pieces

    def close(self) -> None:
        """Gather no more; how the gathering ended no longer matters."""
        if self._ahead is not None:
            self._ahead.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._ahead.cancel()

    async def _next(self) -> list[bytes]:
        ahead, self._ahead = self._ahead, None
        pieces = await (ahead or self._gather())
        if self._has_more:
            self._ahead = asyncio.create_task(self._gather())
        return pieces

    async def _gather(self) -> list[bytes]:
        """Some bytes as soon as there are any, more if they come at once; [] at the end of the body."""
        pieces: list[bytes] = []
        while self._has_more and not pieces:
            await self._wait_for(pieces)
        size = sum(map(len, pieces))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._GATHERED_S):
                while self._has_more and size < self._GATHERED_BYTES:
                    size += await self._take(pieces)
        return pieces

    async def _wait_for(self, pieces: list[bytes]) -> None:
        wait_s = min(self._window_ends_at, self._ends_at) - time.monotonic()
        try:
            async with asyncio.timeout(max(wait_s, 0)):
                await self._take(pieces)
        except TimeoutError:
            self._require_pace()
        else:
            if time.monotonic() >= self._window_ends_at:
                self._require_pace()

    async def _take(self, pieces: list[bytes]) -> int:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client closed the connection")
        self._has_more = message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        if piece:
            pieces.append(piece)
        self._window_bytes += len(piece)
        return len(piece)

    def _require_pace(self) -> None:
        if time.monotonic() >= self._ends_at:
            raise BodyTooSlow(f"the body did not arrive within {self._limits.deadline_s:g} s")
        if self._has_more and self._window_bytes < self._limits.window_bytes_min:
            raise BodyTooSlow(
                f"fewer than {self._limits.window_bytes_min} bytes in {self._limits.window_s:g} s"
            )
        self._window_ends_at = time.monotonic() + self._limits.window_s
        self._window_bytes = 0
