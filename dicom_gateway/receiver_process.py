"""A receiver process: takes the connections that the accept process hands over, until that one lets go."""

from __future__ import annotations

import logging
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable

from dicom_gateway.instance_sink import InstanceSink
from dicom_gateway.peers import Peer
from dicom_gateway.receiver import Receiver
from dicom_gateway.receiver_messages import Message, receive, send

logger = logging.getLogger(__name__)

_STATISTICS_S = 1.0

MakeReceiver = Callable[[Callable[[int, Peer], None]], Receiver]
"""on_open → a receiver that calls it."""


class ReceiverProcess:
    """Ends with the accept process, however that ends: the control socket closes with it."""

    def __init__(self, control: socket.socket, make_receiver: MakeReceiver, sink: InstanceSink) -> None:
        self._control = control
        self._sending = threading.Lock()
        self._sink = sink
        self._receiver = make_receiver(self._tell_opened)
        self._told: dict[str, int] = {}

    def run(self) -> None:
        # The accept process is told to stop and drains us; a Ctrl-C reaches us all.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        self._receiver.begin(selectors.DefaultSelector(), lambda host: self._tell({"ended": host}))
        threading.Thread(target=self._tell_statistics, daemon=True).start()
        try:
            while True:
                message, descriptor = receive(self._control)
                if message is None:
                    break
                self._obey(message, descriptor)
        finally:
            self._receiver.close()

    def _obey(self, message: Message, descriptor: int | None) -> None:
        if "take" in message and descriptor is not None:
            sock, host = socket.socket(fileno=descriptor), message["take"]["host"]
            if not self._receiver.take(sock, host, message["take"]["listener"]):
                sock.close()
                self._tell({"ended": host})
        elif "drain" in message:
            self._receiver.drain()
        elif "lost" in message:
            threading.Thread(target=self._close_lost, args=(message["lost"],), daemon=True).start()

    def _close_lost(self, associations: list[tuple[int, str, str]]) -> None:
        """Write down how the associations of a process that died have ended."""
        for number, tenant, ae_title in associations:
            try:
                self._sink.close_association(number, Peer(tenant, ae_title), "lost")
            except Exception as error:
                logger.error(
                    "association_end_not_recorded association=%d error=%s", number, type(error).__name__
                )

    def _tell_opened(self, number: int, peer: Peer) -> None:
        self._tell({"opened": [number, peer.tenant, peer.ae_title], "by": threading.get_ident()})

    def _tell_statistics(self) -> None:
        while True:
            statistics = self._receiver.statistics()
            if statistics != self._told:
                self._tell({"statistics": statistics})
                self._told = statistics
            time.sleep(_STATISTICS_S)

    def _tell(self, message: Message) -> None:
        if "ended" in message:
            message |= {"by": threading.get_ident(), "statistics": self._receiver.statistics()}
        try:
            with self._sending:
                send(self._control, message)
        except OSError:  # the accept process is gone: `run` sees it too
            return
