"""`radmeter backup` and `radmeter restore`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from rich.table import Column, Table

from pipeline import maintenance
from server.cli import explained_errors
from server.errors import BackupFailed
from server.installation import owner_connection
from server.serve import with_database
from server.settings import load_settings
from server.tables import show

backup_commands = typer.Typer(invoke_without_command=True)
GROUPS = {"backup": backup_commands}

ToOption = Annotated[Path | None, typer.Option(help="the folder of backups; RADMETER_BACKUP without it")]


@backup_commands.callback()
def backup(context: typer.Context, to: ToOption = None) -> None:
    """Take a backup now: the database, and every file that the backups do not have yet."""
    if context.invoked_subcommand is not None:
        return
    from server.backup.take import folder_of, take_backup

    with explained_errors():
        given = load_settings()
        folder = folder_of(given, to)
        with with_database(given) as settings, _noted(settings.database_url) as end:
            record = take_backup(settings, folder, lambda: datetime.now(UTC))
            end.is_well = not record.problems
    typer.echo(f"backup {record.name}: {record.objects} files, {record.copied_bytes >> 20} MiB of them new")
    if record.no_database_because:
        typer.echo(record.no_database_because)
    for problem in record.problems:
        typer.echo(problem, err=True)
    if record.problems:
        raise typer.Exit(1)


@dataclass
class _End:
    is_well: bool = False


@contextmanager
def _noted(database_url: str) -> Iterator[_End]:
    """Leave behind how it ended, for `radmeter_maintenance_*`; a database that is away has said more by itself."""
    end = _End()
    try:
        yield end
    finally:
        with suppress(psycopg.Error), owner_connection(database_url) as conn:
            maintenance.note(conn, "backup", is_well=end.is_well)


@backup_commands.command("list")
def list_backups(to: ToOption = None) -> None:
    """The backups that are whole, oldest first, and from when on each can be restored."""
    from server.backup.take import folder_of

    table = Table("backup", "finished", "restorable from", Column("files", justify="right"), "problems")
    with explained_errors():
        for one in folder_of(load_settings(), to).backups():
            since = f"{one.base_ended_at:%Y-%m-%d %H:%M:%S%z}" if one.base_ended_at else "objects only"
            finished = f"{one.finished_at:%Y-%m-%d %H:%M:%S%z}"
            table.add_row(one.name, finished, since, str(one.objects), str(len(one.problems)))
    show(table, "There is no whole backup yet: `radmeter backup` makes one.")


@backup_commands.command("verify")
def verify(
    name: Annotated[str, typer.Argument(help="of one backup; the newest without it")] = "",
    to: ToOption = None,
) -> None:
    """Read a backup again: every file as its manifest says, the WAL without a hole."""
    from server.backup.take import folder_of
    from server.backup.verify import find_problems

    with explained_errors():
        folder = folder_of(load_settings(), to)
        found = [one for one in folder.backups() if not name or one.name == name]
        if not found:
            raise BackupFailed(f"there is no backup {name}".rstrip())
        problems = find_problems(folder, found[-1])
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{found[-1].name} is whole: {found[-1].objects} files")


@backup_commands.command("prune")
def prune_backups(
    daily: Annotated[int, typer.Option(min=1, help="the last of so many days stay")] = 7,
    weekly: Annotated[int, typer.Option(min=0, help="and the last of so many weeks")] = 5,
    to: ToOption = None,
) -> None:
    """Remove backups that are no longer wanted, and what none of the others needs."""
    from server.backup.prune import prune
    from server.backup.take import folder_of

    with explained_errors():
        gone, files = prune(folder_of(load_settings(), to), daily=daily, weekly=weekly)
    typer.echo(f"removed: {', '.join(gone) or 'no backup'}, {files} files")


def restore(
    source: Annotated[
        Path | None, typer.Option("--from", help="the folder of backups; RADMETER_BACKUP without it")
    ] = None,
    to_time: Annotated[
        str,
        typer.Option(help="the instant, 2026-03-01T14:05:00+08:00; the last one that is there without it"),
    ] = "",
    backup_name: Annotated[str, typer.Option("--backup", help="from this backup")] = "",
    report: Annotated[
        Path | None, typer.Option(help="file for the report; in the data directory without it")
    ] = None,
    by: Annotated[str, typer.Option(help="who answers for the restore; is written under the report")] = "",
) -> None:
    """Restore into an empty data directory (RADMETER_DATA) and prove it. Exit code 1 unless it is proven."""
    from server.backup.restore_all import restore_all
    from server.backup.take import folder_of

    with explained_errors():
        settings = load_settings()
        proof = restore_all(
            settings,
            folder_of(settings, source),
            instant(to_time),
            backup_name,
            clock=lambda: datetime.now(UTC),
        )
        place = report or settings.data_directory / f"restore-{proof.at:%Y%m%dT%H%M%SZ}.md"
        proof.write(place, by)
    typer.echo(proof.text(by))
    typer.echo(f"written to {place}")
    if not proof.holds:
        raise typer.Exit(1)


def instant(text: str) -> datetime | None:
    """With its offset from UTC, or nothing. Raises `BackupFailed`."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BackupFailed(
            f"{text[:40]!r} is not an instant: write it like 2026-03-01T14:05:00+08:00"
        ) from None
    if at.tzinfo is None:
        raise BackupFailed(f"{text[:40]!r} does not say its zone: add the offset from UTC, +08:00 or Z")
    return at
