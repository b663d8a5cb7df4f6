"""Commands in this process, as typed."""

from __future__ import annotations

from pathlib import Path

import psycopg
from click.testing import Result
from typer.testing import CliRunner

from portal import passwords
from server.cli import app

PASSWORD = "three green lamps"
ENTERED = f"{PASSWORD}\n" * 2
"""What is typed where a command asks its people, the second after the first."""


def add_people(database_url: str, **roles: str) -> None:
    """Users of the first tenant with `PASSWORD`, each by its role, or `role:party`."""
    password_hash = passwords.hash_password(PASSWORD)
    with psycopg.connect(database_url) as conn:
        for name, role in roles.items():
            conn.execute(
                "INSERT INTO portal_user (tenant, name, password_hash, role, party_id)"
                " VALUES ('default', %s, %s, %s, %s)",
                (name, password_hash, role.partition(":")[0], role.partition(":")[2] or None),
            )


def run(*arguments: str | Path, entered: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=entered)


def done(*arguments: str | Path, entered: str | None = None) -> str:
    """What it says where it ends well."""
    result = run(*arguments, entered=entered)
    assert result.exit_code == 0, result.output
    return said_by(result)


def said_by(result: Result) -> str:
    """What it wrote, without the echo that the runner leaves of hidden questions, which a terminal does not show."""
    told = result.stdout
    while told.startswith(" \n"):
        told = told.removeprefix(" \n")
    return told


def failed(*arguments: str | Path, entered: str | None = None) -> str:
    """What it says where it does nothing."""
    result = run(*arguments, entered=entered)
    assert result.exit_code == 1
    assert said_by(result) == ""
    assert "Traceback" not in result.stderr
    return result.stderr
