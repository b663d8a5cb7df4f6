"""`radmeter contract|statement`: contracts and statements."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from billing.contracts import continuity, contract_diff, simulate, store
from billing.contracts import contract as contracts
from billing.errors import AccountParked
from billing.guarding import safety
from billing.statements import statement
from billing.statements import statement_document as document
from billing.statements.statement_context import context_of
from server.cli import explained_errors
from server.cli_admin import TenantOption, administration
from server.errors import CommandFailed
from server.installation import FIRST_TENANT
from server.tables import show

contract_commands = typer.Typer(no_args_is_help=True)
statement_commands = typer.Typer(no_args_is_help=True)
GROUPS = {
    "contract": contract_commands,
    "statement": statement_commands,
}

FileArgument = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]
FilesArgument = Annotated[list[Path], typer.Argument(exists=True, dir_okay=False)]
DayOption = Annotated[str, typer.Option(help="a day of the period, YYYY-MM-DD; today without it")]
LanguageOption = Annotated[str, typer.Option(help="en or zh")]


@contract_commands.command("check")
def check_contract(files: FilesArgument) -> None:
    """Check contract files; each problem with its line. Of several, also whether they go together.

    Files with one contract name are its versions, oldest first.
    """
    read: list[contracts.Contract] = []
    with explained_errors():
        for file in files:
            contract = contracts.load(file.read_text("utf-8"))
            for other in read:
                if other.name != contract.name:
                    problems = [one] if (one := continuity.overlap(other, contract)) else []
                elif other is [same for same in read if same.name == contract.name][-1]:
                    problems = list(continuity.problems(other, contract))
                else:
                    problems = []
                if problems:
                    raise CommandFailed(f"{file}: {'; '.join(problems)}")
            read.append(contract)
    for contract in read:
        sides = f"{contract.seller.name} to {contract.buyer.name}, {contract.currency}"
        typer.echo(f"{contract.name}: {sides}: well formed")


@contract_commands.command("simulate")
def simulate_contract(
    file: FileArgument,
    usage_csv: FileArgument,
    until: Annotated[str, typer.Option(help="also issue what ends by this day, YYYY-MM-DD")] = "",
    contributions: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="CSV of the weights of its pools")
    ] = None,
    language: LanguageOption = "en",
) -> None:
    """The statements that a contract makes of a usage file, as issuing prints them; nothing is stored."""
    from server.throwaway_database import throwaway_connection

    with explained_errors():
        text, received = file.read_text("utf-8"), simulate.read_usage(usage_csv.read_text("utf-8"))
        contracts.load(text)  # a mistake is told before a database starts
        end = _instant(until) if until else None
        weights = contributions.read_text("utf-8") if contributions else ""
        with (
            throwaway_connection() as conn,
            simulate.simulated(conn, [text], received, end, weights) as simulation,
        ):
            for issued in simulation.statements:
                typer.echo(document.render_text(issued, language, context_of(conn, issued)))


@contract_commands.command("diff")
def diff_contracts(
    old: FileArgument,
    new: FileArgument,
    usage_csv: Annotated[Path | None, typer.Argument(exists=True, dir_okay=False)] = None,
    day: DayOption = "",
    tenant: TenantOption = FIRST_TENANT,
    language: LanguageOption = "en",
) -> None:
    """Which lines change from OLD to NEW and by how much: on a usage file, else on a period's recorded usage."""
    from server.throwaway_database import throwaway_connection

    with explained_errors():
        texts = old.read_text("utf-8"), new.read_text("utf-8")
        terms = contracts.load(texts[0])
        if usage_csv is not None:
            received = simulate.read_usage(usage_csv.read_text("utf-8"))
        else:
            period = terms.period_of(_instant(day), date.min)
            assert period is not None, "every instant lies in a period of the grid"
            with administration(tenant) as conn:
                received = contract_diff.stored_usage(conn, tenant, period)
        with throwaway_connection() as conn:
            typer.echo(
                contract_diff.render_text(contract_diff.compare(conn, *texts, received), language), nl=False
            )


@contract_commands.command("add")
def add_contract(file: FileArgument, tenant: TenantOption = FIRST_TENANT) -> None:
    """Store a contract, or the next version of the one with its name."""
    with administration(tenant) as conn:
        contract_id = store.add_contract(conn, tenant, file.read_text("utf-8"))
    typer.echo(f"contract {contract_id}")


@contract_commands.command("list")
def list_contracts(tenant: TenantOption = FIRST_TENANT) -> None:
    """The contracts of a tenant."""
    table = Table("id", "name", "version", "buyer", "currency", "since")
    with administration(tenant) as conn:
        for one in store.list_contracts(conn, tenant):
            what = one.contract
            table.add_row(
                str(one.contract_id),
                what.name,
                str(one.version),
                what.buyer.name,
                what.currency,
                str(one.first_day),
            )
    show(table, "There is no contract yet: `radmeter contract add FILE` takes one.")


@statement_commands.command("draft")
def draft_statement(
    contract_id: int,
    day: DayOption = "",
    tenant: TenantOption = FIRST_TENANT,
    language: LanguageOption = "en",
) -> None:
    """Each payer's statement as it would be issued now; nothing is stored."""
    with administration(tenant) as conn:
        for draft in statement.drafts(conn, tenant, contract_id, _instant(day)):
            typer.echo(document.render_text(draft, language, context_of(conn, draft)))


@statement_commands.command("issue")
def issue_statement(
    contract_id: int,
    day: DayOption = "",
    tenant: TenantOption = FIRST_TENANT,
    close_early: Annotated[bool, typer.Option(help="bill a period that has not ended")] = False,
    nil: Annotated[bool, typer.Option("--nil", help="state zero where nothing is charged")] = False,
) -> None:
    """Issue each payer's statement of a period: number, lines and journal entry, once and for all."""
    with explained_errors():
        with administration(tenant) as conn:
            now, at = datetime.now(UTC), _instant(day)
            made = statement.issue_or_park(
                conn, tenant, contract_id, at, now=now, close_early=close_early, nil=nil
            )
            issued = () if isinstance(made, AccountParked) else made
            texts = [document.render_text(one, context=context_of(conn, one)) for one in issued]
        if isinstance(made, AccountParked):  # raised once the parking is committed
            raise made
        for text in texts:
            typer.echo(text)


@statement_commands.command("parked")
def list_parked(tenant: TenantOption = FIRST_TENANT) -> None:
    """Accounts whose figures broke a bound: nothing is issued until a person has looked."""
    with administration(tenant) as conn:
        for row in safety.parked(conn, tenant):
            typer.echo(
                f"contract {row['contract_id']} ({row['name']}), {row['period_start']}: {row['explanation']}"
            )


@statement_commands.command("release")
def release_account(
    contract_id: int,
    by: Annotated[str, typer.Option(help="your name, kept with the release")],
    reason: Annotated[str, typer.Option(help="why the figures are right")],
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Let a parked account go on; the period may then break the bound it was parked for."""
    with administration(tenant) as conn:
        safety.release(conn, tenant, contract_id, by=by, reason=reason, now=datetime.now(UTC))
    typer.echo(f"contract {contract_id} goes on")


@statement_commands.command("show")
def show_statement(
    statement_id: int, tenant: TenantOption = FIRST_TENANT, language: LanguageOption = "en"
) -> None:
    """An issued statement."""
    with administration(tenant) as conn:
        issued = store.get_statement(conn, tenant, statement_id)
        typer.echo(document.render_text(issued, language, context_of(conn, issued)))


def _instant(day: str) -> datetime:
    """Noon UTC of the day, which lies in the same period in any zone unless the period turns that very day."""
    if not day:
        return datetime.now(UTC)
    try:
        return datetime.combine(date.fromisoformat(day), time(12), ZoneInfo("UTC"))
    except ValueError:
        raise CommandFailed(f"{day!r} is not a day, YYYY-MM-DD") from None
