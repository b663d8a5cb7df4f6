"""`radmeter fiscal|dunning`: the register of tax documents, and reminders of what is overdue."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from billing.claims import dunning, fiscal, fiscal_csv
from billing.claims.credit_note_paper import reminder_paper
from billing.contracts import store
from billing.statements import document_json
from server.cli_admin import TenantOption, administration
from server.cli_billing import LanguageOption
from server.cli_documents import ByOption, ReasonOption
from server.document_files import FormatOption, OutOption, makers_of, write_files
from server.document_options import parse_day, parse_money
from server.installation import FIRST_TENANT

fiscal_commands = typer.Typer(no_args_is_help=True)
dunning_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"fiscal": fiscal_commands, "dunning": dunning_commands}


@fiscal_commands.command("request")
def request_fiscal(
    statement_ids: list[int],
    by: ByOption,
    total: Annotated[str, typer.Option(help="only this much of one statement, tax included")] = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Ask for a tax document over statements, less their credit notes."""
    with administration(tenant) as conn:
        money = None
        if total:
            money = parse_money(total, store.get_statement(conn, tenant, statement_ids[0]).currency)
        asked = fiscal.request(conn, tenant, statement_ids, by=by, now=datetime.now(UTC), total=money)
    typer.echo(
        f"request {asked.fiscal_id}: {asked.total} {asked.total.currency} over {', '.join(asked.numbers)}"
    )


@fiscal_commands.command("cancel")
def cancel_fiscal(
    fiscal_id: int, reason: ReasonOption, by: ByOption, tenant: TenantOption = FIRST_TENANT
) -> None:
    """Ask for the red document that cancels a cleared one."""
    with administration(tenant) as conn:
        fiscal.request_red(conn, tenant, fiscal_id, reason=reason, by=by, now=datetime.now(UTC))
    typer.echo(f"request {fiscal_id} waits for its red document")


@fiscal_commands.command("list")
def list_fiscal(tenant: TenantOption = FIRST_TENANT) -> None:
    """Tax documents and how they stand."""
    with administration(tenant) as conn:
        for one in fiscal.list_fiscal(conn, tenant):
            numbers = " ".join(filter(None, (one.number, one.red_number)))
            typer.echo(
                f"{one.fiscal_id} {one.state} {one.total} over {', '.join(one.numbers)} {numbers}".rstrip()
            )


@fiscal_commands.command("export")
def export_fiscal(
    out: Annotated[Path, typer.Option(help="CSV file to write")], tenant: TenantOption = FIRST_TENANT
) -> None:
    """Everything that waits for the tax system, as CSV."""
    with administration(tenant) as conn:
        out.write_bytes(fiscal_csv.export(conn, tenant))
    typer.echo(f"written to {out}")


@fiscal_commands.command("import")
def import_fiscal(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    by: ByOption,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Take over the numbers that the tax system gave, the whole file or nothing."""
    with administration(tenant) as conn, file.open("rb") as source:
        data = source.read(fiscal_csv.FILE_LENGTH_MAX + 1)
        count = fiscal_csv.take_in(conn, tenant, data, by=by, now=datetime.now(UTC))
    typer.echo(f"{count} document(s) moved")


@dunning_commands.command("run")
def run_dunning(
    as_of: Annotated[str, typer.Option(help="YYYY-MM-DD; today without it")] = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Write the reminders that are due; the same day again writes nothing more."""
    now = datetime.now(UTC)
    with administration(tenant) as conn:
        written = dunning.run(conn, tenant, parse_day(as_of) if as_of else now.date(), now=now)
    for one in written:
        typer.echo(f"{one.number}: {one.payable} {one.currency} is {one.days_overdue} days overdue")
    typer.echo(f"{len(written)} reminder(s) written")


@dunning_commands.command("export")
def export_reminder(
    statement_id: int,
    level: int,
    out: OutOption,
    what: FormatOption = None,
    tenant: TenantOption = FIRST_TENANT,
    language: LanguageOption = "en",
) -> None:
    """A reminder as PDF, CSV, XLSX and JSON."""
    with administration(tenant) as conn:
        found = dunning.get_reminder(conn, tenant, statement_id, level)
    makers = makers_of(reminder_paper(found, language), document_json.of_reminder(found), found.written_at)
    write_files(out, found.number, makers, what)
