"""Contribution: the weights by which a pool's share is divided in one period, each with its evidence."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

import psycopg

from billing.contracts import store
from billing.contracts.contract import Contract
from billing.lock import lock_for_cutoff
from billing.period import Period
from billing.queries import execute_many, one_row, rows
from billing.splits.errors import ContributionFixed, ContributionMissing, ContributionRefused
from billing.splits.terms import has_weight_form

Connection = psycopg.Connection[Any]
MEMBERS_MAX = 10_000
WEIGHT_MAX = Decimal(10) ** 12
EVIDENCE_LENGTH_MAX = 200
COLUMNS = ("pool", "day", "party", "weight", "evidence")


@dataclass(frozen=True)
class Contribution:
    """weight: above zero, at most 8 decimals. evidence: an opaque reference to what the weight was counted from."""

    party_id: str
    weight: Decimal
    evidence: str


def set_weights(
    conn: Connection,
    tenant: str,
    contract_id: int,
    pool: str,
    at: datetime | Period,
    contributions: Sequence[Contribution],
    *,
    by: str,
    now: datetime,
) -> int:
    """Set all the weights of a pool for the period that is or holds `at`; gives their revision.

    Setting them again replaces them, until the period's statement is issued.
    Raises `ContributionRefused`, `ContributionFixed`, `ContractNotFound`.
    """
    lock_for_cutoff(conn, tenant)  # an issue under way takes the weights that it finds
    instant = at.start_at if isinstance(at, Period) else at
    stored = store.contract_at(conn, tenant, contract_id, instant)
    period = stored.period_of(instant)
    if period is None:
        raise ContributionRefused("the contract had not begun in this period")
    _require_sound(stored.contract, pool, contributions)
    key = {"tenant": tenant, "contract_id": contract_id, "pool": pool, "period_start": period.starts_on}
    if rows(conn, "issued_period", key):
        raise ContributionFixed(f"the period from {period.starts_on} is issued: its contributions are fixed")
    revision = int(one_row(conn, "contribution_revision", key)["revision"]) + 1
    execute_many(
        conn,
        "insert_contribution",
        [
            {
                **key,
                "revision": revision,
                "party_id": one.party_id,
                "weight": one.weight,
                "evidence": one.evidence,
                "set_by": by,
                "set_at": now,
            }
            for one in contributions
        ],
    )
    return revision


def weights(
    conn: Connection, tenant: str, contract_id: int, pool: str, period_start: date
) -> list[Contribution]:
    """The weights that stand, by party; empty where none were set."""
    key = {"tenant": tenant, "contract_id": contract_id, "pool": pool, "period_start": period_start}
    found = rows(conn, "contributions", key)
    return [Contribution(row["party_id"], row["weight"], row["evidence"]) for row in found]


def members(
    conn: Connection, tenant: str, contract_id: int, contract: Contract, period_start: date
) -> Mapping[str, Mapping[str, Decimal]]:
    """Pool → party → weight for every pool of the contract; raises `ContributionMissing`."""
    pools = {pool for split in contract.splits for pool in split.pools}
    found = {}
    for pool in sorted(pools):
        standing = weights(conn, tenant, contract_id, pool, period_start)
        if not standing:
            raise ContributionMissing(pool, contract.name, period_start)
        found[pool] = {one.party_id: one.weight for one in standing}
    return found


def _require_sound(contract: Contract, pool: str, contributions: Sequence[Contribution]) -> None:
    if not any(pool in split.pools for split in contract.splits):
        raise ContributionRefused(f"contract {contract.name!r} has no pool {pool!r}")
    parties = [one.party_id for one in contributions]
    if not 0 < len(parties) <= MEMBERS_MAX or len(set(parties)) < len(parties):
        raise ContributionRefused(f"a pool needs 1 to {MEMBERS_MAX} parties, each once")
    for one in contributions:
        if contract.party(one.party_id) is None:
            raise ContributionRefused(f"{one.party_id!r} is not among the parties of {contract.name!r}")
        is_number = isinstance(one.weight, Decimal) and one.weight.is_finite()
        if not is_number or not 0 < one.weight <= WEIGHT_MAX or not has_weight_form(one.weight):
            raise ContributionRefused(
                f"the weight of {one.party_id!r} needs a number above 0 with at most 8 decimals"
            )
        if not 0 < len(one.evidence) <= EVIDENCE_LENGTH_MAX or not one.evidence.isprintable():
            raise ContributionRefused(
                f"{one.party_id!r} needs evidence: 1 to {EVIDENCE_LENGTH_MAX} printable characters"
            )


def read_csv(text: str) -> dict[tuple[str, date], list[Contribution]]:
    """Contributions by pool and day of the period; the columns are `COLUMNS`. Raises `ContributionRefused`."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    if set(reader.fieldnames or ()) != set(COLUMNS):
        raise ContributionRefused(f"contributions need the columns {', '.join(COLUMNS)}")
    found: dict[tuple[str, date], list[Contribution]] = {}
    for number, row in enumerate(reader, start=2):
        if number > MEMBERS_MAX:
            raise ContributionRefused(f"more than {MEMBERS_MAX} rows: set the periods one by one")
        cells = {name: (row[name] or "").strip() for name in COLUMNS}
        try:
            day, weight = date.fromisoformat(cells["day"]), Decimal(cells["weight"])
        except (ValueError, InvalidOperation):
            raise ContributionRefused(
                f"row {number} needs a day, YYYY-MM-DD, and a weight that is a number"
            ) from None
        one = Contribution(cells["party"], weight, cells["evidence"])
        found.setdefault((cells["pool"], day), []).append(one)
    return found


def set_from_csv(
    conn: Connection, tenant: str, contract_id: int, text: str, *, by: str, now: datetime
) -> list[tuple[str, date]]:
    """Set what a file says, one pool and period after the other; gives those. Raises what `set_weights` raises."""
    given = read_csv(text)
    for (pool, day), contributions in given.items():
        noon = datetime.combine(day, time(12), UTC)
        set_weights(conn, tenant, contract_id, pool, noon, contributions, by=by, now=now)
    return list(given)
