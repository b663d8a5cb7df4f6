"""Receive: C-ECHO and C-STORE as service class provider (PS3.4 annexes A and B).

The loop only accepts; every association has its own thread (`association`), its own bounded memory and its
own deadlines, so no peer can hold up another.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence

from dicom_gateway.acceptor_settings import AcceptorSettings
from dicom_gateway.association import Association
from dicom_gateway.counters import Counters
from dicom_gateway.errors import AssociationRefused, TemporarilyUnavailable, TooManyAssociations
from dicom_gateway.instance_sink import AssociationEnd, InstanceSink, ReceivedInstance, RecordOutcome
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.listener import Listener
from dicom_gateway.rejection_desk import RejectionDesk
from dicom_gateway.service_desk import ServiceDesk

__all__ = [
    "Acceptor",
    "AcceptorSettings",
    "AssociationEnd",
    "InstanceSink",
    "Listener",
    "ReceivedInstance",
    "RecordOutcome",
]

logger = logging.getLogger(__name__)

_SWEEP_S = 0.5
_EMERGENCY_PAUSE_S = 0.1


class Acceptor:
    """Listens on its ports until it is stopped.

    listeners: the ports; none given means the plain one of the settings.
    desk: keeps the books of commitments and procedure steps; without one, both are unknown to peers.
    durable: False leaves out every fsync; only benchmarks do that.
    """

    def __init__(
        self,
        settings: AcceptorSettings,
        sink: InstanceSink,
        *,
        listeners: Sequence[Listener] = (),
        desk: ServiceDesk | None = None,
        durable: bool = True,
    ) -> None:
        self._listeners = tuple(listeners) or (Listener(settings.host, settings.port),)
        self._sockets: tuple[socket.socket, ...] = ()
        self._settings = settings
        self._sink = sink
        self._service_desk = desk
        self._store = InstanceStore(settings.storage_root, settings.free_bytes_min, durable=durable)
        self._counters = Counters()
        self._selector = selectors.DefaultSelector()
        self._desk = RejectionDesk(self._selector)
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._lock = threading.Lock()
        self._associations: dict[Association, threading.Thread] = {}
        self._per_host: Counter[str] = Counter()
        self._stop_deadline: float | None = None
        self._grace_s = 0.0
        self._is_stopping = False

    @property
    def store(self) -> InstanceStore:
        return self._store

    def listen(self) -> tuple[int, ...]:
        """Bind and listen; returns the port of each listener. `serve_forever` calls it when nobody did."""
        if not self._sockets:
            self._sockets = tuple(listener.open() for listener in self._listeners)
        return tuple(int(each.getsockname()[1]) for each in self._sockets)

    def serve_forever(self) -> None:
        """Accept until `stop`; returns when the last association has ended or the grace is over."""
        for port, listener, listening in zip(self.listen(), self._listeners, self._sockets, strict=True):
            logger.info("acceptor_listening host=%s port=%d", listener.host, port)
            self._selector.register(listening, selectors.EVENT_READ, listener)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ, self._wake_receiver)
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
        with contextlib.suppress(OSError):
            self._wake_sender.send(b"\0")

    def statistics(self) -> dict[str, int]:
        """Totals since the start, and how many associations are open now."""
        with self._lock:
            return self._counters.snapshot() | {"associations_open": len(self._associations)}

    def _turn(self) -> None:
        for key, _ in self._selector.select(_SWEEP_S):
            if isinstance(key.data, Listener):
                assert isinstance(key.fileobj, socket.socket)
                self._accept(key.fileobj, key.data)
            elif key.data is self._wake_receiver:
                with contextlib.suppress(BlockingIOError):
                    self._wake_receiver.recv(64)
            else:
                self._desk.serve(key.data)
        self._desk.sweep(time.monotonic())

    def _accept(self, listening: socket.socket, listener: Listener) -> None:
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
        if refusal is not None:
            self._counters.add("associations_rejected")
            if listener.handshake is None:
                self._desk.turn_away(sock, refusal)
            else:
                sock.close()  # a rejection would need the handshake first
        else:
            self._start(sock, host, listener)

    def _refusal_for(self, host: str) -> AssociationRefused | None:
        settings = self._settings
        with self._lock:
            if self._is_stopping:
                return TemporarilyUnavailable()
            is_full = len(self._associations) >= settings.associations_max
            if is_full or self._per_host[host] >= settings.associations_per_host_max:
                logger.warning("connection_refused host=%s reason=local_limit", host)
                return TooManyAssociations()
        return None

    def _start(self, sock: socket.socket, host: str, listener: Listener) -> None:
        try:
            association = Association(
                sock,
                host,
                self._settings,
                self._store,
                self._sink,
                self._counters,
                listener.handshake,
                self._service_desk,
            )
        except OSError:  # the peer is gone already
            sock.close()
            return
        thread = threading.Thread(target=self._run, args=(association,), name="association", daemon=True)
        with self._lock:
            self._associations[association] = thread
            self._per_host[host] += 1
        try:
            thread.start()
        except RuntimeError:
            logger.error("association_not_started reason=no_thread")
            self._forget(association)
            sock.close()

    def _run(self, association: Association) -> None:
        try:
            association.run()
        finally:
            self._forget(association)
            with contextlib.suppress(OSError):
                self._wake_sender.send(b"\0", socket.MSG_DONTWAIT)

    def _forget(self, association: Association) -> None:
        with self._lock:
            if self._associations.pop(association, None) is None:
                return
            self._per_host[association.remote_host] -= 1
            if self._per_host[association.remote_host] <= 0:
                del self._per_host[association.remote_host]

    def _is_drained(self) -> bool:
        """Whether there is nothing left to wait for; begins the drain when it was asked for."""
        if not self._is_stopping:
            return False
        now = time.monotonic()
        with self._lock:
            associations = list(self._associations)
        if self._stop_deadline is None:
            self._stop_deadline = now + self._grace_s
            logger.info("acceptor_draining associations=%d", len(associations))
            for association in associations:
                association.drain()
        return not associations or now >= self._stop_deadline

    def _end(self) -> None:
        with self._lock:
            left = dict(self._associations)
        for association in left:
            association.break_off()
        for thread in left.values():
            thread.join(timeout=1.0)
        self._desk.close()
        for listening in self._sockets:
            listening.close()
        self._selector.close()
        self._wake_sender.close()
        self._wake_receiver.close()
        self._store.close()
        logger.info("acceptor_stopped")
