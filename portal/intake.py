"""The portal's way in for instances: one store, the acceptor's books, a few large requests at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TypeVar

import anyio
import anyio.to_thread
from starlette.requests import Request

from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.peers import Peer
from dicom_gateway.receive_files import FileReceiver, FileVerdict, receiving
from pipeline import nodes
from pipeline.queue import deferring_app
from pipeline.receive import DatabaseSink
from portal.context import PortalContext
from portal.errors import TooManyUploads
from portal.streamed_body import BodyLimits, StreamedBody

T = TypeVar("T")

# Each holds a thread, up to 64 open files, and now and then one of the portal's eight database connections.
REQUESTS_MAX = 6


class Intake:
    """Shared by STOW-RS and the upload page; its resources open with the first request."""

    def __init__(self, context: PortalContext, limits: BodyLimits | None = None) -> None:
        self.limits = limits or BodyLimits()
        self._context = context
        self._threads = anyio.CapacityLimiter(REQUESTS_MAX)
        self._free = threading.BoundedSemaphore(REQUESTS_MAX)

    @cached_property
    def store(self) -> InstanceStore:
        return self._context.folders.instance_store(self._context.free_bytes_min)

    @cached_property
    def _sink(self) -> DatabaseSink:
        queue = deferring_app(self._context.database.url)
        context = self._context
        node = nodes.name_of("portal")
        return DatabaseSink(context.database, queue, context.receive_observer, context.tracing, node)

    async def take(self, request: Request, work: Callable[[Iterator[bytes]], T]) -> T:
        """Run `work` on the pieces of the request's body in a thread; raise `TooManyUploads` when all are busy."""
        body = StreamedBody(request.receive, self.limits)
        if not self._free.acquire(blocking=False):
            raise TooManyUploads
        try:
            return await anyio.to_thread.run_sync(lambda: work(body.pieces()), limiter=self._threads)
        finally:
            body.close()
            self._free.release()

    @contextlib.contextmanager
    def receiver(
        self, peer: Peer, report: Callable[[FileVerdict], None], study_instance_uid: str | None = None
    ) -> Iterator[FileReceiver]:
        """A receiver of this peer's files in an association of its own; at the end everything is told."""
        association_id = self._sink.open_association(peer)
        receiver = FileReceiver(
            peer, self.store, self._sink, association_id, report,
            size_bytes_max=self._context.instance_bytes_max, study_instance_uid=study_instance_uid,
        )  # fmt: skip
        with receiving(receiver, self._sink, association_id, peer):
            yield receiver

    def close(self) -> None:
        """Give up what was opened."""
        if "store" in self.__dict__:
            self.store.close()
        if "_sink" in self.__dict__:
            self._sink.close()
