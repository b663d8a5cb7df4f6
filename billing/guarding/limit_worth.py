"""What usage is worth to a limit: what was delivered, and what work under way will add to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from billing.contracts.limits_terms import Limit
from billing.contracts.store import StoredContract
from billing.errors import NoRate
from billing.metering import usage_days
from billing.metering.usage import RESULT_METER
from billing.metering.usage_days import UsageDay
from billing.metering.usage_totals import UsageTotals
from billing.period import Period, local_midnight, periods_between
from billing.rating import aggregate
from billing.rating.rate import rate
from billing.rating.rate_stored import Rater

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Window:
    """[starts_on, ends_on), local days of the contract; ends_on None: as long as the contract runs."""

    starts_on: date
    ends_on: date | None
    time_zone: str

    @property
    def end_at(self) -> datetime | None:
        """When the window turns, UTC."""
        return None if self.ends_on is None else local_midnight(self.ends_on, self.time_zone)


@dataclass(frozen=True)
class Work:
    """Results not delivered yet that may be made, or calls being answered. dimensions: as their usage will say them."""

    product: str
    dimensions: Mapping[str, str]
    count: int = 1
    meter: str = RESULT_METER

    @property
    def said(self) -> dict[str, str]:
        """What limits and prices tell it apart by."""
        return {**self.dimensions, "product": self.product}


def day_of(work: Work, stored: StoredContract, now: datetime) -> UsageDay:
    """Its usage, as if it were delivered now."""
    today = now.astimezone(ZoneInfo(stored.contract.time_zone)).date()
    units = Decimal(work.count)
    return UsageDay(today, work.product, work.meter, work.dimensions, False, units, work.count, Decimal(1))


def worth(
    conn: Connection,
    tenant: str,
    stored: StoredContract,
    limit: Limit,
    window: Window,
    days: list[UsageDay],
    now: datetime,
) -> Decimal:
    """What the usage costs before tax by the version in force, each billing month rated by itself.

    Fees that no usage brings count in a budget of the whole contract only, and never by the day. Tiers and
    allowances begin anew where the scope or the day is narrower than the statement.
    """
    contract = stored.contract
    if _is_whole(limit) and (
        contract.counts_over_term or contract.grouping.thresholds or contract.case_rules
    ):
        # Totals by day do not tell what these ask for.
        rater = Rater(conn, tenant, stored, aggregate.last_decision(conn, tenant))
        periods = _periods(stored, limit, window, now)
        return Decimal(sum(rater.rate(one).total(contract.currency).amount_minor for one in periods))
    return _worth_by_days(stored, limit, window, days, now)


def worth_more(
    stored: StoredContract,
    limit: Limit,
    window: Window,
    days: list[UsageDay],
    coming: list[UsageDay],
    now: datetime,
) -> Decimal:
    """What the bill grows by; what no rate prices costs what a unit cost on average."""
    if not coming:
        return Decimal(0)
    before = _worth_by_days(stored, limit, window, days, now)
    try:
        rate(stored.contract, _periods(stored, limit, window, now)[-1], _totals(stored, coming))
    except NoRate:
        units, more = (sum((one.quantity for one in some), Decimal(0)) for some in (days, coming))
        return before * more / units if units > 0 else Decimal(0)
    return max(_worth_by_days(stored, limit, window, [*days, *coming], now) - before, Decimal(0))


def _worth_by_days(
    stored: StoredContract, limit: Limit, window: Window, days: list[UsageDay], now: datetime
) -> Decimal:
    contract, is_whole = stored.contract, _is_whole(limit)
    metered = {item.id for item in contract.rates if item.pricing.is_metered}
    minor = 0
    for period in _periods(stored, limit, window, now):
        inside = [one for one in days if period.starts_on <= one.day < period.ends_on and not one.is_prepaid]
        if not inside and not is_whole:
            continue
        try:
            rating = rate(contract, period, _totals(stored, inside))
        except NoRate:  # of an earlier version; its statement priced it
            continue
        minor += sum(
            line.amount.amount_minor
            for line in rating.lines
            if is_whole or line.key.rsplit("/", 1)[0] in metered
        )
    return Decimal(minor)


def _is_whole(limit: Limit) -> bool:
    return not limit.scope and limit.per != "day"


def _totals(stored: StoredContract, days: list[UsageDay]) -> UsageTotals:
    return usage_days.totals(days, stored.contract.grouping.names)


def _periods(stored: StoredContract, limit: Limit, window: Window, now: datetime) -> list[Period]:
    """The billing months of the window up to now, or its day."""
    contract = stored.contract
    if limit.per == "day":
        return [Period(window.starts_on, window.starts_on + timedelta(days=1), contract.time_zone, 1)]
    start = local_midnight(window.starts_on, contract.time_zone)
    return periods_between(start, now, contract.time_zone, contract.anchor_day, stored.first_day)
