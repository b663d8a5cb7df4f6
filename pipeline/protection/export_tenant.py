"""Everything that belongs to a tenant, to take away: rows, DICOM instances, results, documents, audit trail.

Which tables there are is read from the catalogue; what opens doors (hashes of passwords and keys, sessions) stays here.
The rows are of one instant. An object that was erased or removed since then is named in the manifest as missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg import sql

from billing.contracts import store as billing_store
from billing.statements import document_json, statement_document
from billing.statements.statement_context import context_of
from pipeline.database import Connection
from pipeline.protection.export_package import PackageWriter, new_package
from pipeline.protection.tenant_tables import TenantTable, tenant_tables
from storage.errors import ObjectMissing
from storage.object_store import ObjectStore

# Sessions, sign-ins under way and keys: worth nothing elsewhere, and dangerous in a file.
LEFT_OUT = frozenset(
    {
        "portal_session",
        "openid_attempt",
        "recovery_code",
        "report_link_opening",
        "tenant_key",
        "data_key",
        "api_key_use",
    }
)
# Columns that open doors: exported as null.
WITHHELD = {
    "api_key": ("key_hash",),
    "peer": ("query_secret",),
    "portal_user": ("password_hash", "totp_secret"),
    "report_link": ("pin_hash", "token_hash"),
}
_BATCH = 500
_PIECE_BYTES = 1 << 20

README = """Everything that radmeter holds of tenant {tenant}, as of {at}.

tables/     a file for each table, a row on a line as JSON (bytes as \\\\x and hexadecimal digits).
            audit_event is the audit trail with the hashes that chain it; billing.* are the books.
objects/    instances/  the DICOM instances as they were received; public.instance.jsonl has their location,
                        study and BLAKE3 (of the data set; the file has a header of its own before it).
            results/    what was made of each study, by our id of the study: DICOM objects, PDF, JSON.
documents/  issued statements as PDF and JSON.
manifest.jsonl  a line for each file with its size and SHA-256; the first line says what this is, the last one
                counts the files. `radmeter export check` compares; so does any program that reads JSON.

Not in it: passwords, keys and sessions, which open doors here and nowhere else.
It holds patients' data in the clear. Keep it as such.
"""


@dataclass(frozen=True)
class ExportCount:
    tables: int
    rows: int
    objects: int
    missing: int


def export_tenant(
    conn: Connection, tenant: str, store: ObjectStore, target: Path, *, now: datetime
) -> ExportCount:
    """Write the package. store: as the tenant's objects are read from it, plain.

    conn: in a transaction of its own that sees one instant (repeatable read) under row-level security.
    Raises `ExportTargetTaken`.
    """
    with new_package(target, {"tenant": tenant, "at": now.isoformat()}) as package:
        package.add("README.txt", [README.format(tenant=tenant, at=now.isoformat()).encode()])
        tables = [table for table in tenant_tables(conn) if table.name not in LEFT_OUT]
        rows = sum(_add_table(conn, package, tenant, table) for table in tables)
        _add_documents(conn, package, tenant)
        objects, missing = _add_objects(conn, package, tenant, store, target)
    return ExportCount(len(tables), rows, objects, missing)


def _add_table(conn: Connection, package: PackageWriter, tenant: str, table: TenantTable) -> int:
    columns = [name for name in table.columns if name not in WITHHELD.get(table.name, ())]
    query = sql.SQL(
        "SELECT row_to_json(one)::text AS line FROM (SELECT {} FROM {} WHERE tenant = %s {}) one"
    ).format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        table.identifier,
        sql.SQL("ORDER BY {}").format(sql.SQL(", ").join(map(sql.Identifier, table.key)))
        if table.key
        else sql.SQL(""),
    )

    def lines() -> Iterator[bytes]:
        with conn.cursor(name="export") as cursor:  # on the server: a batch of rows is here at a time
            cursor.itersize = _BATCH
            for row in cursor.execute(query, (tenant,)):
                yield row["line"].encode() + b"\n"

    return package.add(f"tables/{table.schema}.{table.name}.jsonl", lines())


def _add_documents(conn: Connection, package: PackageWriter, tenant: str) -> None:
    language = conn.execute("SELECT language FROM tenant WHERE tenant = %s", (tenant,)).fetchone()
    assert language is not None
    ids = conn.execute(
        "SELECT statement_id FROM billing.statement WHERE tenant = %s AND number IS NOT NULL ORDER BY 1",
        (tenant,),
    ).fetchall()
    for row in ids:
        issued = billing_store.get_statement(conn, tenant, row["statement_id"])
        context = context_of(conn, issued)
        name = f"documents/statement-{row['statement_id']}"
        package.add(f"{name}.json", [document_json.to_bytes(document_json.of_statement(issued, context))])
        package.add(f"{name}.pdf", [statement_document.render_pdf(issued, language["language"], context)])


def _add_objects(
    conn: Connection, package: PackageWriter, tenant: str, store: ObjectStore, target: Path
) -> tuple[int, int]:
    """(added, missing)"""
    added = missing = 0
    # Beside the package: there is room for objects, and it is watched like it.
    with TemporaryDirectory(prefix=".radmeter-", dir=target.parent) as folder:
        for key in _object_keys(conn, tenant, store):
            path = Path(folder) / "object"
            try:
                store.get(key, path)
            except (ObjectMissing, FileNotFoundError):
                package.note({"missing": f"objects/{key}"})
                missing += 1
                continue
            package.add(f"objects/{key}", _pieces(path))
            path.unlink()
            added += 1
    return added, missing


def _object_keys(conn: Connection, tenant: str, store: ObjectStore) -> Iterator[str]:
    with conn.cursor(name="export_instances") as cursor:
        cursor.itersize = _BATCH
        query = """SELECT location FROM instance WHERE tenant = %(tenant)s
                   UNION SELECT location FROM quarantined_instance WHERE tenant = %(tenant)s ORDER BY 1"""
        for row in cursor.execute(query, {"tenant": tenant}):
            yield f"instances/{row['location']}"
    with conn.cursor(name="export_studies") as cursor:
        cursor.itersize = _BATCH
        for row in cursor.execute("SELECT id FROM study WHERE tenant = %s ORDER BY id", (tenant,)):
            yield from (one.key for one in store.list(f"results/{row['id']}"))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(_PIECE_BYTES), b"")
