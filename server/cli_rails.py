"""`radmeter rails`: what was asked of the rails, and what became of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from billing import rails
from billing.rails import inbox, rail_address, rail_operation
from billing.rails.rail import Outcome, State
from billing.rails.rail_worker import begin_anew, take_to
from billing.rails.run import run_rails
from pipeline.database import Database
from server import confirm
from server.cli import explained_errors
from server.cli_admin import TenantOption, administration
from server.cli_ledger import ByOption
from server.errors import CommandFailed
from server.installation import FIRST_TENANT
from server.serve import with_database
from server.settings import load_settings
from server.tables import show

rails_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"rails": rails_commands}


@rails_commands.command("run")
def run() -> None:
    """Look into what the rails told, and take every operation that is due one step on, over all tenants.

    A running server does this each minute by itself.
    """
    with explained_errors(), with_database(load_settings()) as settings:
        database = Database(settings.database_url, pool_size_max=4)
        try:
            steps = run_rails(
                database.transaction, stripe_api_key=settings.stripe_api_key, clock=lambda: datetime.now(UTC)
            )
        finally:
            database.close()
    typer.echo(f"{steps} steps")


@rails_commands.command("status")
def status(
    every: Annotated[bool, typer.Option("--all", help="also what is settled")] = False,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Operations that are not settled, and how many of Stripe's messages wait."""
    table = Table("operation", "rail", "what", "of", "amount", "state", "tries", "since", "detail")
    with administration(tenant) as conn:
        for one in rail_operation.list_operations(conn, tenant, only_open=not every):
            amount = f"{one.amount} {one.amount.currency}"
            what = (str(one.operation_id), one.rail, str(one.kind), str(one.subject_id), amount)
            since = one.changed_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
            table.add_row(*what, str(one.state), str(one.attempts), since, one.detail)
    with administration(inbox.INBOX_TENANT, must_exist=False) as conn:
        counts = inbox.counts(conn)
    show(table, "Every operation is settled.")
    typer.echo("messages of Stripe: " + (", ".join(f"{n} {state}" for state, n in counts.items()) or "none"))


@rails_commands.command("retry")
def retry(operation_id: int, tenant: TenantOption = FIRST_TENANT) -> None:
    """Make an operation due now; one that failed begins anew, under a new key."""
    with administration(tenant) as conn:
        operation = begin_anew(conn, tenant, operation_id, now=datetime.now(UTC))
    typer.echo(f"operation {operation_id}: {operation.state}, due now")


@rails_commands.command("fail")
def fail(
    operation_id: int,
    by: ByOption,
    reason: Annotated[str, typer.Option(help="how you know that it did not and will not take effect")],
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Give up an operation, after you have made sure at the rail that it took no effect and cannot any more."""
    with administration(tenant) as conn:
        operation = rail_operation.find(conn, tenant, operation_id)
        if operation.state not in (State.INTENT, State.SENT, State.UNKNOWN):
            raise CommandFailed(f"operation {operation_id} is {operation.state}")
        outcome = Outcome(State.FAILED, operation.external_id, f"{by}: {reason}")
        if take_to(conn, operation, outcome, now=datetime.now(UTC)) is None:
            raise CommandFailed(f"operation {operation_id} was moved meanwhile: look again")
    typer.echo(f"operation {operation_id}: failed")


@rails_commands.command("collect")
def collect(
    statement_id: int,
    rail: Annotated[str, typer.Option(help="bank or stripe; the payer's own without it")] = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Ask for what is open of a statement by the rail of its payer."""
    with administration(tenant) as conn:
        operation_id = rails.request_collect(
            conn, tenant, statement_id, rail=rail or None, now=datetime.now(UTC)
        )
    typer.echo("nothing is open" if operation_id is None else f"operation {operation_id} waits for its rail")


@rails_commands.command("address")
def address(
    party: Annotated[str, typer.Argument(help="id of the party")],
    by: ByOption,
    direction: Annotated[str, typer.Option(help="in: how it pays; out: where it is paid")] = "out",
    rail: Annotated[str, typer.Option(help="bank or stripe")] = "bank",
    account: Annotated[str, typer.Option(help="account number or IBAN; cus_… or acct_… at Stripe")] = "",
    bank_code: Annotated[str, typer.Option(help="BIC or clearing number")] = "",
    holder: Annotated[str, typer.Option(help="in whose name the account is")] = "",
    email: Annotated[str, typer.Option(help="in, Stripe: where the invoice goes; charged without it")] = "",
    approved_by: Annotated[str, typer.Option(help="out: the second person, who agrees")] = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Say how a party pays, or where it is paid; the latest word holds, and none is lost."""
    with administration(tenant) as conn:
        kept = rail_address.RailAddress(party, direction, rail, account, bank_code, holder, email)
        agreed = None
        if direction == rail_address.OUT:
            by, agreed = confirm.preparer(conn, tenant, by), confirm.approver(conn, tenant, approved_by).name
        rail_address.keep(conn, tenant, kept, requested_by=by, approved_by=agreed, now=datetime.now(UTC))
    typer.echo(f"{party} {'pays' if direction == 'in' else 'is paid'} by {rail}")
