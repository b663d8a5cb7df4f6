"""`radmeter retention`: how long images and results stay, legal holds, and what goes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from pipeline import retention
from server.cli import explained_errors
from server.cli_admin import TenantOption, administration
from server.errors import CommandFailed
from server.installation import FIRST_TENANT
from server.serve import with_database
from server.settings import load_settings
from server.tables import show

retention_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"retention": retention_commands}

DaysOption = Annotated[str, typer.Option(help="days after delivery; ever = for ever")]
ReasonOption = Annotated[str, typer.Option(help="why; is kept")]
ByOption = Annotated[str, typer.Option(help="who does this")]


@retention_commands.command("policy")
def policy(
    images_days: DaysOption = "",
    results_days: DaysOption = "",
    quarantine_days: Annotated[str, typer.Option(help="days after reception; ever = for ever")] = "",
    by: ByOption = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Show the policy, or change what is named. Without one everything stays for ever."""
    given = {"images_days": images_days, "results_days": results_days, "quarantine_days": quarantine_days}
    with administration(tenant) as conn:
        present = retention.policy_of(conn, tenant)
        if any(given.values()):
            if not by:
                raise CommandFailed("say who changes it: --by")
            changed = vars(present) | {name: days_of(text) for name, text in given.items() if text}
            present = retention.RetentionPolicy(**changed)
            retention.set_policy(conn, tenant, present, by=by, now=datetime.now(UTC))
    for name, days in vars(present).items():
        typer.echo(f"{name.removesuffix('_days')}: {'for ever' if days is None else f'{days} days'}")


@retention_commands.command("hold")
def hold(
    reason: ReasonOption = "",
    by: ByOption = "",
    study: Annotated[str, typer.Option(help="id of one study")] = "",
    patient_id: Annotated[str, typer.Option(help="Patient ID")] = "",
    everything: Annotated[bool, typer.Option("--all", help="everything that the tenant has")] = False,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Keep a study, a patient's studies or everything until it is released; without options list the holds."""
    with administration(tenant) as conn:
        if not (study or patient_id or everything or reason):
            _print_holds(retention.holds(conn, tenant))
            return
        if [bool(study), bool(patient_id), everything].count(True) != 1 or not by:
            raise CommandFailed(
                "say one of --study, --patient-id and --all, a --reason, and who does it: --by"
            )
        number = retention.place_hold(
            conn, tenant, study_id=study or None, patient_id=patient_id, reason=reason, by=by, now=datetime.now(UTC)
        )  # fmt: skip
    typer.echo(f"hold {number} is in force")


@retention_commands.command("release")
def release(
    hold_id: Annotated[int, typer.Argument(help="number of the hold")],
    reason: ReasonOption,
    by: ByOption,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """End a hold."""
    with administration(tenant) as conn:
        retention.release_hold(conn, tenant, hold_id, reason=reason, by=by, now=datetime.now(UTC))
    typer.echo(f"hold {hold_id} is released")


@retention_commands.command("run")
def run(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would go, and remove nothing")] = False,
    minutes: Annotated[int, typer.Option(min=1, max=1440, help="stop after so long")] = 60,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Remove now what is due; the workers do the same by themselves."""
    now = datetime.now(UTC)
    if dry_run:
        with administration(tenant) as conn:
            found = retention.due(conn, tenant, now=now, limit=100_000)
        for one in found[:1000]:
            typer.echo(f"{one.study_id} {one.what}")
        typer.echo(f"{len(found)} would go; nothing was removed")
        return
    from pipeline.retention_run import run_retention
    from server import places

    with explained_errors(), with_database(load_settings()) as settings:
        pool = places.database(settings, pool_size_max=3)
        try:
            removed = run_retention(pool, places.folders(settings), tenant, now=now, time_s=60.0 * minutes)
        finally:
            pool.close()
    typer.echo(f"{removed.studies} removals, {removed.files} files, {removed.bytes >> 20} MiB")


def days_of(text: str) -> int | None:
    """Raises `CommandFailed`."""
    if text == "ever":
        return None
    try:
        return int(text)
    except ValueError:
        raise CommandFailed(f"{text[:20]!r} is no number of days; for ever is “ever”") from None


def _print_holds(rows: list[dict[str, object]]) -> None:
    table = Table("hold", "of", "since", "by", "reason", "released")
    for row in rows:
        what = row["study_id"] or ("a patient" if row["patient_id"] else "everything")
        released = "in force"
        if row["released_at"]:
            released = f"{row['released_at']:%Y-%m-%d} {row['released_by']}: {row['released_reason']}"
        values = (
            row["hold_id"],
            what,
            f"{row['placed_at']:%Y-%m-%d}",
            row["placed_by"],
            row["reason"],
            released,
        )
        table.add_row(*map(str, values))
    show(table, "There is no legal hold.")
