"""`radmeter export`: everything that belongs to a tenant, to take away."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from psycopg.rows import dict_row

from pipeline import audit
from pipeline.database import Connection, connection_options
from pipeline.protection.errors import ExportTargetTaken
from pipeline.protection.export_package import check_package
from pipeline.protection.export_tenant import export_tenant
from server.cli import explained_errors
from server.cli_admin import who
from server.errors import CommandFailed
from server.installation import owner_connection
from server.object_store import tenant_store
from server.serve import with_database
from server.settings import load_settings

export_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"export": export_commands}


@export_commands.command("tenant")
def tenant(
    name: Annotated[str, typer.Argument(help="short name of the tenant")],
    to: Annotated[Path, typer.Option(help="a new folder, or a new file that ends in .zip")],
) -> None:
    """Write rows, DICOM instances, results, documents and audit trail with a manifest.

    It holds patients' data in the clear.
    """
    now = datetime.now(UTC)
    with explained_errors(), with_database(load_settings()) as settings:
        with owner_connection(settings.database_url, name) as conn:
            if conn.execute("SELECT 1 FROM tenant WHERE tenant = %s", (name,)).fetchone() is None:
                raise CommandFailed(f"no tenant {name}")
            if to.exists():
                raise ExportTargetTaken(to)
            detail = {"by": who()}
            audit.record(conn, name, audit.AuditEvent.TENANT_EXPORTED, detail)
        with _reader(settings.database_url) as conn, conn.transaction():
            conn.execute("SELECT set_config('radmeter.tenant', %s, true)", (name,))
            count = export_tenant(conn, name, tenant_store(settings, name), to, now=now)
    typer.echo(f"{to}: {count.rows} rows of {count.tables} tables, {count.objects} objects")
    if count.missing:
        typer.echo(
            f"{count.missing} objects that rows name are not in the store; the manifest names them", err=True
        )


@export_commands.command("check")
def check(path: Annotated[Path, typer.Argument(help="the folder or zip file")]) -> None:
    """Compare every file of an export with its manifest."""
    with explained_errors():
        found = check_package(path)
    for problem in found.problems:
        typer.echo(problem, err=True)
    if found.problems:
        raise typer.Exit(1)
    typer.echo(
        f"tenant {found.about['tenant']} as of {found.about['at']}: {found.files} files with {found.size_bytes} bytes "
        f"and {found.rows} rows are as they were written"
    )


def _reader(url: str) -> Connection:
    """Under the role that obeys row-level security; every transaction sees one instant."""
    conn: Connection = psycopg.connect(url, row_factory=dict_row, options=connection_options())
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    return conn
