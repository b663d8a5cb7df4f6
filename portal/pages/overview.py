"""Overview of a contract's month: usage by day and by place, what it comes to, its limits; limits can be changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from billing.contracts.store import StoredContract
from billing.errors import BillingError, ContractNotFound
from billing.guarding import call_guard, forecast, guard, limits
from billing.guarding.forecast import Forecast
from billing.guarding.limits_errors import LimitNotChanged
from billing.metering import usage_days
from billing.metering.usage import plain
from billing.metering.usage_days import UsageDay
from billing.period import Period
from pipeline.database import Connection
from portal.charts import DayMark, day_plot, percent_of
from portal.context import CHANGES_MONEY, SEES_STATEMENTS, Identity
from portal.pages.statements import own_contracts, own_draft
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Viewer = Annotated[Identity, Depends(signed_in(SEES_STATEMENTS))]
Changer = Annotated[Identity, Depends(signed_in(CHANGES_MONEY))]
Text = Annotated[str, Form(max_length=500)]
BY = ("site", "department", "sending_peer", "product")


@dataclass(frozen=True)
class Part:
    """What one site, department, sender or product brought. name: empty where the events do not say."""

    name: str
    quantity: Decimal
    percent: str


@dataclass(frozen=True)
class ChangeForm:
    """What was typed, so that a refusal loses nothing of it."""

    limit_id: str = ""
    amount: str = ""
    reason: str = ""


@router.get("/overview")
def show(
    request: Request,
    context: Context,
    identity: Viewer,
    contract_id: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    starts_on: date | None = None,
) -> Response:
    """One contract's month; the running one where none is named."""
    with context.database.transaction(identity.tenant) as conn:
        return _page(request, conn, identity, contract_id, starts_on)


@router.post("/overview/{contract_id}/limits")
def change(
    request: Request,
    context: Context,
    identity: Changer,
    contract_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
    limit_id: Text,
    amount: Text,
    reason: Text,
) -> Response:
    """Raise or lower a limit; what waits for it goes on by itself."""
    form = ChangeForm(limit_id, amount, reason)
    with context.database.transaction(identity.tenant) as conn:
        try:
            with conn.transaction():
                limits.change(
                    conn,
                    identity.tenant,
                    contract_id,
                    limit_id,
                    _number(amount),
                    by=identity.user_name,
                    reason=reason,
                    now=datetime.now(UTC),
                )
        except BillingError as problem:
            return _page(request, conn, identity, contract_id, None, form, problem)
    return RedirectResponse(f"/overview?contract_id={contract_id}#limits", 303)


def _page(
    request: Request,
    conn: Connection,
    identity: Identity,
    contract_id: int | None,
    starts_on: date | None,
    form: ChangeForm | None = None,
    problem: BillingError | None = None,
) -> Response:
    now = datetime.now(UTC)
    tenant = identity.tenant
    known = own_contracts(conn, identity)
    if contract_id is not None and all(one.contract_id != contract_id for one in known):
        raise ContractNotFound(f"no contract {contract_id}")
    chosen = next((one for one in known if contract_id in (None, one.contract_id)), None)
    values: dict[str, object] = {
        "contracts": known,
        "chosen": chosen,
        "month": None,
        "form": form,
        "problem": problem,
    }
    if chosen is not None:
        usage_days.refresh(conn, tenant)
        values |= _month(conn, identity, chosen, starts_on, now)
        values["limits"] = limits.states(conn, tenant, chosen.contract_id, now=now)
        values["held"] = guard.list_decisions(conn, tenant, limit=20) if identity.only_party is None else []
        refused = call_guard.list_refused(conn, tenant, 20) if identity.only_party is None else []
        values["refused"] = [one for one in refused if one["contract_id"] == chosen.contract_id]
        values["alerts"] = [
            one for one in limits.list_alerts(conn, tenant, 50) if one["contract_id"] == chosen.contract_id
        ]
    status_code = 422 if problem else 200
    return page(
        request,
        "overview.html",
        status_code=status_code,
        may_change=identity.may(CHANGES_MONEY),
        percent_of=lambda part, whole: percent_of(Fraction(part), Fraction(whole)),
        plain=plain,
        rounded=lambda value: plain(Decimal(round(value * 10)).scaleb(-1)),
        **values,
    )


def _month(
    conn: Connection, identity: Identity, chosen: StoredContract, starts_on: date | None, now: datetime
) -> dict[str, object]:
    tenant = identity.tenant
    running = chosen.period_of(now)
    at = datetime(starts_on.year, starts_on.month, starts_on.day, 12, tzinfo=UTC) if starts_on else now
    period = chosen.period_of(at)
    if period is None:
        return {}
    sold = chosen.contract.limits.prepaid_products  # a purchase is no use
    found = [
        one
        for one in usage_days.read(conn, tenant, chosen.contract_id, period.starts_on, period.ends_on)
        if one.product not in sold
    ]
    is_running = period == running
    expected = forecast.to_month_end(conn, tenant, chosen, now=now) if is_running else None
    marks = _marks(period, found, expected)
    before = chosen.period_of(period.start_at - timedelta(seconds=1))
    return {
        "month": period,
        "before": before,
        "after": None if is_running else chosen.period_of(period.end_at),
        "draft": own_draft(conn, identity, chosen.contract_id, period.start_at),
        "forecast": expected,
        "marks": marks,
        "plot": day_plot(marks),
        "by": {name: _parts(found, name) for name in BY},
        "prepaid": sum((one.quantity for one in found if one.is_prepaid), Decimal(0)),
    }


def _marks(period: Period, found: Sequence[UsageDay], expected: Forecast | None) -> list[DayMark]:
    brought: dict[date, Fraction] = defaultdict(Fraction)
    for one in found:
        brought[one.day] += Fraction(one.quantity)
    ahead = {one.day: (one.low, one.expected, one.high) for one in expected.days} if expected else {}
    days = [period.starts_on + timedelta(days=number) for number in range(period.days)]
    return [DayMark(day, brought[day], *ahead.get(day, ())) for day in days]


def _parts(found: Sequence[UsageDay], name: str) -> list[Part]:
    """The largest first; what events do not say last."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for one in found:
        sums[one.product if name == "product" else one.dimensions.get(name, "")] += one.quantity
    whole = max(map(Fraction, sums.values()), default=Fraction(0))
    ordered = sorted(sums.items(), key=lambda item: (not item[0], -item[1], item[0]))
    return [Part(key, value, percent_of(Fraction(value), whole)) for key, value in ordered[:50]]


def _number(text: str) -> Decimal:
    try:
        return Decimal(text.strip().replace(",", ""))
    except InvalidOperation:
        raise LimitNotChanged(f"{text[:40]!r} is not a number") from None
