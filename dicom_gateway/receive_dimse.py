"""Receive: DIMSE services as provider (PS3.4 annexes A, B, F and J), all in one process.

The accept loop only accepts (`doorkeeper`); every association has its own thread (`association`), its own bounded
memory and its own deadlines, so no peer can hold up another. Over several processes: `receiver_processes`.
"""

from __future__ import annotations

from collections.abc import Sequence

from dicom_gateway.acceptor_settings import AcceptorSettings
from dicom_gateway.doorkeeper import Doorkeeper
from dicom_gateway.instance_sink import AssociationEnd, InstanceSink, ReceivedInstance, RecordOutcome
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.listener import Listener
from dicom_gateway.receiver import Receiver
from dicom_gateway.service_desk import ServiceDesk
from storage.objects import LOCAL_OBJECTS, Objects

__all__ = [
    "Acceptor",
    "AcceptorSettings",
    "AssociationEnd",
    "InstanceSink",
    "Listener",
    "ReceivedInstance",
    "RecordOutcome",
]


class Acceptor(Doorkeeper):
    """Listens on its ports until it is stopped; associations live in this process.

    listeners: the ports; none given means the plain one of the settings.
    desk: keeps the books of commitments and procedure steps; without one, both are unknown to peers.
    durable: False leaves out every fsync; only benchmarks do that.
    objects: where instances lie for good, if that is not the folder of the settings.
    """

    def __init__(
        self,
        settings: AcceptorSettings,
        sink: InstanceSink,
        *,
        listeners: Sequence[Listener] = (),
        desk: ServiceDesk | None = None,
        durable: bool = True,
        objects: Objects = LOCAL_OBJECTS,
    ) -> None:
        ports = tuple(listeners) or (Listener(settings.host, settings.port),)
        self._receiver = Receiver(settings, sink, ports, desk=desk, durable=durable, objects=objects)
        super().__init__(settings, ports, self._receiver)

    @property
    def store(self) -> InstanceStore:
        return self._receiver.store
