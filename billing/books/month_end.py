"""Month end: the checklist of a month of the books, who waived and signed it, and its closing.

Nothing is ticked by hand: each item finds out how it stands. A waiver holds for the evidence that was waived, a
sign-off for the checklist that was signed; when something changes, both have to be given again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import psycopg

from billing.books import accounting, deferred, ledger
from billing.books.accounting import State
from billing.books.books_errors import MonthNotChanged, SecondPersonNeeded
from billing.books.close_items import ITEMS, NOBODY
from billing.period import Period
from billing.queries import execute, rows

Connection = psycopg.Connection[Any]


class ItemState(StrEnum):
    DONE = "done"
    WAIVED = "waived"
    OPEN = "open"


@dataclass(frozen=True)
class CheckedItem:
    """may_waive: the role that may. waived_by, reason: empty unless it is waived."""

    name: str
    title: str
    state: ItemState
    evidence: str
    may_waive: str
    waived_by: str = ""
    reason: str = ""


@dataclass(frozen=True)
class SignOff:
    signed_by: str
    signed_at: datetime


@dataclass(frozen=True)
class Checklist:
    """sign_offs: those that hold for the checklist as it is now, first signed first."""

    month: Period
    state: State
    items: tuple[CheckedItem, ...]
    sign_offs: tuple[SignOff, ...]

    @property
    def is_clear(self) -> bool:
        return all(item.state is not ItemState.OPEN for item in self.items)

    @property
    def text(self) -> str:
        """Canonical JSON: what is signed."""
        return _text(self.month, self.items)


def begin(conn: Connection, tenant: str, month: Period, *, by: str, now: datetime) -> None:
    """Begin to close a month that is over: what it earned of fees billed ahead becomes revenue."""
    accounting.begin_closing(conn, tenant, month, by=by, now=now)
    deferred.recognise(conn, tenant, month.ends_on, now=now)


def checklist(conn: Connection, tenant: str, month: Period) -> Checklist:
    """The checklist as it stands now."""
    key = {"tenant": tenant, "month": month.starts_on}
    waivers = {row["item"]: row for row in rows(conn, "close_waivers", key)}
    items = []
    for item in ITEMS:
        finding = item.look(conn, tenant, month)
        waiver = waivers.get(item.name)
        by, reason = "", ""
        state = ItemState.DONE if finding.is_done else ItemState.OPEN
        if state is ItemState.OPEN and waiver and waiver["evidence"] == finding.evidence:
            state, by, reason = ItemState.WAIVED, waiver["waived_by"], waiver["reason"]
        items.append(CheckedItem(item.name, item.title, state, finding.evidence, item.may_waive, by, reason))
    digest = _digest(_text(month, tuple(items)))
    signed = tuple(
        SignOff(row["signed_by"], row["signed_at"])
        for row in rows(conn, "close_sign_offs", key)
        if row["checklist_sha256"] == digest
    )
    return Checklist(month, accounting.state_of(conn, tenant, month), tuple(items), signed)


def waive(
    conn: Connection, tenant: str, month: Period, name: str, *, by: str, reason: str, now: datetime
) -> None:
    """Accept an open item as it stands now. The caller has made sure that `by` has the item's role."""
    _require_collecting(conn, tenant, month)
    found = [item for item in checklist(conn, tenant, month).items if item.name == name]
    if not found or found[0].state is not ItemState.OPEN:
        raise MonthNotChanged(f"{name[:40]!r} is no open item of the checklist")
    if found[0].may_waive == NOBODY:
        raise MonthNotChanged(f"{name} cannot be waived: {found[0].evidence}")
    if not by.strip() or not reason.strip():
        raise MonthNotChanged("say who waives it and why")
    values = {
        "tenant": tenant,
        "month": month.starts_on,
        "item": name,
        "evidence": found[0].evidence,
        "waived_by": by,
        "reason": reason.strip(),
        "waived_at": now,
    }
    execute(conn, "insert_close_waiver", values)


def sign(conn: Connection, tenant: str, month: Period, *, by: str, now: datetime) -> Checklist:
    """Sign the checklist as it stands; nothing in it may be open. Two people sign before a month is closed."""
    if not by.strip():
        raise SecondPersonNeeded("say who signs")
    _require_collecting(conn, tenant, month)
    current = _require_clear(checklist(conn, tenant, month))
    values = {
        "tenant": tenant,
        "month": month.starts_on,
        "checklist": current.text,
        "checklist_sha256": _digest(current.text),
        "signed_by": by,
        "signed_at": now,
    }
    execute(conn, "insert_close_sign_off", values)
    return checklist(conn, tenant, month)


def close(conn: Connection, tenant: str, month: Period, *, now: datetime) -> None:
    """Close a month whose checklist two people have signed as it is now, after a check of all the books."""
    _require_collecting(conn, tenant, month)
    current = _require_clear(checklist(conn, tenant, month))
    if len(current.sign_offs) < 2:
        names = ", ".join(one.signed_by for one in current.sign_offs) or "nobody"
        raise SecondPersonNeeded(f"two people sign the checklist as it is now; so far: {names}")
    problems = ledger.check(conn, tenant)
    if problems:
        raise MonthNotChanged(f"the books are not sound: {problems[0]} ({len(problems)} in all)")
    first, second = current.sign_offs[:2]
    accounting.close(conn, tenant, month, requested_by=first.signed_by, approved_by=second.signed_by, now=now)


def _require_collecting(conn: Connection, tenant: str, month: Period) -> None:
    state = accounting.state_of(conn, tenant, month)
    if state is not State.COLLECTING:
        raise MonthNotChanged(
            f"{month.starts_on:%Y-%m} is {state}; closing it begins with `radmeter close begin`"
        )


def _require_clear(current: Checklist) -> Checklist:
    still_open = [f"{item.name} ({item.evidence})" for item in current.items if item.state is ItemState.OPEN]
    if still_open:
        raise MonthNotChanged(f"still open: {', '.join(still_open)}")
    return current


def _text(month: Period, items: tuple[CheckedItem, ...]) -> str:
    values = {
        "month": f"{month.starts_on:%Y-%m}",
        "time_zone": month.time_zone,
        "items": [vars(one) for one in items],
    }
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
