"""`radmeter wallet|budget`: prepaid packages, and budgets and quotas of contracts."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from billing.contracts import store
from billing.guarding import call_guard, forecast, guard, limits, wallet, wallet_books, wallet_sale
from billing.metering import usage_days
from billing.metering.usage import plain
from billing.money import Money
from billing.queries import Row
from pipeline.database import Connection
from server.cli_admin import TenantOption, administration
from server.errors import CommandFailed
from server.installation import FIRST_TENANT
from server.tables import show

wallet_commands = typer.Typer(no_args_is_help=True)
budget_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"wallet": wallet_commands, "budget": budget_commands}


@wallet_commands.command("list")
def list_wallets(contract_id: int | None = None, tenant: TenantOption = FIRST_TENANT) -> None:
    """Every balance: what was bought, what is left, what can be used today."""
    now = datetime.now(UTC)
    table = Table("contract", "package", "owner", *_numbers("bought", "left", "usable"), "next expiry")
    with administration(tenant) as conn:
        currencies = _currencies(conn, tenant)
        for row in wallet.list_wallets(conn, tenant, at=now, contract_id=contract_id):
            amounts = [_amount(row[name], row, currencies) for name in ("bought", "remaining", "usable")]
            expiry = f"{row['next_expiry']:%Y-%m-%d %H:%M} UTC" if row["next_expiry"] else ""
            table.add_row(str(row["contract_id"]), row["package"], row["owner"], *amounts, expiry)
    show(table, "There is no prepaid balance: no contract sells packages, or none was bought.")


@wallet_commands.command("show")
def show_wallet(
    contract_id: int, package: str, owner: str = wallet.CONTRACT_OWNER, tenant: TenantOption = FIRST_TENANT
) -> None:
    """The lots of a balance, and what moved it, latest first."""
    with administration(tenant) as conn:
        currencies = _currencies(conn, tenant)
        lots, entries = wallet.show(conn, tenant, contract_id, package, owner)
        if not lots and not entries:
            raise CommandFailed(f"contract {contract_id} has no balance of {package!r} for {owner!r}")
    in_money = bool(lots and lots[0]["in_money"])
    bought = Table("lot", *_numbers("bought", "left", "paid", "revenue so far"), "from", "until")
    for lot in lots:
        paid = [
            str(Money(lot[name], currencies[contract_id])) for name in ("value_minor", "recognised_minor")
        ]
        amounts = [_amount(lot[name], lot, currencies) for name in ("quantity", "remaining")]
        times = (f"{lot[name]:%Y-%m-%d %H:%M} UTC" for name in ("effective_at", "expires_at"))
        bought.add_row(str(lot["lot_id"]), *amounts, *paid, *times)
    moved = Table("at", "what", "lot", *_numbers("amount"))
    for entry in entries:
        amount = _amount(entry["quantity"], {**entry, "in_money": in_money}, currencies)
        at = f"{entry['occurred_at']:%Y-%m-%d %H:%M} UTC"
        moved.add_row(at, entry["kind"], str(entry["lot_id"] or ""), amount)
    show(bought, "Nothing was bought.")
    show(moved, "Nothing has moved.")


@wallet_commands.command("sell")
def sell_package(
    contract_id: int,
    package: str,
    reference: Annotated[str, typer.Argument(help="names the purchase; the same again buys nothing more")],
    quantity: Annotated[str, typer.Option(help="how many packages")] = "1",
    member: Annotated[str, typer.Option(help="opaque token of the member, where members have balances")] = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Record a purchase: it can be used at once and is on the next statement."""
    with administration(tenant) as conn:
        decision = wallet_sale.sell(
            conn,
            tenant,
            contract_id,
            package,
            reference,
            quantity=_decimal(quantity),
            member=member,
            now=datetime.now(UTC),
        )
    typer.echo(f"{reference}: {decision.outcome}, {decision.explanation}")


@wallet_commands.command("expire")
def expire_wallets(tenant: TenantOption = FIRST_TENANT) -> None:
    """End what is over its time, and book uses and expiries that are not booked yet."""
    now = datetime.now(UTC)
    with administration(tenant) as conn:
        ended = wallet.expire(conn, tenant, now=now)
        typer.echo(f"{ended} lot(s) ended with something left")
        for stored in store.list_contracts(conn, tenant):
            if stored.contract.effective_at <= now:
                revenue, breakage = wallet_books.recognise(
                    conn, tenant, stored.contract_id, until=now, effective_at=now, booked_at=now
                )
                if revenue or breakage:
                    typer.echo(
                        f"{stored.contract.name}: revenue {revenue}, breakage {breakage} {revenue.currency}"
                    )


@budget_commands.command("list")
def list_limits(tenant: TenantOption = FIRST_TENANT) -> None:
    """Where every budget and quota stands now."""
    now = datetime.now(UTC)
    table = Table("contract", "limit", "for", "per", *_numbers("used", "of", "%"), "when reached")
    with administration(tenant) as conn:
        usage_days.refresh(conn, tenant)
        for stored in store.list_contracts(conn, tenant):
            for one in limits.states(conn, tenant, stored.contract_id, now=now):
                scope = (
                    ", ".join(f"{name} {value}" for name, value in one.limit.scope.items()) or "everything"
                )
                used, bound = one.show(one.used), one.show(one.bound)
                name = f"{one.contract_id} {one.contract_name}"
                table.add_row(
                    name,
                    one.limit.id,
                    scope,
                    one.limit.per,
                    used,
                    bound,
                    str(one.percent),
                    one.limit.when_reached,
                )
    show(table, "No contract has a budget or a quota.")


@budget_commands.command("alerts")
def list_alerts(tenant: TenantOption = FIRST_TENANT) -> None:
    """Thresholds that were reached, and what limits held back or let through, latest first."""
    reached = Table("at", "contract", "limit", *_numbers("%"), "window from")
    held = Table("at", "study", "product", "what", "why")
    refused = Table("at", "API key", "limit", *_numbers("refused calls"), "why")
    with administration(tenant) as conn:
        limits.watch(conn, tenant, now=datetime.now(UTC))
        for row in limits.list_alerts(conn, tenant):
            at = f"{row['reached_at']:%Y-%m-%d %H:%M} UTC"
            reached.add_row(at, row["name"], row["limit_id"], str(row["percent"]), str(row["window_start"]))
        for row in guard.list_decisions(conn, tenant):
            at = f"{row['decided_at']:%Y-%m-%d %H:%M} UTC"
            held.add_row(at, row["study_ref"], row["product"], row["verdict"], row["explanation"])
        for row in call_guard.list_refused(conn, tenant):
            at = f"{row['last_at']:%Y-%m-%d %H:%M} UTC"
            refused.add_row(at, row["api_key"], row["limit_id"], str(row["calls"]), row["explanation"])
    show(reached, "No threshold was reached.")
    show(held, "No limit has held a study back or let one through.")
    show(refused, "No call was refused.")


@budget_commands.command("raise")
def change_limit(
    contract_id: int,
    limit_id: str,
    bound: Annotated[str, typer.Argument(help="the new limit: units, or an amount like 60000.00")],
    reason: Annotated[str, typer.Option(help="why; kept for ever")],
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Change a limit until the contract's next version; what waits for it goes on by itself."""
    with administration(tenant) as conn:
        state = limits.change(
            conn,
            tenant,
            contract_id,
            limit_id,
            _decimal(bound),
            by=getpass.getuser(),
            reason=reason,
            now=datetime.now(UTC),
        )
    typer.echo(f"{limit_id}: {state.show(state.used)} of {state.show(state.bound)} used, {state.percent} %")


@budget_commands.command("forecast")
def show_forecast(contract_id: int, tenant: TenantOption = FIRST_TENANT) -> None:
    """What the running month will come to, by the weekdays of the last four weeks."""
    now = datetime.now(UTC)
    with administration(tenant) as conn:
        usage_days.refresh(conn, tenant)
        found = forecast.to_month_end(
            conn, tenant, store.contract_at(conn, tenant, contract_id, now), now=now
        )
        if found is None:
            raise CommandFailed("the contract has not begun")
    table = Table("", *_numbers("units", "before tax"))
    for name in ("so_far", "low", "expected", "high"):
        one: forecast.Estimate = getattr(found, name)
        table.add_row(name.replace("_", " "), plain(one.quantity), f"{one.amount} {one.amount.currency}")
    Console().print(table)
    typer.echo(f"to {found.period.ends_on}, from {found.days_seen} trailing day(s)")


def _numbers(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, justify="right") for name in names)


def _currencies(conn: Connection, tenant: str) -> dict[int, str]:
    return {one.contract_id: one.contract.currency for one in store.list_contracts(conn, tenant)}


def _amount(value: Decimal, row: Row, currencies: dict[int, str]) -> str:
    if not row["in_money"]:
        return plain(value)
    currency = currencies[row["contract_id"]]
    return f"{Money(int(value), currency)} {currency}"


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise CommandFailed(f"{text[:40]!r} is not a number") from None
    return value
