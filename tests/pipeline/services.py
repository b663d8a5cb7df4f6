"""A gateway in a thread before the clinic's database, with all its services."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dicom_gateway.acceptor_settings import AcceptorSettings
from dicom_gateway.receive_dimse import Acceptor
from pipeline.queue import deferring_app
from pipeline.service_desk import DatabaseServiceDesk
from pipeline.services import Folders
from tests.pipeline.conftest import Clinic


@contextmanager
def running_gateway(clinic: Clinic, port: int = 0, folders: Folders | None = None) -> Iterator[int]:
    """The port of a gateway that stores, commits and takes procedure steps. folders: of its node, else the clinic's."""
    folders = folders or clinic.services.folders
    queue = deferring_app(clinic.database.url)
    desk = DatabaseServiceDesk(clinic.database, queue, folders.kept_instances)
    settings = AcceptorSettings(
        storage_root=folders.instances,
        port=port,
        free_bytes_min=0,
        free_bytes_for_associations=0,
        reserve_bytes=0,
    )
    acceptor = Acceptor(settings, clinic.sink, desk=desk, objects=folders.objects)
    (port,) = acceptor.listen()
    thread = threading.Thread(target=acceptor.serve_forever, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        acceptor.stop(grace_s=0.5)
        thread.join(timeout=15)
        queue.close()
