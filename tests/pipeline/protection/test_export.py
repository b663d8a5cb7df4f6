"""Everything of a tenant goes into the package and nothing of another's; what was changed in it is found."""

from __future__ import annotations

import json
import re
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from pipeline.database import connection_options
from pipeline.protection.errors import ExportDamaged, ExportTargetTaken
from pipeline.protection.export_package import check_package
from pipeline.protection.export_tenant import LEFT_OUT, WITHHELD, ExportCount, export_tenant
from pipeline.protection.tenant_tables import tenant_tables
from storage.folder_store import FolderStore
from tests.pipeline.conftest import make_instance

ALPHA, BETA = "alpha", "beta"
NOW = datetime(2026, 11, 27, tzinfo=UTC)
# Names that look like secrets and are none: digests of what is exported, and names of files.
HARMLESS = {
    ("audit_event", "hash"), ("audit_event", "previous_hash"), ("billing.journal_entry", "hash"),
    ("billing.journal_entry", "prev_hash"), ("billing.ledger_head", "hash"), ("billing.payment", "payload_hash"),
    ("billing.usage_event", "payload_hash"),
    ("billing.reconciliation_line", "token"), ("destination", "token_file"), ("openid_provider", "secret_file"),
    ("portal_user", "must_change_password"), ("report_link", "pin_failures"), ("work_source", "token_file"),
    ("tenant", "case_key_secret"),  # the hospital's own: it checks its usage with it
}  # fmt: skip


@pytest.fixture
def objects(clinic: Any, tmp_path: Path) -> FolderStore:
    """Two hospitals with a study each, one object that a row names is not there."""
    store = FolderStore(tmp_path / "objects")
    source = tmp_path / "source"
    for tenant, folder in ((ALPHA, "aa/" + "aa" * 32), (BETA, "bb/" + "bb" * 32)):
        source.write_bytes(f"DICM of {tenant}".encode())
        for number in (1, 2):
            received = make_instance(number=number, location=f"{folder}/{number}.dcm")
            clinic.receive(received, tenant)
        clinic.fall_silent()
        clinic.assemble(tenant)
        study = clinic.study(received, tenant)
        for key in (f"instances/{folder}/1.dcm", f"results/{study.id}/1/report.json"):
            store.put(key, source, "")
    return store


def export(url: str, store: FolderStore, target: Path, tenant: str = ALPHA) -> ExportCount:
    with psycopg.connect(url, row_factory=dict_row, options=connection_options()) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with conn.transaction():
            conn.execute("SELECT set_config('radmeter.tenant', %s, true)", (tenant,))
            return export_tenant(conn, tenant, store, target, now=NOW)


def test_every_table_of_tenants_is_exported_or_left_out_for_a_reason(
    clinic: Any, migrated_url: str, objects: FolderStore, tmp_path: Path
) -> None:
    export(migrated_url, objects, tmp_path / "out")
    written = {path.name.removesuffix(".jsonl") for path in (tmp_path / "out" / "tables").iterdir()}
    walked = clinic.rows(
        """SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
           JOIN pg_attribute a ON a.attrelid = c.oid AND attname = 'tenant'
           WHERE relkind IN ('r', 'p') AND nspname IN ('public', 'billing')"""
    )
    assert written == {row["name"] for row in walked} - {f"public.{name}" for name in LEFT_OUT}
    for table in tenant_tables(clinic.owner):
        query = sql.SQL("SELECT count(*) AS n FROM {} WHERE tenant = %s").format(table.identifier)
        count = clinic.owner.execute(query, (ALPHA,)).fetchone()["n"]
        file = tmp_path / "out" / "tables" / f"{table.schema}.{table.name}.jsonl"
        if table.name not in LEFT_OUT:
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            assert len(lines) == count
            assert {line["tenant"] for line in lines} <= {ALPHA}
            assert all(not set(line) & set(WITHHELD.get(table.name, ())) for line in lines)


def test_no_column_that_opens_a_door_is_exported(clinic: Any) -> None:
    exported = {
        (table.full_name, column)
        for table in tenant_tables(clinic.owner)
        if table.name not in LEFT_OUT
        for column in table.columns
        if column not in WITHHELD.get(table.name, ())
        and re.search(r"secret|hash|wrapped|token|verifier|nonce|password|pin(?:_|$)", column)
    }
    assert exported == HARMLESS


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_a_package_is_whole_says_what_is_missing_and_is_ones_own(
    migrated_url: str, objects: FolderStore, tmp_path: Path, name: str
) -> None:
    target = tmp_path / name
    count = export(migrated_url, objects, target)
    assert (count.objects, count.missing) == (2, 1)
    check = check_package(target)
    assert check.problems == []
    assert (check.about["tenant"], check.missing, check.rows) == (ALPHA, 1, count.rows)
    if target.is_dir():
        content = {
            str(one.relative_to(target)): one.read_bytes() for one in target.rglob("*") if one.is_file()
        }
    else:
        with zipfile.ZipFile(target) as archive:
            content = {one: archive.read(one) for one in archive.namelist()}
    assert content["objects/instances/aa/" + "aa" * 32 + "/1.dcm"] == b"DICM of alpha"
    assert not [one for one, value in content.items() if b"beta" in value or "bb" * 32 in one]
    assert b"passwords" in content["README.txt"]
    with pytest.raises(ExportTargetTaken, match="already"):
        export(migrated_url, objects, target)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(["objects", "source", name])


def test_an_export_that_breaks_off_leaves_nothing(
    migrated_url: str, objects: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(objects, "get", fail)
    with pytest.raises(OSError, match="full"):
        export(migrated_url, objects, tmp_path / "out")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["objects", "source"]


def test_what_was_changed_added_or_taken_away_is_found(
    migrated_url: str, objects: FolderStore, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    export(migrated_url, objects, target)
    study, instance = (
        target / "tables/public.study.jsonl",
        target / "objects/instances/aa" / ("aa" * 32) / "1.dcm",
    )
    for path, content, problem in (
        (study, study.read_bytes().replace(b"1.2.3", b"1.2.4"), "public.study.jsonl is not what"),
        (instance, None, "cannot be read"),
        (target / "more.txt", b"x", "more.txt is not in the manifest"),
        (target / "manifest.jsonl", (target / "manifest.jsonl").read_bytes()[:-20], "cut off"),
        (target / "manifest.jsonl", b'{"path": "../../x"}\n[1]\n\x00', "a line that is none"),
    ):
        before = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True) if content is None else path.write_bytes(content)
        assert [one for one in check_package(target).problems if problem in one], problem
        path.unlink(missing_ok=True) if before is None else path.write_bytes(before)
    assert check_package(target).problems == []


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04nonsense"])
def test_what_is_no_package_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(ExportDamaged, match="no export of a tenant"):
        check_package(tmp_path / "x.zip")
