"""How often, and how often at once, an API key may ask, and whether its contract lets it; counted for all processes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.guarding import call_guard
from billing.guarding.call_guard import CallTerms, Refused
from billing.lock import lock_for_ending_call, lock_for_letting_run
from billing.metering import api_calls
from pipeline import audit
from pipeline.database import Connection, Database
from portal.auth import ApiKey, take_key
from portal.key_errors import CallsUsedUp, TooManyRequests

# A call whose process is gone holds its place for so long.
HELD_AT_MOST = timedelta(minutes=2)

# A minute's requests may come in a burst; then one is let in as each comes back.
_ADMIT = """
    INSERT INTO api_key_use AS used (tenant, prefix, requests_left, counted_at, running)
    VALUES (%(tenant)s, %(prefix)s, %(per_minute)s - 1, %(now)s, ARRAY[%(now)s::timestamptz + %(held)s])
    ON CONFLICT (prefix) DO UPDATE SET
        requests_left = least(%(per_minute)s, used.requests_left + %(per_minute)s / 60.0::float8
            * greatest(extract(epoch FROM excluded.counted_at - used.counted_at)::float8, 0)) - 1,
        counted_at = greatest(used.counted_at, excluded.counted_at),
        running = ARRAY(SELECT one FROM unnest(used.running) one WHERE one > excluded.counted_at) || excluded.running
    WHERE least(%(per_minute)s, used.requests_left + %(per_minute)s / 60.0::float8
            * greatest(extract(epoch FROM excluded.counted_at - used.counted_at)::float8, 0)) >= 1
        AND (SELECT count(*) FROM unnest(used.running) one WHERE one > excluded.counted_at) < %(at_once)s
    RETURNING running[cardinality(running)] AS held_until
"""
_END = """
    UPDATE api_key_use SET running = running[:array_position(running, %(held_until)s) - 1]
        || running[array_position(running, %(held_until)s) + 1:]
    WHERE tenant = %(tenant)s AND prefix = %(prefix)s AND %(held_until)s = ANY (running)
"""


@dataclass(frozen=True)
class Admitted:
    """A call that is being answered; it holds a place until then at most."""

    key: ApiKey
    held_until: datetime
    terms: CallTerms


def admit(database: Database, token: str, call_id: str = "", *, now: datetime) -> Admitted:
    """Find the key and let its call in, in one transaction. call_id: as `api_calls.record_call` takes it.

    Raises `NotSignedIn`; `TooManyRequests`, which counts nothing; `CallsUsedUp`, which counts as a request: the answer
    has its cost.
    """
    with database.system_transaction() as conn:
        key = take_key(conn, token)
        terms = call_guard.terms_of(conn, key.tenant, key.prefix, now=now)
        if terms.bounding is not None:
            lock_for_letting_run(conn, key.tenant)
        admitted = Admitted(key, _take_place(conn, key, now), terms)
        refused = _refused(conn, admitted, call_id, now)
        if refused is None:
            return admitted
        _give_place_back(conn, admitted)
        _note(conn, admitted, refused, now)
    wait_s = None if refused.opens_at is None else math.ceil((refused.opens_at - now).total_seconds())
    raise CallsUsedUp(refused.explanation, refused.limit_id, refused.opens_at, wait_s)


def end(database: Database, admitted: Admitted, route: str | None, call_id: str, *, now: datetime) -> None:
    """The call is over. route: where it was answered well, so that it counts; None where it was not."""
    tenant, terms = admitted.key.tenant, admitted.terms
    with database.transaction(tenant) as conn:
        if terms.bounding is not None:
            lock_for_ending_call(conn, tenant)
        if route is not None and terms.is_priced:
            api_calls.record_call(conn, tenant, admitted.key.prefix, route, call_id, now=now)
        _give_place_back(conn, admitted)


def _take_place(conn: Connection, key: ApiKey, now: datetime) -> datetime:
    values = {
        "tenant": key.tenant,
        "prefix": key.prefix,
        "per_minute": key.requests_per_minute,
        "at_once": key.concurrent_max,
        "now": now,
        "held": HELD_AT_MOST,
    }
    row = conn.execute(_ADMIT, values).fetchone()
    if row is None:
        raise _too_many(conn, key, now)
    held_until: datetime = row["held_until"]
    return held_until


def _too_many(conn: Connection, key: ApiKey, now: datetime) -> TooManyRequests:
    """Which of the two it was; the row is locked since it was found wanting."""
    row = conn.execute(
        "SELECT requests_left, counted_at, running FROM api_key_use WHERE tenant = %s AND prefix = %s",
        (key.tenant, key.prefix),
    ).fetchone()
    assert row is not None
    if sum(one > now for one in row["running"]) >= key.concurrent_max:
        return TooManyRequests(1, f"This API key may make {key.concurrent_max} requests at once.")
    a_second = key.requests_per_minute / 60
    left = row["requests_left"] + max((now - row["counted_at"]).total_seconds(), 0) * a_second
    wait_s = max(math.ceil((1 - left) / a_second), 1)
    return TooManyRequests(wait_s, f"This API key may make {key.requests_per_minute} requests a minute.")


def _refused(conn: Connection, admitted: Admitted, call_id: str, now: datetime) -> Refused | None:
    """A call that counts already, and is only repeated, is answered whatever is used."""
    key, bounding = admitted.key, admitted.terms.bounding
    if bounding is None:
        return None
    running = dict(_running(conn, key.tenant, now))
    running[key.prefix] -= 1  # itself
    refused = call_guard.refuse_call(conn, key.tenant, bounding, key.prefix, running, now=now)
    is_repeated = refused is not None and api_calls.is_recorded(conn, key.tenant, key.prefix, call_id)
    return None if is_repeated else refused


def _running(conn: Connection, tenant: str, now: datetime) -> Mapping[str, int]:
    rows = conn.execute(
        """SELECT prefix, (SELECT count(*) FROM unnest(running) one WHERE one > %s) AS calls
           FROM api_key_use WHERE tenant = %s""",
        (now, tenant),
    ).fetchall()
    return {row["prefix"]: row["calls"] for row in rows}


def _note(conn: Connection, admitted: Admitted, refused: Refused, now: datetime) -> None:
    """Counted each time, told in the audit trail once a day."""
    key, bounding = admitted.key, admitted.terms.bounding
    assert bounding is not None, "nothing else refuses"
    if call_guard.note(conn, key.tenant, bounding, key.prefix, refused, now=now):
        detail = {"contract": bounding.contract.name, "limit": refused.limit_id, "key": key.prefix}
        audit.record(
            conn, key.tenant, audit.AuditEvent.CALLS_REFUSED, {**detail, "reason": refused.explanation}
        )


def _give_place_back(conn: Connection, admitted: Admitted) -> None:
    values = {
        "tenant": admitted.key.tenant,
        "prefix": admitted.key.prefix,
        "held_until": admitted.held_until,
    }
    conn.execute(_END, values)
