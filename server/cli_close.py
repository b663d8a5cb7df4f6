"""`radmeter close`: the checklist of a month of the books, who waived and who signed it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from billing.books import accounting, month_end
from billing.books.close_items import APPROVER
from billing.books.month_end import Checklist
from server import confirm
from server.cli_admin import TenantOption, administration
from server.cli_ledger import ByOption, MonthArgument
from server.installation import FIRST_TENANT

close_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"close": close_commands}


@close_commands.command("begin")
def begin(month: MonthArgument, by: ByOption, tenant: TenantOption = FIRST_TENANT) -> None:
    """Begin to close a month that is over."""
    with administration(tenant) as conn:
        period = accounting.month_named(conn, tenant, month)
        month_end.begin(conn, tenant, period, by=by, now=datetime.now(UTC))
        _print(month_end.checklist(conn, tenant, period))


@close_commands.command("show")
def show(month: MonthArgument, tenant: TenantOption = FIRST_TENANT) -> None:
    """The checklist as it stands now. Exit code 1 while something is open."""
    with administration(tenant) as conn:
        current = month_end.checklist(conn, tenant, accounting.month_named(conn, tenant, month))
    _print(current)
    if not current.is_clear:
        raise typer.Exit(1)


@close_commands.command("waive")
def waive(
    month: MonthArgument,
    item: Annotated[str, typer.Argument(help="name of the open item")],
    by: ByOption,
    reason: Annotated[str, typer.Option(help="why it is accepted as it stands")],
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Accept an open item as it stands; when its evidence changes, it is open again."""
    with administration(tenant) as conn:
        period = accounting.month_named(conn, tenant, month)
        found = {one.name: one for one in month_end.checklist(conn, tenant, period).items}.get(item)
        if found and found.may_waive == APPROVER:
            by = confirm.approver(conn, tenant, by).name
        else:
            by = confirm.preparer(conn, tenant, by)
        month_end.waive(conn, tenant, period, item, by=by, reason=reason, now=datetime.now(UTC))
        _print(month_end.checklist(conn, tenant, period))


@close_commands.command("sign")
def sign(month: MonthArgument, by: ByOption, tenant: TenantOption = FIRST_TENANT) -> None:
    """Sign the checklist as it stands; two people sign."""
    with administration(tenant) as conn:
        period = accounting.month_named(conn, tenant, month)
        signed_by = confirm.signer(conn, tenant, by)
        _print(month_end.sign(conn, tenant, period, by=signed_by, now=datetime.now(UTC)))


def _print(current: Checklist) -> None:
    table = Table("item", "what", "state", "evidence", "may be waived by", "waived")
    for item in current.items:
        waived = f"{item.waived_by}: {item.reason}" if item.waived_by else ""
        table.add_row(item.name, item.title, item.state, item.evidence, item.may_waive, waived)
    console = Console()
    console.print(
        f"{current.month.starts_on:%Y-%m}, {current.month.time_zone}: {current.state}", highlight=False
    )
    console.print(table)
    for one in current.sign_offs:
        console.print(
            f"signed by {one.signed_by}, {one.signed_at.isoformat(timespec='seconds')}", highlight=False
        )
