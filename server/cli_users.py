"""`radmeter user`: people who sign in to the portal."""

from __future__ import annotations

from typing import Annotated

import typer

from portal import auth, second_factor, users
from portal.context import Role
from server.cli_admin import TenantOption, administration, who
from server.errors import CommandFailed
from server.installation import FIRST_TENANT

user_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"user": user_commands}


@user_commands.command("add")
def add_user(
    name: str,
    role: Annotated[Role, typer.Option(help="what the person may see")],
    tenant: TenantOption = FIRST_TENANT,
    party: Annotated[str | None, typer.Option(help="id of the person's own party in the contracts")] = None,
) -> None:
    """Add a person who may sign in; asks for the first password, which the person changes at the first sign-in.

    A hospital's people see the statements of their --party, a vendor's people its payouts.
    """
    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    with administration(tenant) as conn:
        auth.create_user(conn, tenant, name, password, role, party, must_change=True, by=who())
    typer.echo(f"user {name} added")


@user_commands.command("password")
def change_password(name: str, tenant: TenantOption = FIRST_TENANT) -> None:
    """Set a new first password; asks for it. All of the person's sessions end."""
    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    with administration(tenant) as conn:
        if not auth.set_password(conn, tenant, name, password, must_change=True, by=who()):
            raise CommandFailed(f"no user {name}")
    typer.echo(f"password of {name} changed")


@user_commands.command("reset-second-factor")
def reset_second_factor(name: str, tenant: TenantOption = FIRST_TENANT) -> None:
    """Take away the second factor of a person who has lost it, recovery codes too."""
    with administration(tenant) as conn:
        if not second_factor.remove(conn, tenant, name, by=who()):
            raise CommandFailed(f"user {name} has no second factor")
    typer.echo(f"{name} signs in without a second factor until a new one is set up")


@user_commands.command("list")
def list_users(tenant: TenantOption = FIRST_TENANT) -> None:
    """Name, role and state of everybody."""
    with administration(tenant) as conn:
        for row in users.list_users(conn, tenant):
            marks = [
                word
                for word, holds in (
                    ("disabled", row["disabled_at"]),
                    ("second factor", row["has_second_factor"]),
                    ("OpenID Connect", row["by_openid"]),
                )
                if holds
            ]
            typer.echo("\t".join((row["name"], row["role"], ", ".join(marks))))


@user_commands.command("require-second-factor")
def require_second_factor(
    roles: Annotated[list[Role] | None, typer.Argument(help="none = nobody must")] = None,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Say which roles sign in with a second factor or not at all."""
    with administration(tenant) as conn:
        users.set_policy(conn, tenant, roles or [], by=who())
    typer.echo(f"a second factor is required of: {', '.join(role.value for role in roles or []) or 'nobody'}")
