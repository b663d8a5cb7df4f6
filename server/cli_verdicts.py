"""`radmeter verdicts`: what readers said of results, as feedback for training."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline import audit
from pipeline.audit import AuditEvent
from pipeline.export_verdicts import export_verdicts
from server.cli_admin import TenantOption, administration
from server.installation import FIRST_TENANT

verdict_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"verdicts": verdict_commands}


@verdict_commands.command("export")
def export(
    model: Annotated[str, typer.Option(help="product code of the model")],
    since: Annotated[datetime, typer.Option(help="results of which something was said since, UTC")],
    out: Annotated[Path | None, typer.Option(help="file for the lines; standard output without it")] = None,
    with_notes: Annotated[
        bool, typer.Option("--with-notes", help="what readers typed too; it can name a patient")
    ] = False,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="reviews too that nobody has finished")
    ] = False,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Write each verdict as a line of JSON with the UIDs of its images; see docs/verdicts.md."""
    count = 0
    with (
        administration(tenant) as conn,
        out.open("w", encoding="utf-8") if out is not None else nullcontext(sys.stdout) as file,
    ):
        for record in export_verdicts(
            conn,
            tenant,
            product=model,
            since=since.replace(tzinfo=UTC),
            with_notes=with_notes,
            is_finished_only=not unfinished,
        ):
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
        detail = {"user": "command line", "product": model, "lines": count}
        audit.record(conn, tenant, AuditEvent.VERDICTS_EXPORTED, detail)
    typer.echo(f"{count} line(s) of {model}", err=True)
