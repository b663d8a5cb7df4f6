"""Prepaid packages: balances with their lots and what moved them; finance sells one by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Request, Response
from fastapi.responses import RedirectResponse

from billing.contracts import store as billing_store
from billing.errors import BillingError
from billing.guarding import wallet, wallet_sale
from billing.guarding.limits_errors import PurchaseNotPossible
from billing.metering.usage import plain
from billing.money import Money
from billing.queries import Row
from pipeline.database import Connection
from portal.context import CHANGES_MONEY, SEES_MONEY, Identity
from portal.errors import PageNotFound
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Viewer = Annotated[Identity, Depends(signed_in(SEES_MONEY))]
Changer = Annotated[Identity, Depends(signed_in(CHANGES_MONEY))]
Text = Annotated[str, Form(max_length=200)]


@router.get("/wallets")
def show(request: Request, context: Context, identity: Viewer) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        return _list(request, conn, identity)


@router.post("/wallets")
def sell(
    request: Request,
    context: Context,
    identity: Changer,
    package: Text,
    reference: Text,
    quantity: Text = "1",
    member: Text = "",
) -> Response:
    """Sell a package; the same reference again sells nothing more. package: `contract id/package`."""
    form = {"package": package, "reference": reference, "quantity": quantity, "member": member}
    contract_id, _, package_id = package.partition("/")
    with context.database.transaction(identity.tenant) as conn:
        try:
            if not contract_id.isascii() or not contract_id.isdigit() or len(contract_id) > 18:
                raise PurchaseNotPossible("choose a package")
            with conn.transaction():
                wallet_sale.sell(
                    conn,
                    identity.tenant,
                    int(contract_id),
                    package_id,
                    reference.strip(),
                    quantity=_number(quantity),
                    member=member.strip(),
                    now=datetime.now(UTC),
                )
        except BillingError as problem:
            return _list(request, conn, identity, form, problem)
    return RedirectResponse("/wallets", 303)


@router.get("/wallets/{contract_id}/{package}/{owner}")
def show_one(
    request: Request,
    context: Context,
    identity: Viewer,
    contract_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
    package: str,
    owner: str,
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        lots, entries = wallet.show(conn, identity.tenant, contract_id, package, owner)
        currencies = _currencies(conn, identity)
    if not lots and not entries:
        raise PageNotFound
    currency = currencies[contract_id]
    in_money = bool(lots and lots[0]["in_money"])
    return page(
        request,
        "wallet.html",
        lots=lots,
        entries=entries,
        package=package,
        owner=owner,
        currency=currency,
        amount=lambda value: _amount(value, currency if in_money else None),
        money=lambda minor: Money(minor, currency),
    )


def _list(
    request: Request,
    conn: Connection,
    identity: Identity,
    form: dict[str, str] | None = None,
    problem: BillingError | None = None,
) -> Response:
    now = datetime.now(UTC)
    currencies = _currencies(conn, identity)
    contracts = billing_store.list_contracts(conn, identity.tenant)

    def amount(row: Row, name: str) -> str:
        return _amount(row[name], currencies[row["contract_id"]] if row["in_money"] else None)

    return page(
        request,
        "wallets.html",
        status_code=422 if problem else 200,
        wallets=wallet.list_wallets(conn, identity.tenant, at=now),
        names={one.contract_id: one.contract.name for one in contracts},
        packages=[(one, package) for one in contracts for package in one.contract.limits.packages],
        may_change=identity.may(CHANGES_MONEY),
        amount=amount,
        form={"package": "", "reference": "", "quantity": "1", "member": "", **(form or {})},
        problem=problem,
    )


def _currencies(conn: Connection, identity: Identity) -> dict[int, str]:
    found = billing_store.list_contracts(conn, identity.tenant)
    return {one.contract_id: one.contract.currency for one in found}


def _amount(value: Decimal, currency: str | None) -> str:
    """Units, or money where the package is in money."""
    return plain(value) if currency is None else f"{currency} {Money(int(value), currency)}"


def _number(text: str) -> Decimal:
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        raise PurchaseNotPossible(f"{text[:40]!r} is not a number") from None
