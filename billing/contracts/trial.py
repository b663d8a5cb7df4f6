"""Trial: a contract moved forward in time on made-up usage, to see what it would do; never on real data.

It is played through recording and issuing as they are, under a tenant of its own, and then undone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg

from billing.contracts import contract as contracts
from billing.contracts import simulate
from billing.contracts.contract import Contract
from billing.contracts.rate_terms import Rate
from billing.contracts.simulate import TENANT, Received
from billing.guarding import wallet
from billing.guarding.limits_errors import TrialTooLarge
from billing.metering.usage import RESULT_METER, Kind, UsageEvent
from billing.period import local_midnight
from billing.pricing.percentage import Percentage
from billing.queries import Row
from billing.statements.statement_record import Statement

Connection = psycopg.Connection[Any]
EVENTS_MAX = 3000
DAYS_MAX = 800
AMOUNT_MINOR = 100_00


@dataclass(frozen=True)
class Trial:
    """What was issued until the clock's time, and the balances at it. event_count: of the usage that was made up."""

    contract: Contract
    clock: datetime
    event_count: int
    statements: tuple[Statement, ...]
    balances: tuple[Row, ...]


def run(conn: Connection, text: str, *, start: date, clock: date, per_day: int) -> Trial:
    """Play [start, clock), local days of the contract, with `per_day` units a day of every rate that counts usage.

    Every matching value of a rate's filter is used in turn. Events of a price that is a share of an amount carry
    100 major units. A product that sells a package is bought once, on the first day.
    Raises `ContractError`, `TrialTooLarge` and what recording and issuing raise.
    """
    contract = contracts.load(text)
    start = max(start, contract.effective_from)
    days = max((clock - start).days, 0)
    rates = [one for one in contract.rates if one.pricing.is_metered]
    if days > DAYS_MAX or days * per_day * max(len(rates), 1) > EVENTS_MAX:
        raise TrialTooLarge(
            f"at most {DAYS_MAX} days and {EVENTS_MAX} events: take fewer a day or a shorter time"
        )
    until = local_midnight(max(clock, start), contract.time_zone)
    usage = list(_made_up(contract, rates, start, days, per_day))
    with simulate.simulated(conn, [text], usage, until) as simulation:
        balances = tuple(wallet.list_wallets(conn, TENANT, at=until))
    return Trial(contract, until, len(usage), simulation.statements, balances)


def _made_up(
    contract: Contract, rates: list[Rate], start: date, days: int, per_day: int
) -> Iterator[Received]:
    sold = contract.limits.prepaid_products
    for day in range(days):
        noon = local_midnight(start + timedelta(days=day), contract.time_zone) + timedelta(hours=12)
        for rate in rates:
            count = per_day if rate.product not in sold else int(day == 0)
            for number in range(count):
                at = noon + timedelta(minutes=number % 600)
                event = _event(contract, rate, day * per_day + number, at)
                yield Received(event, at)


def _event(contract: Contract, rate: Rate, number: int, at: datetime) -> UsageEvent:
    name = f"{rate.id}-{number}"
    is_share = isinstance(rate.pricing, Percentage)
    dimensions = {key: values[number % len(values)] for key, values in rate.when.items()}
    return UsageEvent(
        tenant=TENANT,
        source="trial",
        event_id=name,
        kind=Kind.RESULT_DELIVERED if rate.meter == RESULT_METER else Kind.USAGE,
        product=rate.product,
        quantity=Decimal(1),
        occurred_at=at,
        study_ref=name,
        case_key=name,
        dimensions={"member": "member-1"} | dimensions,
        amount_minor=AMOUNT_MINOR if is_share else None,
        amount_currency=contract.currency if is_share else None,
        meter=rate.meter,
    )
