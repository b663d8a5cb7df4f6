"""`radmeter openid`: sign-in by a hospital's own OpenID Connect provider."""

from __future__ import annotations

from typing import Annotated

import typer

from portal.errors import PageNotFound
from portal.openid import OpenIdClient
from portal.openid_store import ProviderSettings, find_provider, save_provider, switch_provider_off
from server.cli_admin import TenantOption, administration, who
from server.errors import CommandFailed
from server.installation import FIRST_TENANT
from server.settings import load_settings

openid_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"openid": openid_commands}


@openid_commands.command("set")
def set_provider(
    issuer: Annotated[str, typer.Argument(help="as the provider calls itself, https://…")],
    client_id: Annotated[str, typer.Option(help="as the provider knows this server")],
    role: Annotated[
        list[str], typer.Option(help="GROUP=ROLE, several times; the first that a person has counts")
    ],
    public_url: Annotated[
        str, typer.Option(help="where browsers reach the portal; empty = RADMETER_PORTAL_URL")
    ] = "",
    label: Annotated[str, typer.Option(help="words of the button on the sign-in page")] = "OpenID Connect",
    secret_file: Annotated[str | None, typer.Option(help="file in secrets: the client's secret")] = None,
    scopes: Annotated[str, typer.Option(help="asked for")] = "openid profile email",
    name_claim: Annotated[str, typer.Option(help="claim that names a new person")] = "preferred_username",
    groups_claim: Annotated[
        str, typer.Option(help="claim of the groups; dots lead into it, as realm_access.roles")
    ] = "groups",
    algorithm: Annotated[list[str] | None, typer.Option(help="allowed signatures; several times")] = None,
    clock_skew_s: Annotated[int, typer.Option(help="seconds that clocks may be apart")] = 60,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Say which provider vouches for a tenant's people, and which of its groups have which role here."""
    mapped = tuple((group, name) for group, _, name in (one.rpartition("=") for one in role))
    with administration(tenant) as conn:
        settings = ProviderSettings(
            issuer=issuer,
            client_id=client_id,
            public_url=public_url or load_settings().portal_url,
            label=label,
            secret_file=secret_file,
            roles=mapped,
            scopes=scopes,
            name_claim=name_claim,
            groups_claim=groups_claim,
            algorithms=tuple(algorithm or ProviderSettings.algorithms),
            clock_skew_s=clock_skew_s,
        )
        save_provider(conn, tenant, settings, by=who())
    typer.echo(f"people of {tenant} may sign in by {issuer}; register there: {public_url_of(settings)}")


def public_url_of(settings: ProviderSettings) -> str:
    """The address that the provider must know."""
    return f"{settings.public_url.rstrip('/')}/sign-in/openid/back"


@openid_commands.command("test")
def ask_provider(tenant: TenantOption = FIRST_TENANT) -> None:
    """Ask the provider what it says of itself, and look for the secret."""
    with administration(tenant) as conn:
        try:
            provider = find_provider(conn, load_settings().secrets_directory, tenant)
            metadata = OpenIdClient().metadata(provider)
        except PageNotFound:
            raise CommandFailed(f"tenant {tenant} has no provider") from None
    typer.echo(f"{provider.issuer} answers; people go to {metadata.authorization_endpoint}")


@openid_commands.command("off")
def switch_off(tenant: TenantOption = FIRST_TENANT) -> None:
    """Nobody signs in by it any more; who did is signed out."""
    with administration(tenant) as conn:
        if not switch_provider_off(conn, tenant, by=who()):
            raise CommandFailed(f"tenant {tenant} has no provider")
    typer.echo("sign-in by the provider is off")
