"""`radmeter work`: worklists of other systems that we take work from (UPS-RS)."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from dicom_gateway.dicomweb_client import DicomWebServer
from dicom_gateway.query_errors import DicomWebURLInvalid
from pipeline import work_sources
from server import tables
from server.cli_admin import TenantOption, administration
from server.errors import CommandFailed
from server.installation import FIRST_TENANT

work_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"work": work_commands}


@work_commands.command("add")
def add(
    name: str,
    url: Annotated[str, typer.Argument(help="its DICOMweb root; /workitems is added")],
    peer: Annotated[str, typer.Option(help="AE title of the peer that its work counts for")],
    station: Annotated[str, typer.Option(help="code of the scheduled station that means us")] = "RADMETER",
    token_file: Annotated[
        str | None, typer.Option(help="file in the folder of secrets with its token")
    ] = None,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Take work from another worklist, or change how. It is looked at every ten seconds."""
    try:
        DicomWebServer(url)
    except DicomWebURLInvalid as error:
        raise CommandFailed(str(error)) from None
    with administration(tenant) as conn:
        problem = work_sources.save_source(
            conn, tenant, name, url=url, ae_title=peer, station_code=station, token_file=token_file
        )
    if problem:
        raise CommandFailed(problem)
    typer.echo(f"work is taken from {name}")


@work_commands.command("list")
def show(tenant: TenantOption = FIRST_TENANT) -> None:
    """Show from where work is taken, what is under way, and what went wrong at the last look."""
    table = Table("name", "worklist", "for", "station", "under way", "last look", "problem")
    with administration(tenant) as conn:
        for one in work_sources.every_source(conn, tenant):
            looked = f"{one['asked_at']:%Y-%m-%d %H:%M:%S}" if one["asked_at"] else "never"
            table.add_row(
                one["name"], one["url"], one["ae_title"], one["station_code"], str(one["under_way"]), looked,
                one["last_error"] or "",
            )  # fmt: skip
    tables.show(table, "Work is taken from nowhere: `radmeter work add` names a worklist.")


@work_commands.command("remove")
def remove(name: str, tenant: TenantOption = FIRST_TENANT) -> None:
    """Take no more work from there. What was claimed is done, and its worklist is not told any more."""
    with administration(tenant) as conn:
        if not work_sources.remove_source(conn, tenant, name):
            raise CommandFailed(f"no worklist {name}")
    typer.echo(f"no more work is taken from {name}")
