"""A hospital with studies that have rows wherever a study may have some, and objects, sealed and plain."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from pipeline.protection import erase
from pipeline.protection.keyring import Keyring
from pipeline.protection.master_keys import load_master_keys, make_master_key
from pipeline.protection.sealed_store import SealedStore
from pipeline.protection.tenant_tables import tenant_tables
from storage.folder_store import FolderStore
from tests.pipeline.conftest import make_instance

ALPHA, BETA = "alpha", "beta"
UID = "1.2.840.99.7.1"
PATIENT = ("MUSTERMANN^ERIKA", "PID-4711", "ACC-0815")
FOLDER = "ab/" + "ab" * 32


def now() -> datetime:
    return datetime.now(UTC)


def aside(uid: str) -> str:
    """Name of an instance that contradicts a stored one."""
    return hashlib.sha256(uid.encode()).hexdigest()


class EraseSite:
    """A hospital with two delivered studies, with rows wherever a study may have some, and their objects."""

    def __init__(self, clinic: Any, folder: Path) -> None:
        self.clinic = clinic
        self.store = FolderStore(folder / "objects")
        make_master_key(folder / "master.key")
        masters = load_master_keys([folder / "master.key"])
        assert masters is not None
        self.keyring = Keyring(clinic.database, masters)
        self.sealed = SealedStore(self.store, self.keyring, ALPHA, folder / "scratch")
        self.source = folder / "source"
        self.source.write_bytes("\n".join(PATIENT).encode())

    def add_study(self, uid: str, folder: str, patient: tuple[str, str, str]) -> UUID:
        received = make_instance(uid, location=f"{folder}/1.dcm", blake3="1" * 64)
        self.clinic.receive(received)
        self.clinic.receive(make_instance(uid, number=2, location=f"{folder}/2.dcm", blake3="2" * 64))
        other_bytes = make_instance(uid, location=f"{folder}/{aside(uid)}.dcm", blake3="3" * 64)
        self.clinic.receive(other_bytes)  # put aside
        self.clinic.fall_silent()
        self.clinic.assemble()
        study = self.clinic.study(received)
        header = dict(zip(("patient_name", "patient_id", "accession_number"), patient, strict=True))
        self.clinic.owner.execute(
            "UPDATE study SET status = 'delivered', header = %s WHERE id = %s", (Jsonb(header), study.id)
        )
        self.clinic.add_result_object(study, f"{uid}.9")
        self.clinic.owner.execute(
            """INSERT INTO workitem (tenant, uid, ae_title, attributes, is_ours, study_instance_uid, study_id)
               VALUES (%s, %s, 'PACS', %s, true, %s, %s)""",
            (ALPHA, f"{uid}.77", Jsonb({"00100010": patient[0]}), uid, study.id),
        )
        self.clinic.owner.execute(
            """INSERT INTO workitem_notice (tenant, ae_title, uid, kind, said)
               VALUES (%s, 'PACS', %s, 1, %s)""",
            (ALPHA, f"{uid}.77", Jsonb({"00100020": patient[1]})),
        )
        own = (f"results/{study.id}/1/report.json", f"work/{study.id}/1/x")
        for key in (f"instances/{folder}/1.dcm", f"instances/quarantine/{aside(uid)}.dcm", *own):
            self.sealed.put(key, self.source, "")
        self.store.put(f"instances/{folder}/2.dcm", self.source, "")  # stored before there were keys
        return study.id

    @contextmanager
    def owner(self) -> Iterator[Any]:
        """A transaction of the schema's owner, as commands have it."""
        with self.clinic.owner.transaction():
            self.clinic.owner.execute("SELECT set_config('radmeter.tenant', %s, true)", (ALPHA,))
            yield self.clinic.owner

    def erase(self, study_id: UUID | None) -> erase.Erasure:
        with self.owner() as conn:
            plan = (
                erase.plan_tenant(conn, ALPHA)
                if study_id is None
                else erase.plan_study(conn, ALPHA, study_id)
            )
            return erase.erase(conn, plan, plan.code, reason="request 12", by="lin", now=now())

    def rows_of(self, tenant: str) -> dict[str, int]:
        """Table → the tenant's rows; only tables that have some."""
        query = sql.SQL("SELECT count(*) AS n FROM {} WHERE tenant = %s")
        counts = {
            table.full_name: self.clinic.owner.execute(query.format(table.identifier), (tenant,)).fetchone()[
                "n"
            ]
            for table in tenant_tables(self.clinic.owner)
        }
        return {name: count for name, count in counts.items() if count}

    def object_keys(self) -> list[str]:
        return [one.key for one in self.store.list()]

    def rows_that_say(self, word: str) -> list[str]:
        """Names of tables of which a row holds the word."""
        tables = [
            one["name"]
            for one in self.clinic.rows(
                """SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                   WHERE relkind = 'r' AND nspname IN ('public', 'billing')"""
            )
        ]
        query = sql.SQL("SELECT count(*) AS n FROM {} AS one WHERE to_jsonb(one)::text LIKE %s")
        return [
            name
            for name in tables
            if self.clinic.owner.execute(
                query.format(sql.Identifier(*name.split("."))), (f"%{word}%",)
            ).fetchone()["n"]
        ]
