"""What another version of a contract would have made of the same usage, line by line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import psycopg

from billing.contracts import contract as contracts
from billing.contracts import simulate
from billing.contracts.simulate import Received, Simulation
from billing.contracts.yaml_reader import replace_value
from billing.errors import CurrencyMismatch, NothingToCompare
from billing.metering import meter, outcomes
from billing.money import Money
from billing.period import Period
from billing.queries import rows
from billing.statements import statement_text

Connection = psycopg.Connection[Any]
EVENTS_MAX = 100_000


@dataclass(frozen=True)
class Change:
    """A line of one service period in both versions. title: by language."""

    service_start: date
    key: str
    title: Mapping[str, str]
    before: Money
    after: Money

    @property
    def difference(self) -> Money:
        return self.after - self.before


def compare(conn: Connection, old_text: str, new_text: str, usage: Sequence[Received]) -> list[Change]:
    """Every line of either, tax excluded, by period and key; both as if they began with the first usage's period.

    Nothing is stored. Raises `NothingToCompare`, `CurrencyMismatch` and what simulating raises.
    """
    old, new = contracts.load(old_text), contracts.load(new_text)
    if old.currency != new.currency:
        raise CurrencyMismatch(old.currency, new.currency)
    if not usage:
        raise NothingToCompare("no usage: take a month that has some, or a CSV file")
    if len(usage) > EVENTS_MAX:
        raise NothingToCompare(f"more than {EVENTS_MAX} events: take a part of them as a CSV file")
    first = min(one.event.occurred_at for one in usage)
    sums: list[dict[tuple[date, str], Money]] = []
    titles: dict[str, Mapping[str, str]] = {}
    for version, text in ((old, old_text), (new, new_text)):
        period = version.period_of(first, date.min)
        assert period is not None, "every instant lies in a period of the grid"
        begun = replace_value(text, "effective_from", period.starts_on.isoformat())
        with simulate.simulated(conn, [begun], usage) as simulation:
            sums.append(_sums(simulation, titles))
    zero = Money.zero(old.currency)
    keys = sorted(sums[0].keys() | sums[1].keys())
    return [Change(*key, titles[key[1]], sums[0].get(key, zero), sums[1].get(key, zero)) for key in keys]


def stored_usage(conn: Connection, tenant: str, period: Period) -> list[Received]:
    """What a tenant recorded in a period and did not declare void, to be simulated.

    Without the verdicts that were written where a window had passed: a simulation settles by its own version.
    """
    values = {"tenant": tenant, "start_at": period.start_at, "end_at": period.end_at, "limit": EVENTS_MAX + 1}
    found = rows(conn, "usage_of_period", values)
    return [
        Received(replace(meter.event_of(row), tenant=simulate.TENANT), row["received_at"])
        for row in found
        if row["source"] != outcomes.SOURCE
    ]


def render_text(changes: Sequence[Change], language: str = "en") -> str:
    """What changes, for a terminal; lines that stay the same are only in the sums."""
    return "\n".join(_text_rows(changes, language)) + "\n"


def _sums(simulation: Simulation, titles: dict[str, Mapping[str, str]]) -> dict[tuple[date, str], Money]:
    sums: dict[tuple[date, str], Money] = {}
    for statement in simulation.statements:
        for line in statement.lines:
            key = (line.rated.service_start, line.rated.key)
            sums[key] = sums.get(key, Money.zero(statement.currency)) + line.rated.amount
            titles[line.rated.key] = line.rated.title
    return sums


def _text_rows(changes: Sequence[Change], language: str) -> Iterator[str]:
    by_period: dict[date, list[Change]] = defaultdict(list)
    for change in changes:
        by_period[change.service_start].append(change)
    yield f"{'':<70}{'before':>16}{'after':>16}{'difference':>16}"
    for start, own in sorted(by_period.items()):
        yield statement_text.day(start, language)
        for change in own:
            if change.difference:
                yield _row(f"  {change.title[language][:36]} ({change.key})", [change])
        yield _row("  all lines", own)
    if changes:
        yield _row("total, tax excluded", changes)


def _row(words: str, changes: Sequence[Change]) -> str:
    zero = Money.zero(changes[0].before.currency)
    before = sum((change.before for change in changes), zero)
    after = sum((change.after for change in changes), zero)
    return f"{words:<70}{before!s:>16}{after!s:>16}{after - before!s:>16}"
