"""Contracts: the YAML with its errors by line, what a new text would change, and a clock to try it forward in time."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from billing.contracts import contract as contracts
from billing.contracts import contract_diff, trial
from billing.contracts import store as billing_store
from billing.contracts.store import StoredContract
from billing.contracts.yaml_reader import TEXT_LENGTH_MAX
from billing.errors import BillingError, ContractError, ContractNotFound
from billing.metering.usage import plain
from billing.period import anchor_in, period_of
from pipeline.database import Connection
from portal.context import CHANGES_MONEY, SEES_MONEY, Identity
from portal.errors import RoleNotAllowed
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Viewer = Annotated[Identity, Depends(signed_in(SEES_MONEY))]
_FIRST = """\
contract: my-contract-2026
seller: {id: seller, name: Seller, number_prefix: ST}
buyer: {id: buyer, name: Buyer}
currency: CNY
time_zone: Asia/Shanghai
effective_from: 2026-01-01
tax: {name: VAT, rate: 0.06}
rates:
  - product: lung_nodule_ct
    title: {en: Lung nodule detection, zh: 肺结节检测}
    unit: {en: case, zh: 例}
    price: {model: per_unit, unit_price: 100.00}
"""
_PER_DAY_MAX = 50


@dataclass(frozen=True)
class Editor:
    """What the editor holds. compared: contract id of the stored version; 0: none. month: YYYY-MM of real usage."""

    document: str
    compared: int = 0
    month: str = ""
    start: str = ""
    clock: str = ""
    per_day: int = 3


@router.get("/contracts")
def show(request: Request, context: Context, identity: Viewer) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        found = billing_store.list_contracts(conn, identity.tenant)
    return page(request, "contracts.html", contracts=found, may_change=identity.may(CHANGES_MONEY))


@router.get("/contracts/edit")
def edit(
    request: Request,
    context: Context,
    identity: Viewer,
    contract_id: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
) -> Response:
    """The editor, with the latest version or with an example."""
    with context.database.transaction(identity.tenant) as conn:
        text = _stored(conn, identity, contract_id)[1] if contract_id else _FIRST
        return _page(request, conn, identity, Editor(text, contract_id))


@router.post("/contracts/edit")
def work(
    request: Request,
    context: Context,
    identity: Viewer,
    action: Annotated[str, Form(pattern="^(check|save|diff|clock|forward)$")] = "check",
    document: Annotated[str, Form(max_length=TEXT_LENGTH_MAX * 2)] = "",
    compared: Annotated[int, Form(ge=0, le=2**63 - 1)] = 0,
    month: Annotated[str, Form(max_length=7)] = "",
    start: Annotated[str, Form(max_length=10)] = "",
    clock: Annotated[str, Form(max_length=10)] = "",
    per_day: Annotated[int, Form(ge=1, le=_PER_DAY_MAX)] = 3,
) -> Response:
    """Check the text, and then save it, compare it on a month's usage, or try it forward in time."""
    editor = Editor(document.replace("\r\n", "\n"), compared, month, start, clock, per_day)
    if action == "save" and not identity.may(CHANGES_MONEY):
        raise RoleNotAllowed
    with context.database.transaction(identity.tenant) as conn:
        try:
            with conn.transaction():
                contracts.load(editor.document)
                values = _do(conn, identity, action, editor)
        except ContractError as error:
            return _page(request, conn, identity, editor, 422, problems=error.problems)
        except (BillingError, ValueError) as error:
            return _page(request, conn, identity, editor, 422, failure=str(error))
        if action == "save":
            return RedirectResponse("/contracts", 303)
        return _page(request, conn, identity, values.pop("editor", editor), is_checked=True, **values)


def _do(conn: Connection, identity: Identity, action: str, editor: Editor) -> dict[str, Any]:
    match action:
        case "save":
            billing_store.add_contract(conn, identity.tenant, editor.document)
        case "diff":
            return _diff(conn, identity, editor)
        case "clock" | "forward":
            return _try(conn, editor, is_forward=action == "forward")
    return {}


def _diff(conn: Connection, identity: Identity, editor: Editor) -> dict[str, Any]:
    """Line by line: the text against the stored version, and what both make of a month's real usage."""
    stored, before = _stored(conn, identity, editor.compared)
    first = _day(f"{editor.month}-01", "month")
    terms = stored.contract
    noon = datetime(first.year, first.month, min(terms.anchor_day, 28), 12, tzinfo=UTC)
    period = period_of(noon, terms.time_zone, terms.anchor_day, date(1900, 1, 1))
    assert period is not None, "every instant lies in a period of the grid"
    usage = contract_diff.stored_usage(conn, identity.tenant, period)
    lines = difflib.unified_diff(before.splitlines(), editor.document.splitlines(), lineterm="", n=2)
    return {
        "lines": list(lines)[2:],
        "changes": contract_diff.compare(conn, before, editor.document, usage),
        "currency": terms.currency,
        "event_count": len(usage),
    }


def _try(conn: Connection, editor: Editor, *, is_forward: bool) -> dict[str, Any]:
    contract = contracts.load(editor.document)
    start = _day(editor.start, "start") if editor.start else contract.effective_from
    clock = _day(editor.clock, "clock") if editor.clock else _month_later(start)
    if is_forward:
        clock = _month_later(clock)
    found = trial.run(conn, editor.document, start=start, clock=clock, per_day=editor.per_day)
    return {"trial": found, "editor": replace(editor, start=start.isoformat(), clock=clock.isoformat())}


def _month_later(day: date) -> date:
    months = day.year * 12 + day.month
    return anchor_in(months // 12, months % 12 + 1, day.day)


def _day(text: str, name: str) -> date:
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{name}: give a date like 2026-01-31, or a month like 2026-01") from None
    if not 1990 <= day.year <= 2200:
        raise ValueError(f"{name}: give a year from 1990 to 2200")
    return day


def _stored(conn: Connection, identity: Identity, contract_id: int) -> tuple[StoredContract, str]:
    """The latest version and its text. Raises `ContractNotFound`."""
    for one in billing_store.list_contracts(conn, identity.tenant):
        if one.contract_id == contract_id:
            return one, billing_store.contract_text(conn, identity.tenant, contract_id, one.version)
    raise ContractNotFound("choose a stored contract to compare with")


def _page(
    request: Request,
    conn: Connection,
    identity: Identity,
    editor: Editor,
    status_code: int = 200,
    **values: Any,
) -> Response:
    return page(
        request,
        "contract_edit.html",
        status_code=status_code,
        editor=editor,
        contracts=billing_store.list_contracts(conn, identity.tenant),
        may_change=identity.may(CHANGES_MONEY),
        per_day_max=_PER_DAY_MAX,
        plain=plain,
        **{"problems": (), "failure": "", "is_checked": False, "changes": None, "trial": None, **values},
    )
