"""Calls of the API: each is a use, where a contract prices the product `api` by the meter `api_call`."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

from billing.metering import meter
from billing.metering.decide import Decision
from billing.metering.usage import CALL_METER, CALL_PRODUCT, Kind, UsageEvent
from billing.queries import first_row

Connection = psycopg.Connection[Any]
SOURCE = "api"


def record_call(
    conn: Connection, tenant: str, key_prefix: str, route: str, call_id: str, *, now: datetime
) -> Decision:
    """Record one answered call of an API key.

    call_id: what the client names the call by, so that one it repeats counts once; empty for a call of its own.
    """
    name = _name(key_prefix, call_id) if call_id else f"call:{uuid.uuid4().hex}"
    event = UsageEvent(
        tenant=tenant,
        source=SOURCE,
        event_id=name,
        kind=Kind.USAGE,
        product=CALL_PRODUCT,
        meter=CALL_METER,
        quantity=Decimal(1),
        occurred_at=now,
        study_ref="none",
        case_key=name,
        dimensions={"api_key": key_prefix, "route": route},
    )
    # The first call of a repeated one stands, whenever the repetition came.
    [recorded] = meter.record_many(conn, tenant, [event], received_at=now)
    return recorded.decision


def is_recorded(conn: Connection, tenant: str, key_prefix: str, call_id: str) -> bool:
    """Whether the call is a repeated one that counts already."""
    values = {"tenant": tenant, "source": SOURCE, "event_id": _name(key_prefix, call_id)}
    return bool(call_id) and first_row(conn, "usage_by_id", values) is not None


def _name(key_prefix: str, call_id: str) -> str:
    return "call:" + hashlib.sha256(f"{key_prefix}:{call_id}".encode()).hexdigest()
