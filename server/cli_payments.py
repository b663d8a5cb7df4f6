"""`radmeter payment|bank`: what came in, what it pays, and our bank's statements."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from billing.bank import order, settle, store
from billing.bank.line import BankLine, money_of
from billing.bank.read_camt import read_camt
from billing.bank.read_csv import CsvForm, read_csv
from billing.bank.read_mt940 import read_mt940
from billing.bank.settle import Matched
from billing.books import accounting
from billing.cash import give_back, payments
from billing.claims import disputes
from billing.money import Money
from billing.statements.statement_text import safe_cell
from server import confirm
from server.cli_admin import TenantOption, administration
from server.cli_ledger import ByOption, day_of
from server.errors import CommandFailed
from server.installation import FIRST_TENANT
from server.tables import show

payment_commands = typer.Typer(no_args_is_help=True)
bank_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"payment": payment_commands, "bank": bank_commands}

AmountOption = Annotated[str, typer.Option(help="major units, 212.00 say; as much as possible without it")]
ReasonOption = Annotated[str, typer.Option(help="why")]
ApprovedByOption = Annotated[str, typer.Option(help="the second person, who agrees")]
FileArgument = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]


@payment_commands.command("receive")
def receive(
    payer: Annotated[str, typer.Argument(help="id of the party that paid")],
    amount: Annotated[str, typer.Argument(help="what it gave, in major units")],
    by: ByOption,
    external_id: Annotated[
        str, typer.Option("--id", help="the rail's id of it: the same again changes nothing")
    ],
    currency: Annotated[str, typer.Option(help="ISO 4217")] = "CNY",
    source: Annotated[str, typer.Option(help="the rail it came by")] = "bank",
    day: Annotated[str, typer.Option(help="when, YYYY-MM-DD; today without it")] = "",
    fee: Annotated[str, typer.Option(help="what the rail kept of it")] = "0",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Record a payment that no bank file brought; it pays nothing until it is allocated."""
    with administration(tenant) as conn:
        now = datetime.now(UTC)
        zone = ZoneInfo(accounting.zone_of(conn, tenant))
        received = payments.receive(
            conn,
            tenant,
            payer_id=payer,
            amount=money_of(amount, currency),
            fee=money_of(fee, currency),
            source=source,
            external_id=external_id,
            received_at=datetime.combine(day_of(day), time(12), zone) if day else now,
            by=by,
            now=now,
        )
    typer.echo(f"payment {received.payment_id}: {received.amount} {currency}, {received.unapplied} unapplied")


@payment_commands.command("allocate")
def allocate(
    payment_id: int,
    statement_id: int,
    by: ByOption,
    amount: AmountOption = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Pay a statement from a payment."""
    with administration(tenant) as conn:
        minor = _minor(amount, payments.get_payment(conn, tenant, payment_id).amount)
        made = payments.allocate(conn, tenant, payment_id, statement_id, minor, by=by, now=datetime.now(UTC))
        account = payments.statement_account(conn, tenant, statement_id)
    typer.echo(f"allocation {made.allocation_id}: {made.amount}; {account.number} is {account.status}")


@payment_commands.command("unallocate")
def unallocate(
    allocation_id: int, by: ByOption, reason: ReasonOption, tenant: TenantOption = FIRST_TENANT
) -> None:
    """Take an allocation back; its money pays nothing again."""
    with administration(tenant) as conn:
        taken = payments.unallocate(conn, tenant, allocation_id, reason=reason, by=by, now=datetime.now(UTC))
    typer.echo(f"allocation {taken.allocation_id}: {taken.amount}")


@payment_commands.command("refund")
def refund(
    payment_id: int,
    by: ByOption,
    approved_by: ApprovedByOption,
    reason: ReasonOption,
    amount: AmountOption = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Send money of a payment that pays nothing back, by the rail it came by."""
    with administration(tenant) as conn:
        minor = _minor(amount, payments.get_payment(conn, tenant, payment_id).amount)
        asked_by, agreed = confirm.preparer(conn, tenant, by), confirm.approver(conn, tenant, approved_by)
        refund_id = give_back.refund(
            conn,
            tenant,
            payment_id,
            minor,
            reason=reason,
            requested_by=asked_by,
            approved_by=agreed.name,
            now=datetime.now(UTC),
        )
    typer.echo(f"refund {refund_id} waits for its rail")


@payment_commands.command("write-off")
def write_off(
    statement_id: int,
    by: ByOption,
    approved_by: ApprovedByOption,
    reason: ReasonOption,
    amount: AmountOption = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Give up what a statement still asks, or a part of it."""
    with administration(tenant) as conn:
        account = payments.statement_account(conn, tenant, statement_id)
        asked_by, agreed = confirm.preparer(conn, tenant, by), confirm.approver(conn, tenant, approved_by)
        give_back.write_off(
            conn,
            tenant,
            statement_id,
            _minor(amount, account.total),
            reason=reason,
            requested_by=asked_by,
            approved_by=agreed.name,
            now=datetime.now(UTC),
        )
        account = payments.statement_account(conn, tenant, statement_id)
    typer.echo(f"{account.number}: {account.written_off} written off, {account.still_open} open")


@payment_commands.command("list")
def list_payments(
    unapplied: Annotated[bool, typer.Option(help="only those with money that pays nothing")] = False,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Payments, latest first, and the statements that are open."""
    table = Table("payment", "received", "payer", "amount", "unapplied", "source")
    owed = Table("statement", "number", "payer", "open", "in dispute")
    with administration(tenant) as conn:
        for one in payments.list_payments(conn, tenant, only_unapplied=unapplied):
            amount = f"{one.amount} {one.amount.currency}"
            when = one.received_at.date().isoformat()
            table.add_row(str(one.payment_id), when, one.payer_id, amount, str(one.unapplied), one.source)
        for asked in payments.open_statements(conn, tenant):
            left = f"{asked.still_open} {asked.still_open.currency}"
            disputed = disputes.disputed_amount(conn, tenant, asked.statement_id)
            in_dispute = f"{disputed} {disputed.currency}" if disputed.amount_minor else ""
            owed.add_row(str(asked.statement_id), asked.number, asked.payer_id, left, in_dispute)
    show(table, "There is no unapplied payment." if unapplied else "There is no payment yet.")
    show(owed, "No statement is open.")


@bank_commands.command("import")
def import_file(
    file: FileArgument,
    by: ByOption,
    form: Annotated[str, typer.Option("--format", help="csv, camt.053 or mt940")],
    account: Annotated[str, typer.Option(help="csv: our account")] = "",
    currency: Annotated[str, typer.Option(help="csv: the currency, where no column has it")] = "",
    column: Annotated[list[str] | None, typer.Option(help="csv: field=heading, may be given again")] = None,
    decimal_mark: Annotated[str, typer.Option(help="csv: . or ,")] = ".",
    encoding: Annotated[str, typer.Option(help="csv: utf-8, gb18030, …")] = "utf-8",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Store the lines of a bank's file, once, and match them. Exit code 0 also where lines wait for a person."""
    with administration(tenant) as conn:
        data = file.read_bytes()
        if form == "csv":
            pairs = dict(_pair(one) for one in column or ())
            lines = read_csv(data, CsvForm(account, currency, pairs, decimal_mark, encoding))
        else:
            lines = _reader(form)(data)
        now = datetime.now(UTC)
        new = store.add(conn, tenant, lines, data=data, by=by, now=now)
        matched = settle.match_all(conn, tenant, by=by, now=now)
    typer.echo(f"{len(lines)} lines, {len(new)} of them new")
    _show(matched)


@bank_commands.command("match")
def match(
    by: ByOption,
    line: Annotated[int, typer.Option(help="one line, settled by hand")] = 0,
    payer: Annotated[str, typer.Option(help="with --line: whose payment it is")] = "",
    statement: Annotated[
        list[str] | None, typer.Option(help="with --line: id, or id=amount; may be given again")
    ] = None,
    fee: Annotated[str, typer.Option(help="with --line: what the bank kept before the money arrived")] = "0",
    dismiss: Annotated[str, typer.Option(help="with --line: why it is none of billing's")] = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Match what waits, and say why the rest needs a person; or settle one line by hand."""
    with administration(tenant) as conn:
        now = datetime.now(UTC)
        if not line:
            _show(settle.match_all(conn, tenant, by=by, now=now))
        elif dismiss:
            settle.dismiss(conn, tenant, line, reason=dismiss, by=by, now=now)
        elif payer:
            amount = store.get(conn, tenant, line).line.amount
            pays = [_pays(one, amount) for one in statement or ()]
            fee_minor = money_of(fee, amount.currency).amount_minor
            settle.receive_by_hand(
                conn, tenant, line, payer_id=payer, pays=pays, fee_minor=fee_minor, by=by, now=now
            )
        else:
            raise CommandFailed("with --line say --payer and --statement, or --dismiss and why")
    if line:
        typer.echo(f"line {line} is settled")


@bank_commands.command("order")
def write_order(
    out: Annotated[Path, typer.Option(help="file to write, for upload at the bank")],
    by: ByOption,
    holder: Annotated[str, typer.Option(help="our name, as the bank has it")],
    account: Annotated[str, typer.Option(help="our account")],
    bank_code: Annotated[str, typer.Option(help="BIC or clearing number of our bank")] = "",
    currency: Annotated[str, typer.Option(help="orders in this currency")] = "CNY",
    form: Annotated[str, typer.Option("--format", help="csv or pain.001")] = "csv",
    again: Annotated[int, typer.Option(help="the id of an order that was written before")] = 0,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Write the refunds and payouts that wait into a file of orders; each is in one file only."""
    with administration(tenant) as conn:
        ours = order.OurAccount(holder, account, bank_code)
        made = (
            order.find_order(conn, tenant, again)
            if again
            else order.write_order(
                conn, tenant, ours, currency=currency, format=form, by=by, now=datetime.now(UTC)
            )
        )
    # After the commit: what is in the file is known to be in it.
    out.write_text(made.document, encoding="utf-8")
    typer.echo(f"order {made.order_id} in {out}")


def _show(matched: list[Matched]) -> None:
    table = Table("line", "booked", "amount", "from or to", "what")
    for one in matched:
        line = one.stored.line
        mark = "settled: " if one.is_settled else "to decide: "
        amount = f"{line.amount} {line.amount.currency}"
        who = safe_cell(line.counterparty_name or line.counterparty_account)
        table.add_row(str(one.stored.bank_line_id), str(line.booked_on), amount, who, mark + one.sentence)
    show(table, "There are no lines.")


def _reader(form: str) -> Callable[[bytes], list[BankLine]]:
    try:
        return {"camt.053": read_camt, "mt940": read_mt940}[form]
    except KeyError:
        raise CommandFailed(f"no format {form!r}; there are csv, camt.053 and mt940") from None


def _pair(text: str) -> tuple[str, str]:
    field, mark, heading = text.partition("=")
    if not mark:
        raise CommandFailed(f"--column {text!r}: write field=heading, for example amount=Betrag")
    return field, heading


def _pays(text: str, amount: Money) -> tuple[int, int | None]:
    statement_id, _, part = text.partition("=")
    if not statement_id.isdecimal():
        raise CommandFailed(f"--statement {text!r}: write the statement's id, or id=amount")
    return int(statement_id), _minor(part, amount)


def _minor(text: str, like: Money) -> int | None:
    return money_of(text, like.currency).amount_minor if text else None
