"""`radmeter study`: decide about a study that waits."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Column, Table

from dicom_gateway.arrival_evidence import Order
from pipeline.cancel_study import cancel_study
from pipeline.completion_text import sentence
from pipeline.order_study import order_study, waiting_studies
from pipeline.queue import deferring_app
from server.cli import explained_errors
from server.cli_admin import TenantOption, administration
from server.installation import FIRST_TENANT, owner_connection
from server.serve import with_database
from server.settings import load_settings
from server.tables import show

study_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"study": study_commands}

StudyId = Annotated[
    str, typer.Argument(help="our id of the study: radmeter study waiting, or the end of its page")
]


@study_commands.command("waiting")
def waiting(tenant: TenantOption = FIRST_TENANT) -> None:
    """Show the studies that are still arriving and what each waits for; those that ask a person come first."""
    table = Table(Column("study", no_wrap=True), "from", "images", "last image", "why")
    with administration(tenant) as conn:
        for one in waiting_studies(conn, tenant):
            table.add_row(
                str(one["study_id"]), one["ae_title"], str(one["images"]), f"{one['last_at']:%Y-%m-%d %H:%M}",
                sentence(one["decision"]) or "not looked at yet",
            )  # fmt: skip
    show(table, "No study is arriving.")


@study_commands.command("process")
def process(study_id: StudyId, tenant: TenantOption = FIRST_TENANT) -> None:
    """Take what is here as complete, whatever is still waited for."""
    _order(study_id, tenant, Order.PROCESS)
    typer.echo(f"study {study_id} is processed with what is here")


@study_commands.command("discard")
def discard(study_id: StudyId, tenant: TenantOption = FIRST_TENANT) -> None:
    """Do not analyse what is here; the study is rejected and says so."""
    _order(study_id, tenant, Order.DISCARD)
    typer.echo(f"study {study_id} is discarded")


@study_commands.command("cancel")
def cancel(study_id: StudyId, tenant: TenantOption = FIRST_TENANT) -> None:
    """Take a study off its path before its models have answered; it is rejected and says so."""
    with (
        explained_errors(),
        with_database(load_settings()) as settings,
        owner_connection(settings.database_url, tenant) as conn,
    ):
        cancel_study(conn, tenant, study_id, by="command line")
    typer.echo(f"study {study_id} is cancelled")


def _order(study_id: str, tenant: str, order: Order) -> None:
    with (
        explained_errors(),
        with_database(load_settings()) as settings,
        owner_connection(settings.database_url, tenant) as conn,
    ):
        queue = deferring_app(settings.database_url)
        try:
            order_study(queue, conn, tenant, study_id, order, by="command line")
        finally:
            queue.close()
