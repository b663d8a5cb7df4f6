"""`radmeter reconcile`: what a hospital counted itself, against what was billed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from billing.books import hospital_count, reconcile
from server.cli_admin import TenantOption, administration
from server.cli_ledger import ByOption, day_of
from server.errors import CommandFailed
from server.installation import FIRST_TENANT
from server.tables import show

reconcile_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"reconcile": reconcile_commands}

FileArgument = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="the hospital's list")]


@reconcile_commands.command("run")
def run_reconciliation(
    file: FileArgument,
    style: Annotated[
        Literal["csv", "hl7", "fhir"], typer.Option("--format", help="hl7: DFT^P03; fhir: ChargeItems")
    ],
    since: Annotated[str, typer.Option(help="first day, YYYY-MM-DD, in the books' zone")],
    until: Annotated[str, typer.Option(help="last day, YYYY-MM-DD")],
    by: ByOption,
    key_file: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="hash the accession numbers of the list with this key"
        ),
    ] = None,
    matched_by: Annotated[
        Literal["request", "case"],
        typer.Option(help="request: HMAC of the accession number; case: our case key"),
    ] = "request",
    code: Annotated[
        list[str] | None, typer.Option(help="HOSPITAL-CODE=product; may be given several times")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="token=their-name, also code, day, quantity; for CSV")
    ] = None,
    encoding: Annotated[str, typer.Option(help="utf-8-sig, gb18030, …; for CSV and HL7")] = "utf-8-sig",
    identifier_system: Annotated[
        str, typer.Option(help="which identifier of a ChargeItem is the token")
    ] = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Compare a list with the bill and store the differences. Exit code 0 also where there are some."""
    with administration(tenant) as conn:
        if file.stat().st_size > hospital_count.FILE_BYTES_MAX:
            raise CommandFailed(f"{file} is longer than {hospital_count.FILE_BYTES_MAX} bytes")
        one = reconcile.reconcile(
            conn,
            tenant,
            file.read_bytes(),
            style=style,
            since=day_of(since),
            until=day_of(until),
            by=by,
            now=datetime.now(UTC),
            key=key_file.read_bytes().strip() if key_file else None,
            matched_by=matched_by,
            codes=_pairs(code),
            columns=_pairs(column),
            encoding=encoding,
            identifier_system=identifier_system,
        )
        typer.echo(reconcile.text(one), nl=False)


@reconcile_commands.command("show")
def show_reconciliation(reconciliation_id: int, tenant: TenantOption = FIRST_TENANT) -> None:
    """A stored reconciliation, as it was made."""
    with administration(tenant) as conn:
        typer.echo(reconcile.text(reconcile.get(conn, tenant, reconciliation_id)), nl=False)


@reconcile_commands.command("list")
def list_reconciliations(tenant: TenantOption = FIRST_TENANT) -> None:
    """Every reconciliation, newest first."""
    table = Table("id", "from", "to", "list", "matched", "differences", "made", "by")
    with administration(tenant) as conn:
        for one in reconcile.latest(conn, tenant):
            numbers = (str(one.matched_count), str(one.difference_count))
            days = (str(one.since), str(one.until))
            when = one.made_at.isoformat(timespec="seconds")
            table.add_row(str(one.reconciliation_id), *days, one.style, *numbers, when, one.made_by)
    show(table, "Nothing was reconciled yet.")


def _pairs(texts: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise CommandFailed(f"{text[:40]!r} is not NAME=VALUE")
        pairs[name] = value
    return pairs
