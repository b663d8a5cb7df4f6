"""Rated again: what statements and their corrections hold of a service period, against one full rating of it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg

from billing.contracts import store
from billing.errors import BillingError
from billing.metering.usage import plain
from billing.money import Money
from billing.period import Period
from billing.queries import Row, rows
from billing.rating import aggregate, shares
from billing.rating.aggregate import Billed
from billing.rating.rate import RATING_VERSION
from billing.rating.rate_stored import Rater

Connection = psycopg.Connection[Any]
_NOTHING = Billed(Decimal(0), 0)


def find_problems(conn: Connection, tenant: str) -> Iterator[str]:
    """One sentence for each line that rating again, up to the last cutoff that corrected its period, does not give.

    A period of which something was decided again since is left to the next statement, which corrects it.
    """
    raters: dict[tuple[int, int], Rater] = {}
    for row in rows(conn, "periods_to_rate_again", {"tenant": tenant, "rating_version": RATING_VERSION}):
        period = Period(row["starts_on"], row["ends_on"], row["time_zone"], row["full_days"])
        key = row["contract_id"], row["cutoff"]
        if key not in raters:
            stored = store.contract_at(conn, tenant, row["contract_id"], period.start_at)
            raters[key] = Rater(conn, tenant, stored, row["cutoff"])
        yield from _period(conn, tenant, row, period, raters[key])


def _period(conn: Connection, tenant: str, row: Row, period: Period, rater: Rater) -> Iterator[str]:
    name = f"contract {row['name']}, {period.starts_on} to {period.ends_on}"
    try:
        rating = rater.rate(period)
    except BillingError as error:
        yield f"{name}: it cannot be rated again: {error}"
        return
    for payer, lines in shares.share(rater.contract_of(period), rating).items():
        again = {one.rated.key: Billed(one.rated.quantity, one.rated.amount.amount_minor) for one in lines}
        stated = aggregate.billed_lines(conn, tenant, row["contract_id"], period, payer)
        for line_key in sorted(again.keys() | stated.keys()):
            now, before = again.get(line_key, _NOTHING), stated.get(line_key, _NOTHING)
            if now != before:
                line = f"line {line_key} of {payer}"
                yield f"{name}, {line}: {_say(before, row)} stated, rated again {_say(now, row)}"


def _say(one: Billed, row: Row) -> str:
    return f"{Money(one.amount_minor, row['currency'])} {row['currency']} for {plain(one.quantity)}"
