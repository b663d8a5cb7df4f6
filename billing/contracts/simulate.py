"""Simulate: contracts and usage played through recording and issuing as they are, and then undone.

There is no second way to price: what a simulation prints is what issuing would print, because it issued.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import psycopg

from billing.contracts import store
from billing.errors import ContractNotFound, InvalidUsageEvent, UsageEventConflict
from billing.guarding import wallet
from billing.metering import meter, outcomes
from billing.metering.usage import Kind, UsageEvent
from billing.metering.usage_csv import read_csv
from billing.queries import rows
from billing.splits import contribution
from billing.statements import statement
from billing.statements.statement_record import Statement

Connection = psycopg.Connection[Any]
TENANT = "simulation"


@dataclass(frozen=True)
class Received:
    """An event and when billing hears of it; late where that is after its period was issued."""

    event: UsageEvent
    at: datetime


@dataclass(frozen=True)
class Simulation:
    """statements: in the order of issue. contract_ids: in the order of the texts."""

    statements: tuple[Statement, ...]
    contract_ids: tuple[int, ...]


@contextmanager
def simulated(
    conn: Connection,
    contract_texts: Sequence[str],
    usage: Iterable[Received],
    until: datetime | None = None,
    contributions: str = "",
) -> Iterator[Simulation]:
    """Inside the block everything lies in the database under the tenant `TENANT`; after it, nothing does.

    Each period is issued the moment it ends, up to the one of the last event, or to `until`. Events are of the
    tenant `TENANT`; of two texts with one contract name, the later is the next version.
    contributions: a CSV file as `contribution.read_csv` takes it, of the pools of the first contract.
    Raises what recording and issuing raise.
    """
    received = sorted(usage, key=lambda one: (one.at, one.event.occurred_at, one.event.event_id))
    with conn.transaction(force_rollback=True):
        rows(conn, "act_for_tenant", {"tenant": TENANT})
        ids = tuple(dict.fromkeys(store.add_contract(conn, TENANT, text) for text in contract_texts))
        if contributions:
            begin = datetime.min.replace(tzinfo=UTC)
            contribution.set_from_csv(conn, TENANT, ids[0], contributions, by=TENANT, now=begin)
        issued: list[Statement] = []
        next_end = datetime.min.replace(tzinfo=UTC)
        for at, batch in _batches(received):
            if at >= next_end:
                issued += _issue_ended(conn, ids, at)
                next_end = min(_period_ends(conn, ids, at), default=at)
            _record(conn, batch, at)
        last = max((instant for one in received for instant in (one.at, one.event.occurred_at)), default=None)
        if until is None and last is not None:
            until = max(_period_ends(conn, ids, last), default=last)
        if until is not None:
            issued += _issue_ended(conn, ids, until)
        yield Simulation(tuple(issued), ids)


def _batches(received: Sequence[Received]) -> Iterator[tuple[datetime, list[UsageEvent]]]:
    """What billing hears of in one instant; verdicts after the deliveries that they speak of."""
    for at, together in groupby(received, key=lambda one: one.at):
        events = [one.event for one in together]
        for are_verdicts in (False, True):
            if batch := [event for event in events if (event.kind == Kind.OUTCOME) is are_verdicts]:
                yield at, batch


def _record(conn: Connection, events: Sequence[UsageEvent], at: datetime) -> None:
    for event, recorded in zip(events, meter.record_many(conn, TENANT, events, received_at=at), strict=True):
        if recorded.status is meter.Status.CONFLICT:
            raise UsageEventConflict(event.source, event.event_id)


def read_usage(text: str) -> list[Received]:
    """A CSV file as `usage_csv.read_csv` takes it; `received_at` says when billing heard of an event, if late."""
    table = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    received = []
    for number, (event, row) in enumerate(zip(read_csv(text, TENANT), table, strict=True), start=2):
        said = (row.get("received_at") or "").strip()
        try:
            at = datetime.fromisoformat(said) if said else event.occurred_at
        except ValueError:
            raise InvalidUsageEvent(f"row {number}, received_at", "is not an ISO 8601 time") from None
        if at.tzinfo is None:
            raise InvalidUsageEvent(f"row {number}, received_at", "needs a time zone")
        received.append(Received(event, at.astimezone(UTC)))
    return received


def _issue_ended(conn: Connection, contract_ids: Sequence[int], now: datetime) -> list[Statement]:
    """Every period that has ended by `now` and has no statement yet, oldest first."""
    outcomes.settle_outcomes(conn, TENANT, now=now)
    wallet.expire(conn, TENANT, now=now)
    due = []
    for contract_id in contract_ids:
        with suppress(ContractNotFound):  # not in force yet
            periods = statement.unissued_periods(conn, TENANT, contract_id, now)
            due += [(period.end_at, contract_id, period) for period in periods]
    ordered = sorted(due, key=lambda one: one[:2])
    return [
        issued
        for end, one, period in ordered
        for issued in statement.issue_all(conn, TENANT, one, period, now=end, nil=True)
    ]


def _period_ends(conn: Connection, contract_ids: Sequence[int], instant: datetime) -> list[datetime]:
    """When the periods end that hold the instant."""
    ends = []
    for contract_id in contract_ids:
        with suppress(ContractNotFound):
            period = store.contract_at(conn, TENANT, contract_id, instant).period_of(instant)
            ends += [period.end_at] if period else []
    return ends
