"""Receivers in processes of their own: `python -m benchmarks.receivers KIND FOLDER`, which prints its port.

radmeter, radmeter_no_fsync: our gateway's processes with books in memory, with and without fsync.
radmeter_database: as the gateway runs, each row committed to the PostgreSQL at RADMETER_DATABASE_URL.
…_observed: with metrics counted and spans sent to a collector, as where both are switched on.
…_folder, …_s3, …_late: the same with an object store, see `objects`.
…_tls: the same behind TLS, with `certificate.pem` and `key.pem` of the folder.
pynetdicom: its listener as its documentation shows it: the data set decoded and written by `save_as`.
pynetdicom_raw: in its fastest plain form: bytes as they came, PDUs of 1 MiB.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.store_sender import CALLED_AE_TITLE, CALLING_AE_TITLE, CT_IMAGE_STORAGE
from dicom_gateway.acceptor_settings import AcceptorSettings
from dicom_gateway.counters import Observe, observe_nothing
from dicom_gateway.doorkeeper import Doorkeeper
from dicom_gateway.instance_sink import AssociationEnd, InstanceSink, ReceivedInstance, RecordOutcome
from dicom_gateway.listener import Listener
from dicom_gateway.peer_certificate import PeerCertificate
from dicom_gateway.peers import Peer
from dicom_gateway.receiver import Receiver
from dicom_gateway.receiver_process import ReceiverProcess
from dicom_gateway.receiver_processes import ReceiverProcesses
from dicom_gateway.security_alert import SecurityAlert
from dicom_gateway.tls import TLSContexts, TLSFiles, secure_as_server
from dicom_gateway.user_information import NOTHING_SAID, UserInformation
from storage.address import open_store
from storage.objects import LOCAL_OBJECTS, Objects
from storage.remote_objects import RemoteObjects

_ASSOCIATIONS_MAX = 64


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
        return None

    def record_many(
        self, association_id: int, peer: Peer, received: Sequence[ReceivedInstance]
    ) -> list[RecordOutcome]:
        return [self.record(association_id, peer, each) for each in received]

    def close(self) -> None:
        """Nothing to keep."""

    def open_association(self, peer: Peer, requestor: UserInformation = NOTHING_SAID) -> int:
        return 1

    def record(self, association_id: int, peer: Peer, received: ReceivedInstance) -> RecordOutcome:
        known = self._digests.setdefault(received.sop_instance_uid, received.blake3) == received.blake3
        return RecordOutcome.STORED if known else RecordOutcome.CONFLICT

    def close_association(self, association_id: int, peer: Peer, how: AssociationEnd) -> None:
        return None


class Collector(BaseHTTPRequestHandler):
    """Takes spans and forgets them."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def accept(kind: str, folder: Path) -> None:
    """The accept process, with a receiver process for each core."""
    if kind.endswith("_observed"):
        collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        os.environ["BENCH_COLLECTOR"] = f"http://127.0.0.1:{collector.server_port}"
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    command = [sys.executable, "-m", "benchmarks.receivers", kind, str(folder)]
    crew = ReceiverProcesses(command, len(os.sched_getaffinity(0)))
    doorkeeper = Doorkeeper(_settings(folder), _listeners(kind, folder), crew)
    signal.signal(signal.SIGTERM, lambda *_: doorkeeper.stop(grace_s=1))
    print(doorkeeper.listen()[0], flush=True)
    doorkeeper.serve_forever()


def receive(kind: str, folder: Path, control: socket.socket) -> None:
    """One receiver process."""
    observe: Observe = observe_nothing
    if kind.endswith("_observed"):
        sink, observe = _observed_sink()
    else:
        sink = _database_sink() if "database" in kind else CountingSink()

    def receiver(on_open: Callable[[int, Peer], None]) -> Receiver:
        durable = "no_fsync" not in kind
        ways_in = _listeners(kind, folder)
        kept = _objects(kind, folder)
        return Receiver(
            _settings(folder), sink, ways_in, durable=durable, objects=kept, on_open=on_open, observe=observe
        )

    ReceiverProcess(control, receiver, sink).run()


def _objects(kind: str, folder: Path) -> Objects:
    """Where instances lie for good: of `…_s3` and `…_late` in the environment's store, of `…_folder` in a folder."""
    if not kind.endswith(("_s3", "_late", "_folder")):
        return LOCAL_OBJECTS
    values = {name: os.environ.get(f"BENCH_OBJECTS{name}", "") for name in ("", "_ENDPOINT", "_REGION")}
    address = values[""] or f"file://{folder}/store"
    store = open_store(address, endpoint=values["_ENDPOINT"], region=values["_REGION"])
    return RemoteObjects(folder, store, cache_bytes_max=32 << 30)


def pynetdicom(kind: str, folder: Path) -> None:
    from pynetdicom import AE, _config, evt

    _config.LOG_HANDLER_LEVEL = "none"
    is_raw = kind == "pynetdicom_raw"

    def on_store(event: Any) -> int:
        path = folder / f"{event.request.AffectedSOPInstanceUID}.dcm"
        if is_raw:
            path.write_bytes(event.encoded_dataset())
        else:
            dataset = event.dataset
            dataset.file_meta = event.file_meta
            dataset.save_as(path, enforce_file_format=True)
        return 0x0000

    entity = AE(ae_title=CALLED_AE_TITLE)
    entity.maximum_associations = _ASSOCIATIONS_MAX
    if is_raw:
        entity.maximum_pdu_size = 1024 * 1024
    entity.add_supported_context(CT_IMAGE_STORAGE)
    listener = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    print(listener.socket.getsockname()[1], flush=True)
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    done.wait()
    listener.shutdown()


def _settings(folder: Path) -> AcceptorSettings:
    return AcceptorSettings(
        storage_root=folder / "instances",
        associations_max=_ASSOCIATIONS_MAX,
        associations_per_host_max=_ASSOCIATIONS_MAX,
    )


def _listeners(kind: str, folder: Path) -> Sequence[Listener]:
    if not kind.endswith("_tls"):
        return [Listener("127.0.0.1", 0)]
    files = TLSFiles(folder / "certificate.pem", folder / "key.pem", client_certificate="none")
    return [Listener("127.0.0.1", 0, secure_as_server(TLSContexts(files)))]


def _database_sink() -> InstanceSink:
    from pipeline.database import Database
    from pipeline.queue import deferring_app
    from pipeline.receive import DatabaseSink

    url = os.environ["RADMETER_DATABASE_URL"]
    return DatabaseSink(Database(url), deferring_app(url))


def _observed_sink() -> tuple[InstanceSink, Observe]:
    """As `server.gateway` makes it."""
    from pipeline.database import Database
    from pipeline.queue import deferring_app
    from pipeline.receive import DatabaseSink
    from server.metrics import Metrics
    from server.receive_metrics import ReceiveMetrics, gateway_counts
    from server.traces import OtlpTracing

    url, metrics = os.environ["RADMETER_DATABASE_URL"], Metrics()
    tracing = OtlpTracing(
        "gateway",
        os.environ["BENCH_COLLECTOR"],
        lambda what, count: metrics.trace_spans.labels(what).inc(count),
    )
    sink = DatabaseSink(Database(url), deferring_app(url), ReceiveMetrics(metrics), tracing)
    return sink, partial(gateway_counts, metrics)


def prepare_database(url: str) -> None:
    """Migrate, and make the tenant and the peer that the senders use."""
    from pipeline import peers
    from pipeline.migrations import migrate
    from server.installation import create_tenant, owner_connection

    migrate(url)
    with owner_connection(url, "benchmark") as conn:
        create_tenant(conn, "benchmark", "Benchmark", CALLED_AE_TITLE, "en")
        values = {"ae_title": CALLING_AE_TITLE, "host": "127.0.0.1", "port": 104, "quiet_time_s": 3600.0}
        peers.save_peer(conn, "benchmark", **values)


def main() -> None:
    kind, folder = sys.argv[1], Path(sys.argv[2])
    if kind.startswith("pynetdicom"):
        pynetdicom(kind, folder)
    elif len(sys.argv) > 3:
        receive(kind, folder, socket.socket(fileno=int(sys.argv[3])))
    else:
        accept(kind, folder)


if __name__ == "__main__":
    main()
