"""`radmeter erase`: a study or a tenant for good, in two steps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import psycopg
import typer

from pipeline.database import Connection
from pipeline.protection import erase as work
from pipeline.protection.erase import ErasurePlan
from pipeline.protection.erase_objects import remove_objects
from server import places
from server.cli import explained_errors
from server.cli_admin import TenantOption, who
from server.errors import CommandFailed
from server.installation import FIRST_TENANT, owner_connection
from server.object_store import durable_store
from server.serve import with_database
from server.settings import Settings, load_settings

erase_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"erase": erase_commands}

Confirm = Annotated[str, typer.Option(help="the code that the first step has shown")]
Reason = Annotated[
    str, typer.Option(help="the request that it answers, by number: kept for ever, so no patient data")
]


@erase_commands.command("study")
def erase_study(
    study: Annotated[str, typer.Argument(help="our id of the study")],
    tenant: TenantOption = FIRST_TENANT,
    confirm: Confirm = "",
    reason: Reason = "",
) -> None:
    """Show what would be erased of a study; with --confirm and --reason erase it."""
    try:
        study_id = UUID(study)
    except ValueError:
        raise typer.BadParameter("an id of a study is a UUID, as its page's address has it") from None
    with explained_errors(), with_database(load_settings()) as settings:
        with owner_connection(settings.database_url, tenant) as conn:
            _do(conn, work.plan_study(conn, tenant, study_id), f"study {study_id}", confirm, reason)
        _remove_objects(settings, bool(confirm))


@erase_commands.command("tenant")
def erase_tenant(
    tenant: Annotated[str, typer.Argument(help="short name of the tenant")],
    confirm: Confirm = "",
    reason: Reason = "",
) -> None:
    """Show what would be erased of a tenant; with --confirm and --reason erase it. Export it before."""
    with explained_errors(), with_database(load_settings()) as settings:
        with owner_connection(settings.database_url, tenant) as conn:
            if conn.execute("SELECT 1 FROM tenant WHERE tenant = %s", (tenant,)).fetchone() is None:
                raise CommandFailed(f"no tenant {tenant}")
            _do(conn, work.plan_tenant(conn, tenant), f"tenant {tenant}", confirm, reason)
        _remove_objects(settings, bool(confirm))


def _do(conn: Connection, plan: ErasurePlan, name: str, confirm: str, reason: str) -> None:
    if not confirm:
        _show(plan, name)
        return
    if not 1 <= len(reason.strip()) <= 200:
        raise CommandFailed("say why by --reason, 1 to 200 characters, without patient data")
    by = who()
    work.erase(conn, plan, confirm, reason=reason.strip(), by=by, now=datetime.now(UTC))
    typer.echo(f"{name} is erased: {sum(plan.rows.values())} rows and {plan.keys} keys are gone")


def _show(plan: ErasurePlan, name: str) -> None:
    typer.echo(f"{name}: {plan.studies} studies, their images and results")
    for table, count in sorted(plan.rows.items()):
        typer.echo(f"  {count:>8}  {table}")
    typer.echo(f"  {plan.keys:>8}  keys, without which what was sealed cannot be read by anybody")
    typer.echo("Usage, statements, ledger and audit trail stay: they hold no patient data.")
    typer.echo("Backups hold it until they are pruned; a restore erases it again.")
    typer.echo(f"Nothing was erased. To erase it for good: --confirm {plan.code} --reason …")


def _remove_objects(settings: Settings, was_confirmed: bool) -> None:
    if not was_confirmed:
        return
    with psycopg.connect(settings.database_url, autocommit=True) as conn:
        # A row that was overwritten stays in the table's file until then, the wrapped key with it.
        conn.execute("VACUUM data_key, tenant_key, study")
    database = places.database(settings, pool_size_max=1)
    try:
        ended = remove_objects(database, durable_store(settings), now=datetime.now(UTC))
    finally:
        database.close()
    typer.echo(
        "its objects are gone"
        if ended
        else "some of its objects may be arriving just now: a worker removes them within minutes"
    )
