"""Reconcile: what a hospital counted itself against what was billed, item by item."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import psycopg

from billing.books import accounting, hospital_count
from billing.books.books_errors import HospitalCountRefused, ReconciliationNotFound
from billing.books.hospital_count import CountedItem, ReadingRules
from billing.metering.usage import plain
from billing.period import local_midnight
from billing.queries import Row, execute_many, first_row, one_row, rows

Connection = psycopg.Connection[Any]
DAYS_APART_MAX = 3
"""A result delivered at midnight may be charged by the hospital on the next day, or after a weekend."""


class Verdict(StrEnum):
    NOT_IN_THEIR_LIST = "not_in_their_list"
    """Billed, and the hospital does not count it."""
    NOT_BILLED = "not_billed"
    """Done by the hospital's count, and not billed."""
    QUANTITY_DIFFERS = "quantity_differs"


@dataclass(frozen=True)
class Difference:
    """why: the reason for which we recorded and did not charge it; empty where we know nothing of it."""

    verdict: Verdict
    token: str
    product: str
    our_day: date | None
    their_day: date | None
    our_quantity: Decimal
    their_quantity: Decimal
    their_row: int | None
    why: str = ""


@dataclass(frozen=True)
class Reconciliation:
    """since, until: local days of the books, inclusive. ignored_count: rows whose code is none of our products.

    matched_count: tokens with product and day on which both sides agree.
    """

    reconciliation_id: int
    since: date
    until: date
    style: str
    file_sha256: str
    matched_by: str
    matched_count: int
    ignored_count: int
    difference_count: int
    made_by: str
    made_at: datetime
    differences: tuple[Difference, ...]

    def count(self, verdict: Verdict) -> int:
        return sum(one.verdict is verdict for one in self.differences)


def reconcile(
    conn: Connection,
    tenant: str,
    content: bytes,
    *,
    style: str,
    since: date,
    until: date,
    by: str,
    now: datetime,
    key: bytes | None = None,
    matched_by: str = "request",
    codes: Mapping[str, str] | None = None,
    encoding: str = "utf-8-sig",
    columns: Mapping[str, str] | None = None,
    identifier_system: str = "",
) -> Reconciliation:
    """Compare a hospital's list with what is billable in the same days, and store the outcome.

    matched_by: `request` (HMAC of the accession number, our dimension of that name) or `case` (our case key).
    codes: the hospital's code → our product; a code that is one of our products stands for itself.
    Raises `HospitalCountRefused`; then nothing is stored.
    """
    if until < since:
        raise HospitalCountRefused(f"the days run backwards: {since} to {until}")
    zone = accounting.zone_of(conn, tenant)
    rules = ReadingRules(zone, key, encoding, columns or {}, identifier_system)
    items = hospital_count.read(content, style, rules)
    ours, not_charged = _ours(conn, tenant, since, until, matched_by, zone)
    products = {row["product"] for row in rows(conn, "products_of_tenant", {"tenant": tenant})}
    theirs, ignored_count = _theirs(
        items, {**{name: name for name in products}, **(codes or {})}, since, until
    )
    _require_opaque(theirs, ours)
    matched, differences = _match(ours, theirs, since, until, not_charged)
    values = {
        "tenant": tenant,
        "since": since,
        "until": until,
        "style": style,
        "file_sha256": hashlib.sha256(content).hexdigest(),
        "matched_by": matched_by,
        "matched_count": matched,
        "ignored_count": ignored_count,
        "difference_count": len(differences),
        "made_by": by,
        "made_at": now,
    }
    reconciliation_id = one_row(conn, "insert_reconciliation", values)["reconciliation_id"]
    key_values = {"tenant": tenant, "reconciliation_id": reconciliation_id}
    execute_many(
        conn,
        "insert_reconciliation_line",
        ({**key_values, "line_number": n, **vars(one)} for n, one in enumerate(differences, start=1)),
    )
    return get(conn, tenant, reconciliation_id)


def get(conn: Connection, tenant: str, reconciliation_id: int) -> Reconciliation:
    """A stored reconciliation; raises `ReconciliationNotFound`."""
    values = {"tenant": tenant, "reconciliation_id": reconciliation_id}
    row = first_row(conn, "reconciliation_by_id", values)
    if row is None:
        raise ReconciliationNotFound(f"no reconciliation {reconciliation_id}")
    return _stored(row, tuple(_difference(line) for line in rows(conn, "reconciliation_lines", values)))


def latest(conn: Connection, tenant: str, limit: int = 100) -> list[Reconciliation]:
    """Reconciliations, newest first, without their differences."""
    return [_stored(row, ()) for row in rows(conn, "reconciliations", {"tenant": tenant, "limit": limit})]


@dataclass
class _Side:
    """What one side has under a token, product and day."""

    quantity: Decimal
    row: int | None = None


Key = tuple[str, str, date]


def _ours(
    conn: Connection, tenant: str, since: date, until: date, matched_by: str, zone: str
) -> tuple[dict[Key, _Side], dict[tuple[str, str], str]]:
    """What is billable, some days more on either side; and why the rest was not charged, by token and product."""
    slack = timedelta(days=DAYS_APART_MAX)
    values = {
        "tenant": tenant,
        "matched_by": matched_by,
        "time_zone": zone,
        "start_at": local_midnight(since - slack, zone),
        "end_at": local_midnight(until + slack + timedelta(days=1), zone),
    }
    billable: dict[Key, _Side] = {}
    not_charged: dict[tuple[str, str], str] = {}
    for row in rows(conn, "usage_to_reconcile", values):
        if row["outcome"] == "billable":
            side = billable.setdefault((row["token"], row["product"], row["day"]), _Side(Decimal(0)))
            side.quantity += row["quantity"]
        else:
            not_charged[row["token"], row["product"]] = row["reason_code"]
    return billable, not_charged


def _theirs(
    items: Sequence[CountedItem], codes: Mapping[str, str], since: date, until: date
) -> tuple[dict[Key, _Side], int]:
    counted: dict[Key, _Side] = {}
    ignored = 0
    for item in items:
        product = codes.get(item.code)
        if product is None or not since <= item.day <= until:
            ignored += 1
            continue
        side = counted.setdefault((item.token, product, item.day), _Side(Decimal(0), item.row))
        side.quantity += item.quantity
    return {key: side for key, side in counted.items() if side.quantity}, ignored


def _require_opaque(theirs: Mapping[Key, _Side], ours: Mapping[Key, _Side]) -> None:
    """A list of raw accession numbers must not end in our books, not even as a difference."""
    known = {token for token, _, _ in ours}
    for (token, _, _), side in theirs.items():
        if token not in known and not hospital_count.is_opaque(token):
            raise HospitalCountRefused(
                f"row {side.row}: the token is no HMAC; give the key, so that accession numbers are hashed on reading"
            )


def _match(
    ours: dict[Key, _Side],
    theirs: dict[Key, _Side],
    since: date,
    until: date,
    not_charged: Mapping[tuple[str, str], str],
) -> tuple[int, list[Difference]]:
    """Same token, product and day first; then the nearest day among what is left of the token and product."""
    matched, differences = 0, []
    for mine, other in [*_same_day(ours, theirs), *_nearest_day(ours, theirs)]:
        left, right = ours.pop(mine), theirs.pop(other)
        if left.quantity == right.quantity:
            matched += 1
            continue
        verdict = Verdict.QUANTITY_DIFFERS
        token, product, _ = mine
        differences.append(
            Difference(verdict, token, product, mine[2], other[2], left.quantity, right.quantity, right.row)
        )
    for (token, product, day), side in ours.items():
        if since <= day <= until:
            verdict = Verdict.NOT_IN_THEIR_LIST
            differences.append(
                Difference(verdict, token, product, day, None, side.quantity, Decimal(0), None)
            )
    for (token, product, day), side in theirs.items():
        why = not_charged.get((token, product), "")
        verdict = Verdict.NOT_BILLED
        differences.append(
            Difference(verdict, token, product, None, day, Decimal(0), side.quantity, side.row, why)
        )
    return matched, sorted(differences, key=_order)


def _order(one: Difference) -> tuple[str, str, date, str]:
    return one.verdict, one.product, one.our_day or one.their_day or date.min, one.token


def _same_day(ours: Mapping[Key, _Side], theirs: Mapping[Key, _Side]) -> list[tuple[Key, Key]]:
    return [(key, key) for key in ours if key in theirs]


def _nearest_day(ours: Mapping[Key, _Side], theirs: Mapping[Key, _Side]) -> Iterator[tuple[Key, Key]]:
    """Pairs of one token and product within `DAYS_APART_MAX` days, each used once, in order of days."""
    days: dict[tuple[str, str], list[date]] = defaultdict(list)
    for token, product, day in sorted(ours.keys() - theirs.keys()):
        days[token, product].append(day)
    for token, product, day in sorted(theirs.keys() - ours.keys()):
        candidates = days[token, product]
        nearest = min(candidates, key=lambda one: (abs(one - day), one), default=None)
        if nearest is not None and abs(nearest - day) <= timedelta(days=DAYS_APART_MAX):
            candidates.remove(nearest)
            yield (token, product, nearest), (token, product, day)


def text(one: Reconciliation) -> str:
    """A reconciliation as it is printed."""
    lines = [
        f"Reconciliation {one.reconciliation_id}: {one.since} to {one.until}",
        f"made {one.made_at.isoformat()} by {one.made_by}; list: {one.style}, SHA-256 {one.file_sha256}",
        f"matched by {one.matched_by}: {one.matched_count}; rows of other codes or days: {one.ignored_count}",
        f"billed and not in their list: {one.count(Verdict.NOT_IN_THEIR_LIST)}",
        f"in their list and not billed: {one.count(Verdict.NOT_BILLED)}",
        f"other quantities: {one.count(Verdict.QUANTITY_DIFFERS)}",
        "",
        *(_line(difference) for difference in one.differences),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _line(one: Difference) -> str:
    days = f"{one.our_day or '-'} / {one.their_day or '-'}"
    quantities = f"{plain(one.our_quantity)} / {plain(one.their_quantity)}"
    row = f", row {one.their_row}" if one.their_row else ""
    why = f", not charged: {one.why}" if one.why else ""
    return f"{one.verdict}: {one.product} {one.token} day {days} quantity {quantities}{row}{why}"


def _stored(row: Row, differences: tuple[Difference, ...]) -> Reconciliation:
    names = (
        "reconciliation_id", "since", "until", "style", "file_sha256", "matched_by", "matched_count", "ignored_count",
        "difference_count", "made_by", "made_at",
    )  # fmt: skip
    return Reconciliation(**{name: row[name] for name in names}, differences=differences)


def _difference(row: Row) -> Difference:
    names = (
        "token", "product", "our_day", "their_day", "our_quantity", "their_quantity", "their_row", "why",
    )  # fmt: skip
    return Difference(Verdict(row["verdict"]), **{name: row[name] for name in names})
