"""`radmeter ledger`: the books, their reports and their months."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import typer
from rich.table import Column, Table

from billing.books import accounting, deferred, ledger, ledger_export, month_end, outstanding, reports
from billing.books import ageing as receivables
from billing.period import local_midnight
from pipeline import maintenance
from pipeline.database import Connection
from server import confirm
from server.cli import explained_errors
from server.cli_admin import TenantOption, administration
from server.errors import CommandFailed
from server.installation import FIRST_TENANT
from server.tables import show

ledger_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"ledger": ledger_commands}

AtOption = Annotated[
    str, typer.Option(help="last day that counts, YYYY-MM-DD, in the books' zone; today without it")
]
SinceOption = Annotated[str, typer.Option(help="first day that counts, YYYY-MM-DD, in the books' zone")]
MonthArgument = Annotated[str, typer.Argument(help="month of the books, YYYY-MM")]
ByOption = Annotated[str, typer.Option(help="who does this")]


@ledger_commands.command("check")
def check_ledger(
    tenant: TenantOption = FIRST_TENANT,
    every_tenant: Annotated[bool, typer.Option("--every-tenant", help="the books of all of them")] = False,
) -> None:
    """Verify every invariant of the books; names the row that breaks one."""
    problems: dict[str, list[str]] = {}
    with administration(tenant, must_exist=not every_tenant) as conn:
        rows = conn.execute("SELECT tenant FROM every_tenant() ORDER BY 1").fetchall() if every_tenant else []
        for one in [row["tenant"] for row in rows] or [tenant]:
            conn.execute("SELECT set_config('radmeter.tenant', %s, true)", (one,))
            problems[one] = ledger.check(conn, one)
            maintenance.note(conn, "ledger_check", is_well=not problems[one], subject=one)
    found = [f"{one}: {text}" if every_tenant else text for one, texts in problems.items() for text in texts]
    if found:
        with explained_errors():
            raise CommandFailed("\n".join(found))
    typer.echo("the books are sound" + (f": {', '.join(problems)}" if every_tenant else ""))


@ledger_commands.command("trial-balance")
def trial_balance(at: AtOption = "", tenant: TenantOption = FIRST_TENANT) -> None:
    """Debits, credits and balance of every account at the end of a day."""
    table = Table("account", "currency", *(_right(name) for name in ("debit", "credit", "balance")))
    with administration(tenant) as conn:
        for total in reports.trial_balance(conn, tenant, end_of_day(conn, tenant, at)):
            amounts = (str(total.debit), str(total.credit), str(total.balance))
            table.add_row(total.account, total.debit.currency, *amounts)
    show(table, "Nothing is booked up to that day.")


@ledger_commands.command("account")
def account_statement(
    account: Annotated[str, typer.Argument(help="receivable:city-hospital, or receivable for all payers")],
    since: SinceOption,
    at: AtOption = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """What moved an account: each posting with its entry, from one day to another."""
    table = Table(
        "when", "entry", "template", "reference", "account", "", _right("amount"), _right("balance")
    )
    with administration(tenant) as conn:
        zone = accounting.zone_of(conn, tenant)
        first = local_midnight(day_of(since), zone)
        found = reports.account_statement(conn, tenant, account, first, end_of_day(conn, tenant, at))
        for currency, opening in found.opening.items():
            table.add_row("", "", "", "opening", account, currency, "", str(opening))
        for one in found.movements:
            what = (str(one.entry_sequence), one.template, one.reference, one.account, one.amount.currency)
            table.add_row(one.effective_at.isoformat(), *what, str(one.amount), str(one.balance))
        for currency, closing in found.closing.items():
            table.add_row("", "", "", "closing", account, currency, "", str(closing))
    show(table, "Nothing moved this account in that time.")


@ledger_commands.command("roll-forward")
def roll_forward(
    account: Annotated[Literal["deferred_revenue", "prepaid", "tax_payable"], typer.Argument()],
    since: SinceOption,
    at: AtOption = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """From opening to closing balance by what moved it; a credit balance is negative."""
    table = Table("account", "currency", "what", _right("amount"))
    with administration(tenant) as conn:
        first = local_midnight(day_of(since), accounting.zone_of(conn, tenant))
        for one in reports.roll_forward(conn, tenant, account, first, end_of_day(conn, tenant, at)):
            steps = {"opening": one.opening, **one.by_template, "closing": one.closing}
            for what, amount in steps.items():
                table.add_row(one.account, amount.currency, what, str(amount))
    show(table, "Nothing was booked in that time.")


@ledger_commands.command("recognise")
def recognise(
    until: Annotated[
        str, typer.Option(help="days before this one are earned, YYYY-MM-DD, in the books' zone")
    ],
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Turn what past days have earned of fees billed ahead into revenue; again books nothing more."""
    with administration(tenant) as conn:
        booked = deferred.recognise(conn, tenant, day_of(until), now=datetime.now(UTC))
    for amount in booked:
        typer.echo(f"recognised {amount} {amount.currency}")
    if not booked:
        typer.echo("nothing more was earned")


@ledger_commands.command("ageing")
def ageing(at: AtOption = "", tenant: TenantOption = FIRST_TENANT) -> None:
    """What payers still owe at the end of a day, by the days since it was due."""
    table = Table("payer", "currency", *(_right(name) for name in (*receivables.BUCKETS, "total")))
    with administration(tenant) as conn:
        zone = accounting.zone_of(conn, tenant)
        day = end_of_day(conn, tenant, at).astimezone(ZoneInfo(zone)).date() - timedelta(days=1)
        for line in receivables.age(receivables.open_statements(conn, tenant, day, zone)):
            amounts = (*line.amounts, line.total)
            table.add_row(line.account, line.total.currency, *(str(amount) for amount in amounts))
    show(table, "No payer owes anything.")


@ledger_commands.command("outstanding")
def show_outstanding(tenant: TenantOption = FIRST_TENANT) -> None:
    """What no statement has billed yet, before tax, and what customers dispute, with tax."""
    table = Table("what", "of", "payer", "period", "currency", _right("amount"))
    with administration(tenant) as conn:
        for one in outstanding.accrued_unbilled(conn, tenant, datetime.now(UTC)):
            what = "unbilled" if one.is_over else "running"
            days = f"{one.period.starts_on} to {one.period.ends_on}"
            table.add_row(what, one.contract_name, one.payer_id, days, one.amount.currency, str(one.amount))
        for line in outstanding.disputed(conn, tenant):
            table.add_row("disputed", line.number, "", "", line.amount.currency, str(line.amount))
    show(table, "Nothing is waiting to be billed, and nothing is in dispute.")


@ledger_commands.command("export")
def export_ledger(
    out: Annotated[Path, typer.Option(help="file to write; - for standard output")],
    style: Annotated[
        Literal["csv", "beancount", "trial-balance"], typer.Option("--format", help="what to write")
    ] = "csv",
    at: AtOption = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """The journal as CSV or as beancount text, or the trial balance as CSV."""
    with administration(tenant) as conn:
        until = end_of_day(conn, tenant, at)
        if style == "beancount":
            lines = ledger_export.beancount(
                reports.journal(conn, tenant, until), accounting.zone_of(conn, tenant)
            )
        elif style == "csv":
            lines = ledger_export.journal_csv(reports.journal(conn, tenant, until))
        else:
            lines = ledger_export.trial_balance_csv(reports.trial_balance(conn, tenant, until))
        _write(out, lines)


@ledger_commands.command("zone")
def set_zone(
    time_zone: Annotated[str, typer.Argument(help="IANA name like Asia/Shanghai")],
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Set the zone in which the months of the books begin; once, before the first closing."""
    with administration(tenant) as conn:
        accounting.set_zone(conn, tenant, time_zone)
    typer.echo(f"the months of {tenant}'s books begin at midnight in {time_zone}")


@ledger_commands.command("close")
def close(month: MonthArgument, tenant: TenantOption = FIRST_TENANT) -> None:
    """Close a month whose checklist two people have signed; see `radmeter close`."""
    with administration(tenant) as conn:
        month_end.close(conn, tenant, accounting.month_named(conn, tenant, month), now=datetime.now(UTC))
    typer.echo(f"{month} is closed")


@ledger_commands.command("reopen")
def reopen(
    month: MonthArgument,
    by: ByOption,
    reason: Annotated[str, typer.Option(help="why: asks for it")] = "",
    approve: Annotated[
        bool, typer.Option("--approve", help="agree to what another person asked for")
    ] = False,
    refuse: Annotated[bool, typer.Option("--refuse", help="leave the month closed")] = False,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Reopen the last closed month: one person asks with a reason, another approves."""
    now = datetime.now(UTC)
    with administration(tenant) as conn:
        if [bool(reason), approve, refuse].count(True) != 1:
            raise CommandFailed("say one of --reason, --approve and --refuse")
        period = accounting.month_named(conn, tenant, month)
        by = confirm.preparer(conn, tenant, by) if reason else confirm.approver(conn, tenant, by).name
        if reason:
            accounting.request_reopening(conn, tenant, period, by=by, reason=reason, now=now)
        elif approve:
            accounting.approve_reopening(conn, tenant, period, by=by, now=now)
        else:
            accounting.refuse_reopening(conn, tenant, period, by=by, now=now)
        state = accounting.state_of(conn, tenant, period)
    typer.echo(f"{month}: {state}")


def end_of_day(conn: Connection, tenant: str, day: str) -> datetime:
    """The instant at which the day ends in the zone of the books; today's without one."""
    zone = accounting.zone_of(conn, tenant)
    last = day_of(day) if day else datetime.now(UTC).astimezone(ZoneInfo(zone)).date()
    return local_midnight(last + timedelta(days=1), zone)


def day_of(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandFailed(f"{text[:20]!r} is not a day, YYYY-MM-DD") from None


def _right(name: str) -> Column:
    return Column(name, justify="right")


def _write(out: Path, lines: Iterable[str]) -> None:
    if str(out) == "-":
        sys.stdout.writelines(lines)
        return
    with out.open("w", encoding="utf-8", newline="") as file:
        file.writelines(lines)
    typer.echo(f"written to {out}")
