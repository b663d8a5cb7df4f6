"""Guard of the API: whether limits and packages let a key make one more call; each no has its explanation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from billing.contracts import store
from billing.contracts.store import StoredContract
from billing.guarding import guard
from billing.guarding.limit_worth import Work
from billing.metering.usage import CALL_METER, CALL_PRODUCT
from billing.queries import Row, one_row, rows

Connection = psycopg.Connection[Any]
_POLICY = "refuse"


@dataclass(frozen=True)
class CallTerms:
    """What contracts say about the calls of a key now. is_priced: some version counts calls, if not this moment's.

    bounding: the contract in force, where it may refuse this key's calls.
    """

    is_priced: bool
    bounding: StoredContract | None


@dataclass(frozen=True)
class Refused:
    """limit_id: of the limit or package that speaks against the call. opens_at: UTC; None: not by itself."""

    limit_id: str
    explanation: str
    opens_at: datetime | None


def terms_of(conn: Connection, tenant: str, key_prefix: str, *, now: datetime) -> CallTerms:
    """One small query; the contract is read only where there is one that prices calls."""
    found = rows(conn, "versions_of_products", {"tenant": tenant, "products": [CALL_PRODUCT]})
    priced = [row for row in found if row["meter"] == CALL_METER]
    for row in priced:
        if row["effective_at"] <= now < row["ends_at"]:
            stored = store.contract_at(conn, tenant, row["contract_id"], now)
            return CallTerms(True, stored if _bounds(stored, key_prefix) else None)
    return CallTerms(bool(priced), None)


def refuse_call(
    conn: Connection,
    tenant: str,
    stored: StoredContract,
    key_prefix: str,
    running: Mapping[str, int],
    *,
    now: datetime,
) -> Refused | None:
    """None where the call has room.

    running: by key, the calls that are being answered beside it. Who asks holds `lock_for_letting_run` from before it
    read them until the call is among them; who ends a call holds `lock_for_ending_call`.
    """
    beside = [_work(prefix, count) for prefix, count in running.items() if count]
    found = guard.obstacles(conn, tenant, stored, _work(key_prefix, 1), beside, now, policy=_POLICY)
    obstacle = next(found, None)
    if obstacle is None:
        return None
    if obstacle.turns_at:
        then = f"until {obstacle.turns_at:%Y-%m-%d %H:%M} UTC, when it begins anew, or until it is raised"
    else:
        then = "until it is raised or more is bought"
    return Refused(obstacle.limit_id, f"{obstacle.sentence} Calls are refused {then}.", obstacle.turns_at)


def note(
    conn: Connection, tenant: str, stored: StoredContract, key_prefix: str, refused: Refused, *, now: datetime
) -> bool:
    """Count a refused call; True for the first one of this key, limit and day."""
    values = {
        "tenant": tenant,
        "contract_id": stored.contract_id,
        "limit_id": refused.limit_id,
        "api_key": key_prefix,
        "day": now.astimezone(ZoneInfo(stored.contract.time_zone)).date(),
        "explanation": refused.explanation,
        "opens_at": refused.opens_at,
        "now": now,
    }
    return bool(one_row(conn, "note_refused_call", values)["calls"] == 1)


def list_refused(conn: Connection, tenant: str, limit: int = 200) -> list[Row]:
    """Refused calls by key, limit and day, latest first."""
    return rows(conn, "refused_calls", {"tenant": tenant, "limit": limit})


def _bounds(stored: StoredContract, key_prefix: str) -> bool:
    terms, said = stored.contract.limits, _work(key_prefix, 1).said
    return any(one.when_reached == _POLICY and one.covers(said) for one in terms.limits) or any(
        one.when_empty == _POLICY for one in terms.taken_for(CALL_PRODUCT)
    )


def _work(key_prefix: str, count: int) -> Work:
    return Work(CALL_PRODUCT, {"api_key": key_prefix}, count, CALL_METER)
