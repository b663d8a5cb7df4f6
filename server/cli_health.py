"""`radmeter models health|pause|resume`: how models do at their sites, and stopping them there."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline import health_store, model_pause
from pipeline.health_bounds import bounds_of, set_bound
from pipeline.health_figures import Health, Key, group_rows
from pipeline.health_rules import Bounds
from pipeline.health_view import NOTHING, figure_rows, share
from pipeline.queue import defer_step, deferring_app
from server.cli_admin import TenantOption, administration
from server.cli_models import commands
from server.errors import CommandFailed
from server.installation import FIRST_TENANT
from server.serve import with_database
from server.settings import load_settings

NameArgument = Annotated[str, typer.Argument(help="product code of the model")]
SiteOption = Annotated[str, typer.Option(help="site of the peers that send; empty = all of them")]


@commands.command("health")
def health(name: NameArgument, tenant: TenantOption = FIRST_TENANT) -> None:
    """Figures of each version at each site beside their reference, with alarms and pauses; see docs/monitoring.md."""
    now = datetime.now(UTC)
    with administration(tenant) as conn:
        keys = health_store.keys(conn, tenant, last=now.date(), product=name)
        if not keys:
            raise CommandFailed(
                f"nothing was counted of {name} in {health_store.SHOWN_DAYS} days; "
                "the counts follow the results within an hour"
            )
        tables = [_table(health_store.health_of(conn, tenant, key, last=now.date())) for key in keys]
        alarms = health_store.recent_alarms(conn, tenant, name)
        pauses = model_pause.list_pauses(conn, tenant, name)
    console = Console()
    for table in tables:
        console.print(table, markup=False)
    for one in alarms:
        if one["cleared_at"] is None:
            key = Key(name, one["model_version"], one["site"])
            typer.echo(f"ALARM {one['rule']} ({key}, since {one['raised_at']:%Y-%m-%d}): {one['sentence']}")
    for one in pauses:
        if one["resumed_at"] is None:
            where = one["site"] or "all sites"
            typer.echo(
                f"PAUSED at {where} by {one['paused_by']} since {one['paused_at']:%Y-%m-%d}: {one['reason']}"
            )


def _table(found: Health) -> Table:
    now, before = found.now, found.before
    reference = f"reference {before.first} to {before.last}" if before else "reference not full yet"
    table = Table("", f"{now.first} to {now.last}", reference, title=str(found.key), title_justify="left")
    for row in figure_rows(found):
        table.add_row(f"{row.name} {row.of}".strip(), row.now, row.before)
    for group in group_rows(now):
        positive = "too few to show" if group.positive is None else share(group.positive)
        accepted = NOTHING if group.concordance is None else share(group.concordance)
        table.add_row(f"{group.fact} {group.value}: with a finding", positive, "")
        table.add_row(f"{group.fact} {group.value}: accepted", accepted, "")
    return table


@commands.command("pause")
def pause(
    name: NameArgument,
    reason: Annotated[str, typer.Option(help="what is wrong; refused studies show it")],
    site: SiteOption = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Let a model read no further study of a site; they are refused with the reason, other models go on."""
    with administration(tenant) as conn:
        made = model_pause.pause(
            conn, tenant, name, site, reason=reason, by="command line", now=datetime.now(UTC)
        )
        if not made:
            raise CommandFailed(f"{name} is paused at {site or 'all sites'} already")
    typer.echo(f"{name} is paused at {site or 'all sites'}")


@commands.command("resume")
def resume(name: NameArgument, site: SiteOption = "", tenant: TenantOption = FIRST_TENANT) -> None:
    """Let a paused model go on; studies that were refused for the pause alone are analysed."""
    with with_database(load_settings()) as settings, administration(tenant) as conn:
        queue = deferring_app(settings.database_url)
        try:
            taken_up = model_pause.resume(
                conn, tenant, name, site, by="command line", now=datetime.now(UTC),
                defer_step=lambda conn, study: defer_step(queue, conn, study),
            )  # fmt: skip
        finally:
            queue.close()
    typer.echo(f"{name} goes on at {site or 'all sites'}; {taken_up} refused studies are analysed now")


@commands.command("bounds")
def bounds(
    name: Annotated[str, typer.Argument(help="the bound to change; none = list them")] = "",
    value: Annotated[float | None, typer.Option(help="its new value")] = None,
    default: Annotated[bool, typer.Option("--default", help="take the default again")] = False,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """What the rules of a tenant's models go by; docs/monitoring.md explains each."""
    with administration(tenant) as conn:
        if name:
            if (value is None) != default:
                raise CommandFailed("give either --value or --default")
            set_bound(conn, tenant, name, value, by="command line", now=datetime.now(UTC))
        own, usual = asdict(bounds_of(conn, tenant)), asdict(Bounds())
    for one, number in own.items():
        typer.echo(f"{one:24}{number:g}" + ("" if number == usual[one] else f"   (default {usual[one]:g})"))
