"""`radmeter study`: decide about a study that waits."""

from __future__ import annotations

from typing import Annotated

import typer

from dicom_gateway.arrival_evidence import Order
from pipeline.cancel_study import cancel_study
from pipeline.order_study import order_study
from pipeline.queue import deferring_app
from server.cli import explained_errors
from server.cli_admin import TenantOption
from server.installation import FIRST_TENANT, owner_connection
from server.serve import with_database
from server.settings import load_settings

study_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"study": study_commands}

StudyId = Annotated[str, typer.Argument(help="our study id, as the work list shows it")]


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
