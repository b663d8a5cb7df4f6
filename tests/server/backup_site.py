"""A hospital on an embedded PostgreSQL of its own, whose studies go their whole path by steps that cost nothing."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from billing.books import ledger
from billing.contracts import store as billing_store
from billing.statements import statement
from dicom_gateway.file_meta import part10_header
from dicom_gateway.instance_sink import ReceivedInstance
from dicom_gateway.instance_store import InstanceStore, locate
from pipeline import store, study_path
from pipeline.database import Connection
from pipeline.services import Outcome, Services
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.study_file import write_durably
from pipeline.study_path import end_step
from server.backup.folder import BackupFolder
from server.backup.follow import receive_wal
from server.embedded_postgres import EmbeddedPostgres
from server.installation import owner_connection
from server.settings import Settings
from tests.conftest import ROOT
from tests.pipeline.conftest import ALPHA, CT, Clinic, open_clinic

PRODUCT = "lung_nodule_ct"


@dataclass
class Site:
    """settings: with the URL of its database. A study is named by a number."""

    settings: Settings
    clinic: Clinic

    def send(self, study: int, number: int = 1) -> ReceivedInstance:
        """The PACS sends an instance; the same numbers, the same bytes."""
        uid, content = f"1.2.{study}", f"pixels of {study}.{number}".encode() * 50
        files = InstanceStore(self.settings.instances_directory, durable=False)
        incoming = files.create(part10_header(CT, f"{uid}.1.{number}", "1.2.840.10008.1.2.1", "PACS"))
        incoming.append(memoryview(content))
        location = locate(ALPHA, uid, f"{uid}.1", f"{uid}.1.{number}", incoming.blake3)
        received = ReceivedInstance(
            uid, f"{uid}.1", f"{uid}.1.{number}", CT, "1.2.840.10008.1.2.1", location, incoming.blake3,
            incoming.size_bytes, "CT",
        )  # fmt: skip
        files.commit(incoming, location)
        files.close()
        self.clinic.receive(received)
        return received

    def assemble(self, study: int) -> StudyRecord:
        received = self.send(study)
        self.clinic.fall_silent()
        self.clinic.assemble()
        return self.clinic.study(received)

    def step(self, study: StudyRecord) -> StudyRecord:
        """One step of the path: its status, its rows and its files, committed as the worker commits."""
        step = study_path.STEP_AFTER[study.status]
        outcome = _WORK[study.status](self.clinic.services, study)
        with self.clinic.database.transaction(ALPHA) as conn:
            return end_step(
                conn, self.clinic.services, store.lock_study(conn, ALPHA, study.id), step, outcome
            ).study

    def deliver(self, study: int) -> StudyRecord:
        """Received, run, acknowledged and metered; sent again it is seen again."""
        record = self.assemble(study)
        while record.status in study_path.STEP_AFTER:
            record = self.step(record)
        return record

    def charged(self) -> list[tuple[str, int]]:
        """(outcome, reason) of every decision, counted."""
        rows = self.clinic.rows(
            """SELECT outcome || ' ' || reason_code AS what, count(*) AS n FROM billing.event_decision
               WHERE tenant = %s GROUP BY 1 ORDER BY 1""",
            ALPHA,
        )
        return [(row["what"], row["n"]) for row in rows]

    def now(self) -> datetime:
        row: dict[str, Any] = self.clinic.rows("SELECT clock_timestamp() AS now")[0]
        at: datetime = row["now"]
        return at


def _routed(services: Services, study: StudyRecord) -> Outcome:
    def save(conn: Connection, record: StudyRecord) -> None:
        store.set_route(conn, record, [{"product": PRODUCT, "input_digest": str(study.id)}])

    return Outcome(save)


def _inferred(services: Services, study: StudyRecord) -> Outcome:
    def save(conn: Connection, record: StudyRecord) -> None:
        conn.execute(
            """INSERT INTO result (tenant, study_id, revision, product, model_name, model_version, weights_sha256,
                                   input_digest, findings, timing_s)
               VALUES (%s, %s, %s, %s, 'lung', '1', 'w', 'i', '[]', '{}')""",
            (record.tenant, record.id, record.revision, PRODUCT),
        )

    return Outcome(save)


def _encoded(services: Services, study: StudyRecord) -> Outcome:
    content = f"report of {study.study_instance_uid}".encode()
    path = services.folders.results_of(study) / f"{PRODUCT}.sr.dcm"
    write_durably(path, content)
    write_durably(path.with_name("report.json"), b"{}")

    def save(conn: Connection, record: StudyRecord) -> None:
        conn.execute(
            """INSERT INTO result_object (tenant, sop_instance_uid, study_id, revision, product, kind, location, sha256,
                                          size_bytes)
               VALUES (%s, %s, %s, %s, %s, 'SR', %s, %s, %s)""",
            (record.tenant, f"{study.study_instance_uid}.9", record.id, record.revision, PRODUCT,
             str(path.relative_to(services.folders.results)), hashlib.sha256(content).hexdigest(), len(content)),
        )  # fmt: skip
        conn.execute(
            """INSERT INTO delivery (tenant, sop_instance_uid, destination, study_id, state)
               VALUES (%s, %s, 'PACS', %s, 'waiting')""",
            (record.tenant, f"{study.study_instance_uid}.9", record.id),
        )

    return Outcome(save)


def _delivered(services: Services, study: StudyRecord) -> Outcome:
    def save(conn: Connection, record: StudyRecord) -> None:
        conn.execute(
            """UPDATE delivery SET state = 'acknowledged', acknowledged_at = now()
               WHERE tenant = %s AND study_id = %s""",
            (record.tenant, record.id),
        )

    return Outcome(save)


_WORK = {
    StudyStatus.ASSEMBLED: _routed,
    StudyStatus.ROUTED: lambda *_: Outcome(),
    StudyStatus.DECODED: _inferred,
    StudyStatus.INFERRED: _encoded,
    StudyStatus.ENCODED: _delivered,
}


@contextmanager
def site_in(data: Path) -> Iterator[Site]:
    """The installation in this data directory; its database is started here and stopped at the end."""
    settings = Settings(data_directory=data)
    postgres = EmbeddedPostgres(settings, owns=True)
    try:
        from pipeline.migrations import migrate

        migrate(postgres.url)
        with open_clinic(postgres.url, settings.data_directory) as clinic:
            yield Site(Settings(data_directory=data, database_url=postgres.url), clinic)
    finally:
        postgres.stop()


def add_contract(site: Site) -> int:
    with site.clinic.database.transaction(ALPHA) as conn:
        text = (ROOT / "examples/contract_per_case.yaml").read_text()
        return billing_store.add_contract(conn, ALPHA, text)


@contextmanager
def wal_kept(site: Site, folder: BackupFolder) -> Iterator[None]:
    """What the role `backup` does, for this while; at the end everything that was committed has arrived."""
    folder.wal.mkdir(parents=True, exist_ok=True)
    stopping = threading.Event()
    thread = threading.Thread(target=receive_wal, args=(site.settings.database_url, folder, stopping))
    thread.start()
    try:
        yield
        site.clinic.owner.execute("SELECT pg_create_restore_point('end of the test')")
        end = site.clinic.rows("SELECT pg_current_wal_flush_lsn() AS lsn")[0]["lsn"]
        for _ in range(200):
            kept = site.clinic.rows(
                """SELECT flush_lsn >= %s::pg_lsn AS all FROM pg_stat_replication
                   WHERE application_name = 'pg_receivewal'""",
                end,
            )
            if kept and kept[0]["all"]:
                break
            stopping.wait(0.05)
        else:
            raise AssertionError("the WAL did not arrive")
    finally:
        stopping.set()
        thread.join(20)


def books(site: Site, contract: int) -> tuple[Any, ...]:
    """What was charged, and the journal once the month's statement is issued."""
    with owner_connection(site.settings.database_url, ALPHA) as conn:
        issued = statement.issue(conn, ALPHA, contract, datetime.now(UTC), close_early=True)
        assert ledger.check(conn, ALPHA) == []
        journal = conn.execute(
            """SELECT e.template, p.account, p.amount_minor FROM billing.journal_entry e
               JOIN billing.posting p ON p.tenant = e.tenant AND p.entry_sequence = e.sequence
               WHERE e.tenant = %s ORDER BY e.sequence, p.account""",
            (ALPHA,),
        ).fetchall()
    billable = [row for row in site.charged() if row[0].startswith("billable")]
    return issued.total, billable, [tuple(row.values()) for row in journal]
