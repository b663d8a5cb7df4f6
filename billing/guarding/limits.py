"""Limits: what of a budget or quota is used, who is told, and whether a study may run before it is analysed.

Totals are of what was delivered; what is under way comes on top. They hold work back, they never price anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from billing.contracts import store
from billing.contracts.limits_terms import Limit
from billing.contracts.store import StoredContract
from billing.errors import ContractNotFound
from billing.guarding import limit_worth
from billing.guarding.limit_worth import Window, Work
from billing.guarding.limits_errors import LimitNotChanged, LimitNotFound
from billing.metering import usage_days
from billing.metering.usage import plain
from billing.money import Money, exponent
from billing.queries import Row, execute, first_row, rows

Connection = psycopg.Connection[Any]
_TERM_END = date(9999, 1, 1)


@dataclass(frozen=True)
class LimitState:
    """Where a limit stands. used, bound: units for a quota, minor units of `currency` for a budget.

    expected: `used`, and what the work that was asked about will add to it.
    """

    contract_id: int
    contract_name: str
    version: int
    currency: str
    limit: Limit
    window: Window
    used: Decimal
    bound: Decimal
    expected: Decimal

    @property
    def percent(self) -> int:
        """Whole percent of the bound, rounded down, so that 100 means reached."""
        return int(self.used * 100 / self.bound)

    @property
    def is_reached(self) -> bool:
        """Whether all of it is used."""
        return self.used >= self.bound

    @property
    def is_exceeded(self) -> bool:
        """Whether the work that was asked about goes beyond it."""
        return self.expected > self.bound

    def show(self, value: Decimal) -> str:
        """`5,000.00 CNY` or `120`."""
        if self.limit.in_money:
            return f"{Money(int(value), self.currency)} {self.currency}"
        return plain(value)


def states(conn: Connection, tenant: str, contract_id: int, *, now: datetime) -> list[LimitState]:
    """The limits of the version in force, in the order of the contract; none before it began."""
    try:
        stored = store.contract_at(conn, tenant, contract_id, now)
    except ContractNotFound:
        return []
    return [state_of(conn, tenant, stored, limit, now=now) for limit in stored.contract.limits.limits]


def state_of(
    conn: Connection,
    tenant: str,
    stored: StoredContract,
    limit: Limit,
    *,
    now: datetime,
    work: Sequence[Work] = (),
) -> LimitState:
    """work: of this contract, under way or asked about; what the limit does not cover is left out."""
    window = window_of(stored, limit.per, now)
    end = window.ends_on or _TERM_END
    found = usage_days.read(conn, tenant, stored.contract_id, window.starts_on, end)
    days = [one for one in found if limit.covers({**one.dimensions, "product": one.product})]
    coming = [limit_worth.day_of(one, stored, now) for one in work if limit.covers(one.said)]
    if limit.in_money:
        used = limit_worth.worth(conn, tenant, stored, limit, window, days, now)
        more = limit_worth.worth_more(stored, limit, window, days, coming, now)
    else:
        used = sum((one.quantity for one in days), Decimal(0))
        more = sum((one.quantity for one in coming), Decimal(0))
    return LimitState(
        contract_id=stored.contract_id,
        contract_name=stored.contract.name,
        version=stored.version,
        currency=stored.contract.currency,
        limit=limit,
        window=window,
        used=used,
        bound=_bound(conn, tenant, stored, limit, now),
        expected=used + more,
    )


def window_of(stored: StoredContract, per: str, now: datetime) -> Window:
    """The day, the billing month or the term that holds `now`."""
    zone = stored.contract.time_zone
    if per == "term":
        return Window(stored.first_day, None, zone)
    if per == "day":
        today = now.astimezone(ZoneInfo(zone)).date()
        return Window(today, today + timedelta(days=1), zone)
    period = stored.period_of(now)
    assert period is not None, "the version is in force"
    return Window(period.starts_on, period.ends_on, zone)


def change(
    conn: Connection,
    tenant: str,
    contract_id: int,
    limit_id: str,
    bound: Decimal,
    *,
    by: str,
    reason: str,
    now: datetime,
) -> LimitState:
    """Raise or lower a limit until the next version of the contract; what waits goes on by itself.

    bound: units, or major units of the currency. Raises `LimitNotFound`, `LimitNotChanged`.
    """
    stored = store.contract_at(conn, tenant, contract_id, now)
    limit = stored.contract.limits.limit(limit_id)
    if limit is None:
        raise LimitNotFound(f"contract {contract_id} has no limit {limit_id!r} now")
    if not by.strip() or not reason.strip():
        raise LimitNotChanged("say who changes the limit, and why")
    scaled = bound.scaleb(exponent(stored.contract.currency)) if limit.in_money else bound
    decimals = 0 if limit.in_money else 6
    if not scaled.is_finite() or not 0 < scaled <= Decimal(10) ** 15 or scaled != round(scaled, decimals):
        raise LimitNotChanged(f"the limit needs a number above zero with at most {decimals} further decimals")
    values = {
        "tenant": tenant,
        "contract_id": contract_id,
        "version": stored.version,
        "limit_id": limit_id,
        "bound": scaled,
        "reason": reason.strip(),
        "changed_by": by.strip(),
        "now": now,
    }
    execute(conn, "insert_limit_change", values)
    return state_of(conn, tenant, stored, limit, now=now)


def watch(conn: Connection, tenant: str, *, now: datetime) -> list[Row]:
    """Write down each threshold that is newly reached; returns those, for whoever tells people."""
    told = []
    for stored in store.list_contracts(conn, tenant):
        for state in states(conn, tenant, stored.contract_id, now=now):
            for percent in state.limit.thresholds:
                if state.used * 100 < state.bound * percent:
                    continue
                values = {
                    "tenant": tenant,
                    "contract_id": state.contract_id,
                    "limit_id": state.limit.id,
                    "window_start": state.window.starts_on,
                    "percent": percent,
                    "used": state.used,
                    "bound": state.bound,
                    "now": now,
                }
                if first_row(conn, "insert_limit_alert", values):
                    told.append({**values, "contract": state.contract_name})
    return told


def list_alerts(conn: Connection, tenant: str, limit: int = 200) -> list[Row]:
    """Thresholds that were reached, latest first."""
    return rows(conn, "limit_alerts", {"tenant": tenant, "limit": limit})


def _bound(conn: Connection, tenant: str, stored: StoredContract, limit: Limit, now: datetime) -> Decimal:
    values = {
        "tenant": tenant,
        "contract_id": stored.contract_id,
        "version": stored.version,
        "limit_id": limit.id,
        "now": now,
    }
    changed = first_row(conn, "latest_limit_change", values)
    return Decimal(changed["bound"]) if changed else limit.bound
