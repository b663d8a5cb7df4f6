"""A receiver process of the tests: `python -m tests.receiver_main ROOT CONTROL`; its books are lines of a file."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from dicom_gateway.acceptor_settings import AcceptorSettings
from dicom_gateway.instance_sink import AssociationEnd, ReceivedInstance, RecordOutcome
from dicom_gateway.listener import Listener
from dicom_gateway.peers import Peer
from dicom_gateway.receiver import Receiver
from dicom_gateway.receiver_process import ReceiverProcess
from dicom_gateway.user_information import NOTHING_SAID, UserInformation
from tests.dicom_peers import MemorySink

SETTINGS = {"port": 0, "free_bytes_min": 0, "free_bytes_for_associations": 0, "reserve_bytes": 0}


class FileSink(MemorySink):
    """`opened|recorded|closed NUMBER WHAT PROCESS`, one line each; numbers are unique over all processes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._writing = threading.Lock()

    def open_association(self, peer: Peer, requestor: UserInformation = NOTHING_SAID) -> int:
        number = os.getpid() * 1000 + super().open_association(peer, requestor)
        self._write("opened", number, "-")
        return number

    def record(self, association_id: int, peer: Peer, received: ReceivedInstance) -> RecordOutcome:
        outcome = super().record(association_id, peer, received)
        self._write("recorded", association_id, received.sop_instance_uid)
        return outcome

    def close_association(self, association_id: int, peer: Peer, how: AssociationEnd) -> None:
        self._write("closed", association_id, how)

    def _write(self, what: str, number: int, detail: str) -> None:
        with self._writing, self._path.open("a") as file:
            file.write(f"{what} {number} {detail} {os.getpid()}\n")


def main() -> None:
    root, control = Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
    settings = AcceptorSettings(storage_root=root / "store", **SETTINGS)  # type: ignore[arg-type]
    sink = FileSink(root / "books")

    def receiver(on_open: Callable[[int, Peer], None]) -> Receiver:
        return Receiver(settings, sink, [Listener("127.0.0.1", 0)], on_open=on_open)

    ReceiverProcess(control, receiver, sink).run()


if __name__ == "__main__":
    main()
