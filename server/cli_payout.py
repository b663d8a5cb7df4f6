"""`radmeter payout|contribution`: what payees get, and the weights by which pools are divided."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from billing.books import accounting
from billing.contracts import store
from billing.period import Period
from billing.splits import contribution, payout, payout_paper, payout_statement
from billing.splits.payout_statement import Account
from billing.statements import document_json
from pipeline.database import Connection
from server import confirm, tables
from server.cli_admin import TenantOption, administration
from server.document_files import Format, FormatOption, OutOption, write_files
from server.errors import CommandFailed
from server.installation import FIRST_TENANT

payout_commands = typer.Typer(no_args_is_help=True)
contribution_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"payout": payout_commands, "contribution": contribution_commands}

PartyArgument = Annotated[str, typer.Argument(help="a payee's party id; all payees without it")]
MonthOption = Annotated[str, typer.Option(help="month of the books, YYYY-MM; the current one without it")]
ByOption = Annotated[str, typer.Option(help="who does this")]
LanguageOption = Annotated[str, typer.Option(help="en or zh")]


@payout_commands.command("draft")
def draft(
    party: PartyArgument = "",
    month: MonthOption = "",
    tenant: TenantOption = FIRST_TENANT,
    language: LanguageOption = "en",
) -> None:
    """What payout statements of a month would say now; nothing is stored."""
    with administration(tenant) as conn:
        period = _month(conn, tenant, month)
        for account in _accounts(conn, tenant, party):
            typer.echo(payout_paper.render_text(payout_statement.draft(conn, account, period), language))


@payout_commands.command("issue")
def issue(
    by: ByOption,
    party: PartyArgument = "",
    month: MonthOption = "",
    tenant: TenantOption = FIRST_TENANT,
    language: LanguageOption = "en",
) -> None:
    """Issue the payout statements of a month and ask for their payouts; somebody else approves each."""
    with administration(tenant) as conn:
        by = confirm.preparer(conn, tenant, by)
        period, now = _month(conn, tenant, month), datetime.now(UTC)
        for account in _accounts(conn, tenant, party):
            if party or payout_statement.has_something_to_state(conn, account, period):
                issued = payout_statement.issue(conn, account, period, by=by, now=now)
                typer.echo(payout_paper.render_text(issued, language))


@payout_commands.command("list")
def list_payouts(tenant: TenantOption = FIRST_TENANT) -> None:
    """Payouts and where they stand, the latest first."""
    whole = ("id", "amount", "state")  # a narrow terminal folds the others
    names = ("id", "payee", "amount", "state", "asked by", "approved by", "for")
    table = Table(*(Column(name, no_wrap=name in whole, overflow="fold") for name in names))
    with administration(tenant) as conn:
        for one in payout.list_payouts(conn, tenant):
            amount = f"{one.amount} {one.amount.currency}"
            people = (one.requested_by, one.approved_by or "")
            why = f"{one.reference}: {one.detail}" if one.detail else one.reference
            table.add_row(str(one.payout_id), one.party_id, amount, one.state, *people, why)
    tables.show(table, "There is no payout yet.")


@payout_commands.command("approve")
def approve(
    payout_id: int,
    by: ByOption,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Let a payout go: not on the word of who asked for it, nor of its payee."""
    with administration(tenant) as conn:
        agreed = confirm.approver(conn, tenant, by)
        now = datetime.now(UTC)
        done = payout.approve(conn, tenant, payout_id, by=agreed.name, of_party=agreed.party_id, now=now)
    typer.echo(f"payout {payout_id} to {done.party_id}: {done.amount} {done.amount.currency} approved")


@payout_commands.command("cancel")
def cancel(
    payout_id: int,
    by: ByOption,
    reason: Annotated[str, typer.Option(help="why it is given up")],
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Give up a payout that is not approved, or that its rail failed to pay; its amount is owed again."""
    with administration(tenant) as conn:
        payout.cancel(conn, tenant, payout_id, by=by, reason=reason, now=datetime.now(UTC))
    typer.echo(f"payout {payout_id} cancelled")


@payout_commands.command("take-back")
def take_back(payout_id: int, tenant: TenantOption = FIRST_TENANT) -> None:
    """Ask the rail to take a confirmed payout back, whole; once it has, the amount is owed again."""
    with administration(tenant) as conn:
        payout.ask_back(conn, tenant, payout_id, now=datetime.now(UTC))
    typer.echo(f"payout {payout_id}: its rail is asked to take it back")


@payout_commands.command("advance")
def advance(
    contract_id: int,
    split: str,
    party: Annotated[str, typer.Argument(help="the payee's party id")],
    by: ByOption,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Ask for the payout of an advance that a contract promises; somebody else approves it."""
    with administration(tenant) as conn:
        by = confirm.preparer(conn, tenant, by)
        asked = payout.request_advance(conn, tenant, contract_id, split, party, by=by, now=datetime.now(UTC))
    typer.echo(f"payout {asked.payout_id}: {asked.amount} {asked.amount.currency} asked for")


@payout_commands.command("show")
def show(
    payout_statement_id: int, tenant: TenantOption = FIRST_TENANT, language: LanguageOption = "en"
) -> None:
    """An issued payout statement."""
    with administration(tenant) as conn:
        issued = payout_statement.get(conn, tenant, payout_statement_id)
        typer.echo(payout_paper.render_text(issued, language))


@payout_commands.command("export")
def export(
    payout_statement_id: int,
    out: OutOption,
    what: FormatOption = None,
    tenant: TenantOption = FIRST_TENANT,
    language: LanguageOption = "en",
) -> None:
    """An issued payout statement as PDF, CSV, XLSX and JSON."""
    with administration(tenant) as conn:
        issued = payout_statement.get(conn, tenant, payout_statement_id)
    assert issued.number is not None
    makers: dict[Format, Callable[[], bytes]] = {
        Format.pdf: lambda: payout_paper.render_pdf(issued, language),
        Format.csv: lambda: payout_paper.render_csv(issued, language),
        Format.xlsx: lambda: payout_paper.render_xlsx(issued, language),
        Format.json: lambda: document_json.to_bytes(document_json.of_payout_statement(issued)),
    }
    write_files(out, issued.number, makers, what)


@contribution_commands.command("set")
def set_contributions(
    contract_id: int,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV: pool, day, party, weight, evidence")
    ],
    by: ByOption,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Set all the weights of each pool and period in a file; they are fixed once the period is issued."""
    with administration(tenant) as conn:
        text = file.read_text("utf-8")
        done = contribution.set_from_csv(conn, tenant, contract_id, text, by=by, now=datetime.now(UTC))
    for pool, day in done:
        typer.echo(f"pool {pool}, period of {day}: set")


@contribution_commands.command("show")
def show_contributions(
    contract_id: int,
    pool: str,
    day: Annotated[str, typer.Option(help="a day of the period, YYYY-MM-DD")],
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """The weights of a pool that stand for the period of a day, with their evidence."""
    try:
        noon = datetime.combine(date.fromisoformat(day), time(12), UTC)
    except ValueError:
        raise CommandFailed(f"{day!r} is not a day, YYYY-MM-DD") from None
    table = Table("party", Column("weight", justify="right"), "evidence")
    with administration(tenant) as conn:
        period = store.contract_at(conn, tenant, contract_id, noon).period_of(noon)
        if period is None:
            raise CommandFailed(f"contract {contract_id} had not begun on {day}")
        for one in contribution.weights(conn, tenant, contract_id, pool, period.starts_on):
            table.add_row(one.party_id, f"{one.weight:f}", one.evidence)
    tables.show(table, "Nothing is recorded for that period.")


def _month(conn: Connection, tenant: str, month: str) -> Period:
    if month:
        return accounting.month_named(conn, tenant, month)
    return accounting.month_of(conn, tenant, datetime.now(UTC))


def _accounts(conn: Connection, tenant: str, party: str) -> list[Account]:
    found = payout_statement.accounts(conn, tenant)
    if party and party not in {account.party_id for account in found}:
        raise CommandFailed(f"nothing was ever shared with {party!r}")
    return [account for account in found if party in ("", account.party_id)]
