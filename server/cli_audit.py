"""`radmeter audit`: the trail of what concerns security, over all tenants."""

from __future__ import annotations

import itertools
import json
import sys
from datetime import UTC
from typing import Annotated, Literal

import typer

from pipeline import audit
from pipeline.audit_message import AuditSource, audit_message, studies_of
from pipeline.database import Connection
from server.cli_admin import administration
from server.installation import FIRST_TENANT

audit_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"audit": audit_commands}

Form = Literal["json", "dicom-xml"]


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
def export(
    form: Annotated[Form, typer.Option("--format", help="json, or messages of PS3.15 A.5")] = "json",
    with_patient_ids: Annotated[
        bool, typer.Option(help="dicom-xml: name patients by their Patient ID")
    ] = False,
) -> None:
    """Write every event on a line, oldest first: as JSON with the hashes that chain them, or as a DICOM audit message.

    In JSON the detail stays the text that was hashed.
    """
    with administration(FIRST_TENANT) as conn:
        if form == "dicom-xml":
            _write_messages(conn, with_patients=with_patient_ids)
            return
        for row in audit.every(conn):
            line = {
                **row,
                "at": row["at"].astimezone(UTC).isoformat(timespec="microseconds"),
                "previous_hash": bytes(row["previous_hash"]).hex(),
                "hash": bytes(row["hash"]).hex(),
            }
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")


def _write_messages(conn: Connection, *, with_patients: bool) -> None:
    rows = audit.every(conn)
    while batch := list(itertools.islice(rows, 1000)):
        studies = studies_of(conn, batch, with_patients=with_patients)
        for row in batch:
            message = audit_message(row, AuditSource(), studies).replace(b"\n", b" ")
            sys.stdout.write(message.decode() + "\n")
