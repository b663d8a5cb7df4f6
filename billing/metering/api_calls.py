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
from billing.metering.usage import Kind, UsageEvent
from billing.queries import rows

Connection = psycopg.Connection[Any]
SOURCE, PRODUCT, METER = "api", "api", "api_call"


def record_call(
    conn: Connection, tenant: str, key_prefix: str, route: str, call_id: str, *, now: datetime
) -> Decision | None:
    """Record one answered call of an API key; None where no contract prices calls.

    call_id: what the client names the call by, so that one it repeats counts once; empty for a call of its own.
    """
    priced = rows(conn, "priced_products", {"tenant": tenant, "products": [PRODUCT]})
    if METER not in {row["meter"] for row in priced}:
        return None
    name = hashlib.sha256(f"{key_prefix}:{call_id}".encode()).hexdigest() if call_id else uuid.uuid4().hex
    event = UsageEvent(
        tenant=tenant,
        source=SOURCE,
        event_id=f"call:{name}",
        kind=Kind.USAGE,
        product=PRODUCT,
        meter=METER,
        quantity=Decimal(1),
        occurred_at=now,
        study_ref="none",
        case_key=f"call:{name}",
        dimensions={"api_key": key_prefix, "route": route},
    )
    # The first call of a repeated one stands, whenever the repetition came.
    [recorded] = meter.record_many(conn, tenant, [event], received_at=now)
    return recorded.decision
