"""`radmeter tenant|key`: administration."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import typer

from pipeline.database import Connection
from pipeline.peers import get_peer
from pipeline.store import get_tenant
from server.cli import explained_errors
from server.errors import CommandFailed
from server.installation import FIRST_TENANT, create_tenant, owner_connection
from server.serve import with_database
from server.settings import load_settings
from study.identifiers import AETitle

tenant_commands = typer.Typer(no_args_is_help=True)
key_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"tenant": tenant_commands, "key": key_commands}

LatePolicy = Literal["run", "ask", "ignore"]
GuidelineName = Literal["lung_rads_2022", "c_lung_rads_2024", "fleischner_2017", "bts_2015", "none"]
GuidelineSetting = Literal["screening", "incidental", "mixed"]
TenantOption = Annotated[str, typer.Option(help="the tenant it belongs to")]


def who() -> str:
    """Whom the audit trail names for a command."""
    return f"{getpass.getuser()} on the command line"


@contextmanager
def administration(tenant: str, *, must_exist: bool = True) -> Iterator[Connection]:
    """A connection as the schema's owner, in one transaction, errors explained."""
    with (
        explained_errors(),
        with_database(load_settings()) as settings,
        owner_connection(settings.database_url, tenant) as conn,
    ):
        known = conn.execute("SELECT 1 FROM tenant WHERE tenant = %s", (tenant,)).fetchone()
        if must_exist and known is None:
            raise CommandFailed(f"no tenant {tenant}")
        yield conn


@tenant_commands.command("add")
def add_tenant(
    tenant: Annotated[str, typer.Argument(help="short name, lower case")],
    ae_title: Annotated[str, typer.Option(help="AE title that its PACS calls us by")],
    name: Annotated[str, typer.Option(help="full name")] = "",
    language: Annotated[str, typer.Option(help="en or zh")] = "en",
) -> None:
    """Make a tenant with its own called AE title."""
    with administration(tenant, must_exist=False) as conn:
        create_tenant(conn, tenant, name or tenant, AETitle(ae_title), language)
    typer.echo(f"tenant {tenant} answers as {ae_title}")


@tenant_commands.command("set")
def set_tenant(
    tenant: Annotated[str, typer.Argument(help="short name")],
    late_policy: Annotated[
        LatePolicy | None, typer.Option(help="what images do that come after the end of their study")
    ] = None,
    guideline: Annotated[
        GuidelineName | None, typer.Option(help="what its reports apply to nodules; none = nothing")
    ] = None,
    setting: Annotated[
        GuidelineSetting | None,
        typer.Option(help="why its chest examinations are made; mixed = the guideline asks and abstains"),
    ] = None,
    refusal_object: Annotated[
        bool | None,
        typer.Option(help="a study that is not analysed leaves a small report in the PACS that says so"),
    ] = None,
    reviews_verify: Annotated[
        bool | None, typer.Option(help="a finished review is the site's verification of its SR")
    ] = None,
) -> None:
    """Change what holds for a whole tenant."""
    if all(one is None for one in (late_policy, guideline, setting, refusal_object, reviews_verify)):
        raise typer.BadParameter(
            "say what to change: --late-policy, --guideline, --setting, --refusal-object, --reviews-verify"
        )
    with administration(tenant) as conn:
        conn.execute(
            """UPDATE tenant SET late_policy = coalesce(%s, late_policy),
                      guideline = CASE WHEN %s::text IS NULL THEN guideline ELSE nullif(%s, 'none') END,
                      guideline_setting =
                          CASE WHEN %s::text IS NULL THEN guideline_setting ELSE nullif(%s, 'mixed') END,
                      refusal_object = coalesce(%s, refusal_object),
                      review_verifies = coalesce(%s, review_verifies)
               WHERE tenant = %s""",
            (late_policy, guideline, guideline, setting, setting, refusal_object, reviews_verify, tenant),
        )
        row = get_tenant(conn, tenant)
    typer.echo(f"tenant {tenant}: late images: {row['late_policy']}")
    if row["refusal_object"]:
        typer.echo("a study that is not analysed leaves a report in the PACS that says so")
    if row["review_verifies"]:
        typer.echo("a finished review verifies its SR")
    if row["guideline"]:
        typer.echo(f"reports apply {row['guideline']}, setting: {row['guideline_setting'] or 'mixed'}")


@key_commands.command("add")
def add_key(
    label: Annotated[str, typer.Argument(help="what the key is for")],
    tenant: TenantOption = FIRST_TENANT,
    days: Annotated[int, typer.Option(help="days until it expires")] = 365,
    peer: Annotated[
        str | None, typer.Option(help="AE title of the peer as which it stores by STOW-RS")
    ] = None,
    usage_source: Annotated[
        str | None, typer.Option(help="scope usage:write: name under which it records usage events")
    ] = None,
    requests_per_minute: Annotated[int, typer.Option(min=1, max=1_000_000)] = 600,
    concurrent_max: Annotated[int, typer.Option(help="requests at once", min=1, max=1000)] = 8,
) -> None:
    """Make an API key; it is shown once.

    With --peer it stores as that peer, and reads nothing; with --usage-source it records usage, and reads nothing else.
    """
    from portal import auth

    if peer is not None and usage_source is not None:
        raise CommandFailed("a key has one purpose: --peer or --usage-source")
    with administration(tenant) as conn:
        if peer is not None and get_peer(conn, tenant, peer) is None:
            raise CommandFailed(f"no peer {peer}")
        key = auth.create_api_key(
            conn,
            tenant,
            label,
            datetime.now(UTC) + timedelta(days=days),
            peer,
            usage_source=usage_source,
            requests_per_minute=requests_per_minute,
            concurrent_max=concurrent_max,
        )
    typer.echo(key)


@key_commands.command("revoke")
def revoke_key(prefix: str, tenant: TenantOption = FIRST_TENANT) -> None:
    """End an API key at once."""
    from portal import auth

    with administration(tenant) as conn:
        if not auth.revoke_api_key(conn, tenant, prefix):
            raise CommandFailed(f"no key {prefix}")
    typer.echo(f"key {prefix} revoked")
