"""`radmeter heartbeat`: a made-up study through the whole path, never billed."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table

from pipeline import heartbeat
from pipeline.heartbeat import STAGES
from pipeline.heartbeat_pulse import pulse, recent
from server import places
from server.cli import explained_errors
from server.errors import CommandFailed
from server.installation import owner_connection
from server.serve import with_database
from server.settings import load_settings

heartbeat_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"heartbeat": heartbeat_commands}


@heartbeat_commands.command("install")
def install() -> None:
    """Make its tenant, its peer and its sink. RADMETER_HEARTBEAT_MINUTES says how often a worker sends one."""
    with (
        explained_errors(),
        with_database(load_settings()) as settings,
        owner_connection(settings.database_url, heartbeat.TENANT) as conn,
    ):
        made = heartbeat.install(conn, port=settings.dicom_port)
    every = settings.heartbeat_minutes
    typer.echo("the heartbeat is installed" if made else "the heartbeat was installed already")
    typer.echo(
        f"sent every {every} minutes" if every else "not sent by itself: RADMETER_HEARTBEAT_MINUTES is 0"
    )


@heartbeat_commands.command("run")
def run() -> None:
    """Send one now and wait for its answer. Exit code 1 unless the answer is right, delivered and not charged."""
    from server.heartbeat import run_once

    with explained_errors(), with_database(load_settings()) as settings:
        database = places.database(settings, pool_size_max=2)
        try:
            ending = run_once(database, settings)
        finally:
            database.close()
        if ending is None:
            raise CommandFailed("another heartbeat is under way: see `radmeter heartbeat status`")
        if ending.stage is not None:
            meaning = STAGES[ending.stage]
            raise CommandFailed(f"heartbeat failed at {ending.stage} ({meaning}): {ending.problem}")
    typer.echo(f"well: the right answer was delivered in {ending.seconds:.1f} s, and nothing was charged")


@heartbeat_commands.command("status")
def status() -> None:
    """Show the last ones. Exit code 1 when the last one failed or none was ever well."""
    with (
        explained_errors(),
        with_database(load_settings()) as settings,
        owner_connection(settings.database_url, heartbeat.TENANT) as conn,
    ):
        found, rows = pulse(conn), recent(conn)
    if not found.is_installed:
        typer.echo("the heartbeat is not installed: run `radmeter heartbeat install`", err=True)
        raise typer.Exit(1)
    table = Table("sent", "seconds", "failed at", "why")
    for row in rows:
        seconds = (
            f"{row['seconds']:.1f}" if row["seconds"] is not None else "" if row["ended_at"] else "under way"
        )
        table.add_row(
            f"{row['started_at']:%Y-%m-%d %H:%M:%S}", seconds, row["stage"] or "", row["problem"] or ""
        )
    Console().print(table, markup=False)
    for stage, failures in found.failures:
        typer.echo(f"failed at {stage}: {failures} in all")
    if not found.is_well:
        raise typer.Exit(1)


@heartbeat_commands.command("remove")
def remove() -> None:
    """Send no more and remove the made-up studies; the records of what was not charged stay."""
    from pipeline.heartbeat_sweep import sweep

    with (
        explained_errors(),
        with_database(load_settings()) as settings,
        owner_connection(settings.database_url, heartbeat.TENANT) as conn,
    ):
        removed = heartbeat.remove(conn)
        conn.commit()
        database = places.database(settings, pool_size_max=1)
        try:
            sweep(database, places.folders(settings), keep=0)
        finally:
            database.close()
    typer.echo("the heartbeat is removed" if removed else "the heartbeat was not installed")
