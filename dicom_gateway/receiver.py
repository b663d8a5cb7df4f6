"""The associations of one process: a thread for each, one store and one book for all."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections.abc import Callable, Sequence

from dicom_gateway.acceptor_settings import AcceptorSettings
from dicom_gateway.association import Association
from dicom_gateway.counters import Counters, Observe, observe_nothing
from dicom_gateway.instance_sink import InstanceSink
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.listener import Listener
from dicom_gateway.peers import Peer
from dicom_gateway.service_desk import ServiceDesk
from storage.objects import LOCAL_OBJECTS, Objects

logger = logging.getLogger(__name__)


class Receiver:
    """Takes connections that were accepted, in this process (a `Crew` of one).

    listeners: where connections come from; their handshakes run here.
    desk: keeps the books of commitments and procedure steps; without one, both are unknown to peers.
    durable: False leaves out every fsync; only benchmarks do that.
    objects: where instances lie for good, if that is not the folder of the settings.
    on_open: told of each association once it has a number. observe: told of everything that is counted.
    """

    def __init__(
        self,
        settings: AcceptorSettings,
        sink: InstanceSink,
        listeners: Sequence[Listener],
        *,
        desk: ServiceDesk | None = None,
        durable: bool = True,
        objects: Objects = LOCAL_OBJECTS,
        on_open: Callable[[int, Peer], None] = lambda _number, _peer: None,
        observe: Observe = observe_nothing,
    ) -> None:
        self.store = InstanceStore(
            settings.storage_root, settings.free_bytes_min, durable=durable, objects=objects
        )
        self._settings = settings
        self._sink = sink
        self._desk = desk
        self._handshakes = [listener.handshake for listener in listeners]
        self._on_open = on_open
        self._on_end: Callable[[str], None] = lambda _host: None
        self._counters = Counters(observe)
        self._lock = threading.Lock()
        self._associations: dict[Association, threading.Thread] = {}
        self._is_draining = False

    def begin(self, _selector: selectors.BaseSelector, on_end: Callable[[str], None]) -> None:
        self._on_end = on_end

    def take(self, sock: socket.socket, host: str, listener: int) -> bool:
        """Start an association on a connection; False, with the socket untouched, when there is no thread for it."""
        try:
            association = Association(
                sock,
                host,
                self._settings,
                self.store,
                self._sink,
                self._counters,
                self._handshakes[listener],
                self._desk,
                self._on_open,
            )
        except OSError:  # the peer is gone already
            sock.close()
            self._on_end(host)
            return True
        thread = threading.Thread(target=self._run, args=(association,), name="association", daemon=True)
        with self._lock:
            self._associations[association] = thread
        try:
            thread.start()
        except RuntimeError:
            logger.error("association_not_started reason=no_thread")
            with self._lock:
                del self._associations[association]
            return False
        if self._is_draining:
            association.drain()
        return True

    def serve(self, _data: object) -> None:
        """Nothing of ours is in the selector."""

    def tend(self, _now: float) -> None:
        """Threads need no care."""

    def statistics(self) -> dict[str, int]:
        return self._counters.snapshot()

    def drain(self) -> None:
        """Let every association end after the message in progress."""
        self._is_draining = True
        with self._lock:
            associations = list(self._associations)
        for association in associations:
            association.drain()

    def close(self) -> None:
        """End what is left, whatever it does."""
        with self._lock:
            left = dict(self._associations)
        for association in left:
            association.break_off()
        for thread in left.values():
            thread.join(timeout=1.0)
        self.store.close()

    def _run(self, association: Association) -> None:
        try:
            association.run()
        finally:
            with self._lock:
                self._associations.pop(association, None)
            self._on_end(association.remote_host)
