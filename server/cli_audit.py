"""`radmeter audit`: the trail of what concerns security, over all tenants."""

from __future__ import annotations

import json
import sys
from datetime import UTC
from typing import Annotated

import typer

from pipeline import audit
from server.cli_admin import administration
from server.installation import FIRST_TENANT

audit_commands = typer.Typer(help="The audit trail, over all tenants.", no_args_is_help=True)
GROUPS = {"audit": audit_commands}


@audit_commands.command("verify")
def verify(
    known_head: Annotated[
        list[str] | None, typer.Option(help="what an earlier verify printed; may be given several times")
    ] = None,
) -> None:
    """Check that no event was changed, removed or cut off; print the end of the chain, to be kept elsewhere."""
    with administration(FIRST_TENANT) as conn:
        problems = audit.find_problems(conn, tuple(known_head or ()))
        head = audit.head(conn)
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)
    typer.echo(head)


@audit_commands.command("export")
def export() -> None:
    """Write every event as a line of JSON, oldest first, with the hashes that chain them.

    The detail stays the text that was hashed.
    """
    with administration(FIRST_TENANT) as conn:
        for row in audit.every(conn):
            line = {
                **row,
                "at": row["at"].astimezone(UTC).isoformat(timespec="microseconds"),
                "previous_hash": bytes(row["previous_hash"]).hex(),
                "hash": bytes(row["hash"]).hex(),
            }
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
