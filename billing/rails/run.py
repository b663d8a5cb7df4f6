"""One round over everything that waits at the rails: Stripe's messages, then every tenant's operations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import Any

import psycopg
import stripe

from billing.queries import rows
from billing.rails.bank_rail import BankRail
from billing.rails.inbox import INBOX_TENANT
from billing.rails.rail import Rail
from billing.rails.rail_worker import Worker
from billing.rails.stripe_client import make_client
from billing.rails.stripe_events import StripeEvents
from billing.rails.stripe_rail import StripeRail

TransactAs = Callable[[str], AbstractContextManager[psycopg.Connection[Any]]]


def run_rails(
    transact: TransactAs,
    *,
    stripe_api_key: str,
    clock: Callable[[], datetime],
    http_client: stripe.HTTPClient | None = None,
) -> int:
    """Take everything that is due one step on; returns how many steps there were.

    transact: opens a transaction of the named tenant. stripe_api_key: empty where Stripe is not used; what was
    asked of it waits then. http_client: for tests.
    """
    rails: dict[str, Rail] = {"bank": BankRail()}
    steps = 0
    if stripe_api_key:
        client = make_client(stripe_api_key, http_client)
        rails["stripe"] = StripeRail(client)
        steps += StripeEvents(client, transact, clock).run_once()
    with transact(INBOX_TENANT) as conn:
        tenants = [row["tenant"] for row in rows(conn, "every_tenant", {})]
    for tenant in tenants:
        steps += Worker(tenant, partial(transact, tenant), rails, clock).run_once()
    return steps
