"""`radmeter models enable|activate|canary|shadow|threshold|rollback|history|remove`: what a tenant runs of a model."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from models.registry import Catalogue, find_models
from pipeline import deployments
from pipeline.database import Connection
from pipeline.deployments import DEFAULT, Threshold
from server.cli_admin import TenantOption, administration
from server.cli_models import commands
from server.errors import CommandFailed
from server.installation import FIRST_TENANT
from server.settings import load_settings

Name = Annotated[str, typer.Argument(help="a model")]
Version = Annotated[str, typer.Argument(help="one of its versions")]
NO_VERSION = "default"
_STOP = typer.Option("--stop", help="end it")


@contextmanager
def _books(tenant: str) -> Iterator[tuple[Connection, Catalogue]]:
    with administration(tenant) as conn:
        yield conn, find_models(load_settings().data_directory)


@commands.command("enable")
def enable(
    name: Name,
    version: Annotated[str | None, typer.Option(help="activate this version too")] = None,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Let a model read a tenant's studies from now on."""
    with _books(tenant) as (conn, catalogue):
        by = getpass.getuser()
        if version is not None:
            deployments.activate(conn, tenant, catalogue, name, version, by=by)
        deployments.set_enabled(conn, tenant, catalogue, name, True, by=by)
    typer.echo(f"{name}{f' {version}' if version else ''} reads the studies of {tenant}")


@commands.command("disable")
def disable(name: Name, tenant: TenantOption = FIRST_TENANT) -> None:
    """Stop a model from reading a tenant's studies."""
    with _books(tenant) as (conn, catalogue):
        deployments.set_enabled(conn, tenant, catalogue, name, False, by=getpass.getuser())
    typer.echo(f"{name} no longer reads the studies of {tenant}")


@commands.command("activate")
def activate(name: Name, version: Version, tenant: TenantOption = FIRST_TENANT) -> None:
    """Let a version read the studies in place of the one that does; `default` is the one of this software."""
    wanted = DEFAULT if version == NO_VERSION else version
    with _books(tenant) as (conn, catalogue):
        after = deployments.activate(conn, tenant, catalogue, name, wanted, by=getpass.getuser())
    typer.echo(f"{after.model} {version} is active for {tenant}")


@commands.command("canary")
def canary(
    name: Name,
    version: Annotated[str | None, typer.Argument(help="one of its versions")] = None,
    percent: Annotated[int, typer.Option(help="of the studies, 1 to 99; a stable choice by study")] = 5,
    stop: Annotated[bool, _STOP] = False,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Give a version a share of the studies, or end that."""
    with _books(tenant) as (conn, catalogue):
        wanted = _one_of(version, stop)
        after = deployments.set_canary(conn, tenant, catalogue, name, wanted, percent, by=getpass.getuser())
    told = f"gets {after.canary_percent} % of the studies" if after.canary else "has no canary"
    typer.echo(f"{after.model} {after.canary or ''} {told} of {tenant}".replace("  ", " "))


@commands.command("shadow")
def shadow(
    name: Name,
    version: Annotated[str | None, typer.Argument(help="one of its versions")] = None,
    stop: Annotated[bool, _STOP] = False,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Run a version beside the active one: kept, not delivered, not charged; or end that."""
    with _books(tenant) as (conn, catalogue):
        wanted = _one_of(version, stop)
        after = deployments.set_shadow(conn, tenant, catalogue, name, wanted, by=getpass.getuser())
    told = f"{after.shadow} runs in shadow" if after.shadow else "runs no version in shadow"
    typer.echo(f"{after.model} {told} for {tenant}")


@commands.command("threshold")
def threshold(
    name: Name,
    version: Version,
    value: Annotated[
        float | None, typer.Argument(help="operating threshold, 0 to 1; none shows what is set")
    ] = None,
    site: Annotated[str, typer.Option(help="of the peers at this site")] = "",
    peer: Annotated[str, typer.Option(help="AE title: of this peer")] = "",
    remove: Annotated[bool, typer.Option("--remove", help="back to the next wider one")] = False,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Set the operating threshold of a version for a peer, a site, or the whole tenant."""
    with _books(tenant) as (conn, catalogue):
        if value is not None or remove:
            wanted = Threshold(name, version, 0.0 if value is None else value, site, peer)
            deployments.set_threshold(conn, tenant, catalogue, wanted, remove=remove, by=getpass.getuser())
        table = Table("version", "site", "peer", "threshold")
        for one in deployments.list_thresholds(conn, tenant):
            if one.model == name:
                table.add_row(one.version, one.site, one.ae_title, f"{one.threshold:g}")
    Console().print(table, markup=False)


@commands.command("rollback")
def rollback(name: Name, tenant: TenantOption = FIRST_TENANT) -> None:
    """End the canary; where there is none, the version that was active before is active again."""
    with _books(tenant) as (conn, catalogue):
        before = deployments.get_deployment(conn, tenant, name)
        after = deployments.roll_back(conn, tenant, catalogue, name, by=getpass.getuser())
    ended = f"the canary {before.canary} has ended, " if before.canary else ""
    typer.echo(f"{ended}{after.model} {after.active or NO_VERSION} is active for {tenant}")


@commands.command("deployed")
def deployed(tenant: TenantOption = FIRST_TENANT) -> None:
    """What a tenant runs: the active version of each model, canaries, shadows."""
    table = Table("model", "enabled", "active", "canary", "shadow", "before")
    with _books(tenant) as (conn, catalogue):
        listed = conn.execute("SELECT models FROM tenant WHERE tenant = %s", (tenant,)).fetchone()
        decided = deployments.list_deployments(conn, tenant)
        for name in dict.fromkeys([*(one.name for one in catalogue.models), *decided]):
            one = decided.get(name, deployments.Deployment(name))
            table.add_row(
                name,
                "yes" if listed and name in listed["models"] else "",
                one.active or NO_VERSION,
                f"{one.canary} ({one.canary_percent} %)" if one.canary else "",
                one.shadow or "",
                (one.former[-1] or NO_VERSION) if one.former else "",
            )
    Console().print(table, markup=False)


@commands.command("history")
def history(name: Name, tenant: TenantOption = FIRST_TENANT) -> None:
    """What was changed about a model, by whom, newest first."""
    table = Table("at", "by", "change")
    with _books(tenant) as (conn, _):
        for row in deployments.history(conn, tenant, name):
            text = deployments.change_text(row["detail"])
            table.add_row(f"{row['at']:%Y-%m-%d %H:%M}", str(row["detail"].get("by", "")), text)
    Console().print(table, markup=False)


@commands.command("remove")
def remove(name: Name, version: Version) -> None:
    """Remove an installed version that no tenant and no unfinished study uses."""
    from models.errors import ModelInUse
    from pipeline.install_model import uninstall
    from pipeline.model_users import users_of

    with _books(FIRST_TENANT) as (conn, catalogue):
        users = users_of(conn, catalogue, name, version)
        if users:
            raise ModelInUse(f"{name} {version} is in use: {'; '.join(users)}")
        uninstall(load_settings().data_directory, name, version)
    typer.echo(f"removed {name} {version}")


def _one_of(version: str | None, stop: bool) -> str | None:
    if (version is None) != stop:
        raise CommandFailed("name a version, or give --stop")
    return version
