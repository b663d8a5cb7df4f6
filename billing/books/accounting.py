"""Months of the books: open, collecting, closed; a closed month takes no postings.

Months close in order, so what is closed is everything before one instant. Closing and reopening need two people.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import psycopg

from billing.books.books_errors import MonthNotChanged, SecondPersonNeeded, ZoneNotKnown
from billing.period import Period, period_of
from billing.queries import Row, execute, first_row, one_row, rows

Connection = psycopg.Connection[Any]
DEFAULT_ZONE = "UTC"


class State(StrEnum):
    """Where a month of the books stands. A month without a row is open."""

    OPEN = "open"
    COLLECTING = "collecting"
    """The month is over and its last statements, splits and corrections are booked."""
    CLOSED = "closed"
    REOPENING = "reopening"
    """Closed still: one person asked to reopen it, and another has not answered yet."""


@dataclass(frozen=True)
class MonthChange:
    """One step of a month, as it is stored. approved_by: the second person, where one was needed."""

    month: date
    revision: int
    state: State
    requested_by: str
    approved_by: str | None
    reason: str
    changed_at: datetime


def zone_of(conn: Connection, tenant: str) -> str:
    """IANA name of the zone in which the months of the tenant's books begin."""
    row = first_row(conn, "books_zone", {"tenant": tenant})
    return DEFAULT_ZONE if row is None else str(row["time_zone"])


def set_zone(conn: Connection, tenant: str, time_zone: str) -> None:
    """Set the zone once, before the first month is closed; raises `ZoneNotKnown`, `MonthNotChanged`."""
    if time_zone not in available_timezones():
        raise ZoneNotKnown(f"{time_zone[:40]!r} is not an IANA name like Asia/Shanghai")
    if zone_of(conn, tenant) == time_zone:
        return
    if first_row(conn, "books_zone", {"tenant": tenant}) or history(conn, tenant):
        raise MonthNotChanged(
            "the zone of the books is set before their first month is closed, and then stays"
        )
    execute(conn, "insert_books_zone", {"tenant": tenant, "time_zone": time_zone})


def month_of(conn: Connection, tenant: str, at: datetime) -> Period:
    """The month of the books that holds the instant `at`."""
    return _month(at, zone_of(conn, tenant))


def month_named(conn: Connection, tenant: str, name: str) -> Period:
    """The month of the books called `2026-11`."""
    try:
        first = date.fromisoformat(f"{name}-01")
    except ValueError:
        raise MonthNotChanged(f"{name[:20]!r} is not a month like 2026-11") from None
    zone = zone_of(conn, tenant)
    return _month(datetime(first.year, first.month, 15, tzinfo=ZoneInfo(zone)), zone)


def state_of(conn: Connection, tenant: str, month: Period) -> State:
    row = first_row(conn, "accounting_month", {"tenant": tenant, "month": month.starts_on})
    if row is not None:
        return State(row["state"])
    end = closed_until(conn, tenant)
    return State.CLOSED if end is not None and month.end_at <= end else State.OPEN


def closed_until(conn: Connection, tenant: str) -> datetime | None:
    """The instant before which the books take no postings; None where no month was closed yet."""
    end = one_row(conn, "closed_until", {"tenant": tenant})["closed_until"]
    return None if end is None else end.astimezone(UTC)


def posting_time(conn: Connection, tenant: str, at: datetime) -> datetime:
    """When to post what happened at `at`: then, or at the start of the next open month where that is closed."""
    end = closed_until(conn, tenant)
    return at if end is None or at >= end else end


def history(conn: Connection, tenant: str) -> list[MonthChange]:
    """Every step of every month, oldest first."""
    return [_change(row) for row in rows(conn, "accounting_periods", {"tenant": tenant})]


def begin_closing(conn: Connection, tenant: str, month: Period, *, by: str, now: datetime) -> None:
    """open → collecting, once the month is over. Months close in order."""
    if now < month.end_at:
        raise MonthNotChanged(f"{_name(month)} is not over: it ends on {month.ends_on}, {month.time_zone}")
    _change_to(conn, tenant, month, State.COLLECTING, by=by, now=now)


def close(
    conn: Connection, tenant: str, month: Period, *, requested_by: str, approved_by: str, now: datetime
) -> None:
    """collecting → closed, by two people; from now on it takes no postings.

    The checklist is looked at by `billing.month_end`, which calls this.
    """
    _change_to(conn, tenant, month, State.CLOSED, by=requested_by, approved_by=approved_by, now=now)


def request_reopening(
    conn: Connection, tenant: str, month: Period, *, by: str, reason: str, now: datetime
) -> None:
    """closed → reopening: asks a second person. Only the last closed month; it stays closed until then."""
    if not reason.strip():
        raise MonthNotChanged("say why the month should be reopened")
    _change_to(conn, tenant, month, State.REOPENING, by=by, reason=reason.strip(), now=now)


def approve_reopening(conn: Connection, tenant: str, month: Period, *, by: str, now: datetime) -> None:
    """reopening → open, by another person than the one who asked, with the reason that was given."""
    asked = _asked(conn, tenant, month)
    _change_to(
        conn, tenant, month, State.OPEN, by=asked.requested_by, approved_by=by, reason=asked.reason, now=now
    )


def refuse_reopening(conn: Connection, tenant: str, month: Period, *, by: str, now: datetime) -> None:
    """reopening → closed: it stays as it was."""
    _asked(conn, tenant, month)
    _change_to(conn, tenant, month, State.CLOSED, by=by, reason="not reopened", now=now)


def _asked(conn: Connection, tenant: str, month: Period) -> MonthChange:
    row = first_row(conn, "accounting_month", {"tenant": tenant, "month": month.starts_on})
    if row is None or row["state"] != State.REOPENING:
        raise MonthNotChanged(f"nobody asked to reopen {_name(month)}")
    return _change(row)


def _change_to(
    conn: Connection,
    tenant: str,
    month: Period,
    state: State,
    *,
    by: str,
    now: datetime,
    approved_by: str | None = None,
    reason: str = "",
) -> None:
    """One more revision; the database holds the table of allowed steps and waits for whoever books."""
    if not by.strip() or (approved_by is not None and not approved_by.strip()):
        raise SecondPersonNeeded("say who does this")
    if approved_by == by:
        raise SecondPersonNeeded(f"{by} asked for it and cannot approve it: another person must")
    values = {
        "tenant": tenant,
        "month": month.starts_on,
        "state": state,
        "starts_at": month.start_at,
        "ends_at": month.end_at,
        "requested_by": by,
        "approved_by": approved_by,
        "reason": reason,
        "changed_at": now,
    }
    execute(conn, "insert_head", {"tenant": tenant, "hash": bytes(32)})  # so that there is one to lock
    try:
        with conn.transaction():  # a savepoint: a refused step leaves the caller's transaction usable
            execute(conn, "insert_accounting_period", values)
    except (psycopg.errors.RestrictViolation, psycopg.errors.UniqueViolation) as error:
        raise MonthNotChanged(error.diag.message_primary or str(error)) from error


def _month(at: datetime, time_zone: str) -> Period:
    month = period_of(at, time_zone, 1, date.min + timedelta(days=366))
    assert month is not None, "the books have no first day"
    return month


def _name(month: Period) -> str:
    return f"{month.starts_on:%Y-%m}"


def _change(row: Row) -> MonthChange:
    return MonthChange(
        row["month"],
        row["revision"],
        State(row["state"]),
        row["requested_by"],
        row["approved_by"],
        row["reason"],
        row["changed_at"].astimezone(UTC),
    )
