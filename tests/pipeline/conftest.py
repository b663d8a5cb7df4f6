"""An installation without processes: a real database with two hospitals, and steps that are fakes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import procrastinate
import psycopg
import pydicom
import pytest
from psycopg.rows import dict_row

from dicom_gateway.instance_sink import ReceivedInstance, RecordOutcome
from dicom_gateway.peers import Peer
from dicom_gateway.stored_instance import data_set_digest
from pipeline import peers, store
from pipeline.assemble_study import assemble_study
from pipeline.confirm_delivery import PAUSES_S
from pipeline.database import Connection, Database
from pipeline.queue import defer_confirmation, defer_delivery, defer_step, deferring_app
from pipeline.receive import DatabaseSink
from pipeline.services import Folders, Services
from pipeline.store import StudyRecord

ALPHA, BETA = "alpha", "beta"
CT = "1.2.840.10008.5.1.4.1.1.2"


@dataclass
class Clinic:
    """Two hospitals on one database, each with a PACS, and what the gateway and the worker do there.

    services: no model, no endpoint: a test puts its own step in their place.
    """

    database: Database
    owner: Connection
    sink: DatabaseSink
    services: Services
    queue: procrastinate.App
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 10_000)))

    def peer(self, tenant: str = ALPHA) -> Peer:
        found = self.sink.find_peer("PACS", tenant.upper(), "127.0.0.1")
        assert found is not None
        return found

    def receive(
        self, received: ReceivedInstance, tenant: str = ALPHA, ends: str = "released"
    ) -> RecordOutcome:
        """One association that brings one instance."""
        peer = self.peer(tenant)
        association = self.sink.open_association(peer)
        outcome = self.sink.record(association, peer, received)
        self.sink.close_association(association, peer, ends)  # type: ignore[arg-type]
        return outcome

    def fall_silent(self) -> None:
        """An hour passes since the last instance of every arrival."""
        self.owner.execute("UPDATE arrival SET last_at = last_at - interval '1 hour'")

    def assemble(self, tenant: str = ALPHA, services: Services | None = None) -> list[float]:
        """Run the assembly of each open arrival once; returns the delays after which it wants to look again."""
        delays: list[float] = []
        for row in self.owner.execute(
            "SELECT id FROM arrival WHERE tenant = %s AND closed_at IS NULL ORDER BY id", (tenant,)
        ).fetchall():
            assemble_study(
                services or self.services,
                tenant,
                row["id"],
                defer_again=lambda _, delay_s: delays.append(delay_s),
            )
        return delays

    def study(self, received: ReceivedInstance, tenant: str = ALPHA) -> StudyRecord:
        row = self.owner.execute(
            "SELECT id FROM study WHERE tenant = %s AND study_instance_uid = %s",
            (tenant, received.study_instance_uid),
        ).fetchone()
        assert row is not None
        with self.database.transaction(tenant) as conn:
            return store.get_study(conn, tenant, row["id"])

    def set_status(self, received: ReceivedInstance, status: str, reason_code: str | None = None) -> None:
        self.owner.execute(
            "UPDATE study SET status = %s, reason_code = %s WHERE study_instance_uid = %s",
            (status, reason_code, received.study_instance_uid),
        )

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return self.owner.execute(query, values).fetchall()

    def jobs(self, task_name: str) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM procrastinate_jobs WHERE task_name = %s ORDER BY id", task_name)

    def add_result_object(
        self, study: StudyRecord, sop_instance_uid: str, *, is_delivered: bool = True, **changes: Any
    ) -> None:
        """A result object as the encode step leaves it, acknowledged by PACS if `is_delivered`."""
        row = {
            "tenant": study.tenant,
            "sop_instance_uid": sop_instance_uid,
            "study_id": study.id,
            "revision": study.revision,
            "product": "lung_nodule_ct",
            "kind": "SR",
            "location": "x.dcm",
            "sha256": "0" * 64,
            "size_bytes": 1,
        } | changes
        columns, marks = ", ".join(row), ", ".join(["%s"] * len(row))
        self.owner.execute(f"INSERT INTO result_object ({columns}) VALUES ({marks})", tuple(row.values()))
        if is_delivered:
            self.owner.execute(
                """INSERT INTO delivery (tenant, sop_instance_uid, destination, study_id, state, acknowledged_at)
                   VALUES (%s, %s, 'PACS', %s, 'acknowledged', now())""",
                (study.tenant, sop_instance_uid, study.id),
            )


def make_instance(study: str = "1.2.3", number: int = 1, **changes: Any) -> ReceivedInstance:
    """An instance as the acceptor hands it over; the same arguments make the same one."""
    values: dict[str, Any] = {
        "study_instance_uid": study,
        "series_instance_uid": f"{study}.1",
        "sop_instance_uid": f"{study}.1.{number}",
        "sop_class_uid": CT,
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "location": f"{study}/{number}.dcm",
        "blake3": f"{number:064d}",
        "size_bytes": 1000,
        "modality": "CT",
    }
    return ReceivedInstance(**{**values, **changes})


def received_from(path: Path, instances: Path) -> ReceivedInstance:
    """What the acceptor says of a file in the store."""
    header = pydicom.dcmread(path, stop_before_pixels=True)
    return ReceivedInstance(
        study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=header.SeriesInstanceUID,
        sop_instance_uid=header.SOPInstanceUID,
        sop_class_uid=header.SOPClassUID,
        transfer_syntax_uid=header.file_meta.TransferSyntaxUID,
        location=str(path.relative_to(instances)),
        blake3=data_set_digest(path),
        size_bytes=path.stat().st_size,
        modality=header.Modality,
    )


def receive_files(clinic: Clinic, paths: list[Path]) -> ReceivedInstance:
    """The files, which lie in the clinic's store, come in, fall silent and are assembled; returns the last one."""
    for path in paths:
        received = received_from(path, clinic.services.folders.instances)
        clinic.receive(received)
    clinic.fall_silent()
    clinic.assemble()
    return received


def _no_model(name: str, **_: Any) -> Any:
    raise AssertionError(f"a test that needs the model {name} puts it there itself")


@pytest.fixture
def clinic(migrated_url: str, tmp_path: Path) -> Iterator[Clinic]:
    with open_clinic(migrated_url, tmp_path) as opened:
        yield opened


@contextmanager
def open_clinic(migrated_url: str, root: Path) -> Iterator[Clinic]:
    """A clinic on this database, with its folders below `root`; its hospitals are made unless they are there."""
    database = Database(migrated_url, pool_size_max=12)
    queue = deferring_app(migrated_url)
    owner = psycopg.connect(migrated_url, autocommit=True, row_factory=dict_row)
    for tenant in (ALPHA, BETA):
        owner.execute(
            "INSERT INTO tenant (tenant, name, called_ae_title) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (tenant, tenant.title(), tenant.upper()),
        )
        peers.save_peer(owner, tenant, ae_title="PACS", host="127.0.0.1", port=104, quiet_time_s=5.0)
    services = Services(
        database=database,
        folders=Folders(root / "instances", root / "work", root / "results", root / "secrets"),
        scheduler=None,  # type: ignore[arg-type]
        get_model=_no_model,
        defer_step=lambda conn, study: defer_step(queue, conn, study),
        defer_delivery=lambda *values: defer_delivery(queue, *values),
        defer_confirmation=lambda *values: defer_confirmation(queue, *values, pauses_s=PAUSES_S),
    )
    yield Clinic(database, owner, DatabaseSink(database, queue), services, queue)
    owner.close()
    queue.close()
    database.close()


@pytest.fixture
def changed(clinic: Clinic) -> Callable[..., Services]:
    """The clinic's services with some of them replaced."""
    return lambda **values: dataclasses.replace(clinic.services, **values)
