"""Who may come in: owns the ports, the caps, the rejections and the drain, and hands connections to a crew."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from dicom_gateway.acceptor_settings import AcceptorSettings
from dicom_gateway.counters import Observe, observe_nothing
from dicom_gateway.disk_reserve import DiskReserve
from dicom_gateway.errors import AssociationRefused, TemporarilyUnavailable, TooManyAssociations
from dicom_gateway.listener import Listener
from dicom_gateway.rejection_desk import RejectionDesk

logger = logging.getLogger(__name__)

_SWEEP_S = 0.5
_EMERGENCY_PAUSE_S = 0.1


class Crew(Protocol):
    """Who lives the associations: threads of this process, or other processes. Called from the accept loop."""

    def begin(self, selector: selectors.BaseSelector, on_end: Callable[[str], None]) -> None:
        """Get ready. on_end: to be told the remote host of each association that has ended, from any thread."""

    def take(self, sock: socket.socket, host: str, listener: int) -> bool:
        """Take a connection that came in by the listener of this index; False when nobody can now."""

    def serve(self, data: object) -> None:
        """Something that `begin` or `tend` registered is readable."""

    def tend(self, now: float) -> None:
        """Called at each turn of the loop. now: of `time.monotonic`."""

    def statistics(self) -> dict[str, int]:
        """Totals since the start."""

    def drain(self) -> None:
        """Let every association end after the message in progress."""

    def close(self) -> None:
        """End what is left."""


class Doorkeeper:
    """Listens on its ports until it is stopped."""

    def __init__(
        self,
        settings: AcceptorSettings,
        listeners: Sequence[Listener],
        crew: Crew,
        observe: Observe = observe_nothing,
    ) -> None:
        self._observe = observe
        self._settings = settings
        self._listeners = tuple(listeners)
        self._crew = crew
        self._sockets: tuple[socket.socket, ...] = ()
        self._selector = selectors.DefaultSelector()
        self._desk = RejectionDesk(self._selector)
        self._reserve = DiskReserve(settings.storage_root, settings.reserve_bytes)
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._lock = threading.Lock()
        self._per_host: Counter[str] = Counter()
        self._rejected = 0
        self._stop_deadline: float | None = None
        self._grace_s = 0.0
        self._is_stopping = False
        self._turned_at = time.monotonic()

    def listen(self) -> tuple[int, ...]:
        """Bind and listen; returns the port of each listener. `serve_forever` calls it when nobody did."""
        if not self._sockets:
            self._sockets = tuple(listener.open() for listener in self._listeners)
        return tuple(int(each.getsockname()[1]) for each in self._sockets)

    def serve_forever(self) -> None:
        """Accept until `stop`; returns when the last association has ended or the grace is over."""
        for index, port in enumerate(self.listen()):
            logger.info("acceptor_listening host=%s port=%d", self._listeners[index].host, port)
            self._selector.register(self._sockets[index], selectors.EVENT_READ, index)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ, self._wake_receiver)
        self._crew.begin(self._selector, self._on_end)
        try:
            while not self._is_drained():
                self._turn()
        finally:
            self._end()

    def stop(self, grace_s: float = 20.0) -> None:
        """Begin to drain: reject new associations, let messages in progress finish for `grace_s` at most.

        Returns at once and may be called from a signal handler; `serve_forever` returns when done.
        """
        self._grace_s = grace_s
        self._is_stopping = True
        self._wake()

    def statistics(self) -> dict[str, int]:
        """Totals since the start, and how many associations are open now."""
        totals = Counter(self._crew.statistics())
        totals["associations_rejected"] += self._rejected
        with self._lock:
            return dict(totals) | {"associations_open": self._per_host.total()}

    def problem(self) -> str | None:
        """Why no association is accepted now, as far as this knows: it drains, or does not listen yet."""
        if self._is_stopping:
            return "it is draining: new associations are rejected"
        return None if self._sockets else "it does not listen yet"

    def is_stuck(self, after_s: float = 30.0) -> bool:
        """Whether the accept loop has not turned for this long; it does twice a second."""
        return time.monotonic() - self._turned_at > after_s

    def _turn(self) -> None:
        self._turned_at = time.monotonic()
        for key, _ in self._selector.select(_SWEEP_S):
            if isinstance(key.data, int):
                assert isinstance(key.fileobj, socket.socket)
                self._accept(key.fileobj, key.data)
            elif key.data is self._wake_receiver:
                with contextlib.suppress(BlockingIOError):
                    self._wake_receiver.recv(64)
            elif not self._desk.serve(key.data):
                self._crew.serve(key.data)
        now = time.monotonic()
        self._desk.sweep(now)
        self._reserve.tend(now)
        self._crew.tend(now)

    def _accept(self, listening: socket.socket, listener: int) -> None:
        try:
            sock, address = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            # Out of file descriptors or memory: the loop would spin on the same connection.
            logger.error("connection_not_accepted error=%s", error.strerror)
            time.sleep(_EMERGENCY_PAUSE_S)
            return
        host = str(address[0])
        refusal = self._refusal_for(host)
        if refusal is None:
            with self._lock:
                self._per_host[host] += 1
            if self._crew.take(sock, host, listener):
                return
            self._on_end(host)
            refusal = TemporarilyUnavailable()
        self._rejected += 1
        self._observe("associations_rejected", 1, type(refusal).__name__)
        if self._listeners[listener].handshake is None:
            self._desk.turn_away(sock, refusal)
        else:
            sock.close()  # a rejection would need the handshake first

    def _refusal_for(self, host: str) -> AssociationRefused | None:
        settings = self._settings
        if self._is_stopping:
            return TemporarilyUnavailable()
        if not self._reserve.has_free(settings.free_bytes_for_associations):
            logger.error("connection_refused reason=disk_nearly_full")
            return TemporarilyUnavailable()
        with self._lock:
            is_full = self._per_host.total() >= settings.associations_max
            if is_full or self._per_host[host] >= settings.associations_per_host_max:
                logger.warning("connection_refused host=%s reason=local_limit", host)
                return TooManyAssociations()
        return None

    def _on_end(self, host: str) -> None:
        """In any thread."""
        with self._lock:
            self._per_host[host] -= 1
            if self._per_host[host] <= 0:
                del self._per_host[host]
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_sender.send(b"\0", socket.MSG_DONTWAIT)

    def _is_drained(self) -> bool:
        """Whether there is nothing left to wait for; begins the drain when it was asked for."""
        if not self._is_stopping:
            return False
        now = time.monotonic()
        with self._lock:
            open_count = self._per_host.total()
        if self._stop_deadline is None:
            self._stop_deadline = now + self._grace_s
            logger.info("acceptor_draining associations=%d", open_count)
            self._crew.drain()
        return open_count == 0 or now >= self._stop_deadline

    def _end(self) -> None:
        self._crew.close()
        self._desk.close()
        for listening in self._sockets:
            listening.close()
        self._selector.close()
        self._wake_sender.close()
        self._wake_receiver.close()
        logger.info("acceptor_stopped")
