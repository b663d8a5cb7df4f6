"""The way to Stripe: a pinned client, and what its errors mean for an operation."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import stripe

from billing.rails.rail import Operation, Outcome, State

API_VERSION = "2026-10-28.endive"
TIMEOUT_S = 30.0
PAGE_SIZE = 100
DETAIL_LENGTH_MAX = 200
OPERATION, GENERATION, LINE = "radmeter_operation", "radmeter_generation", "radmeter_line"
PARTY, STATEMENT = "radmeter_party", "radmeter_statement"
"""Names of our metadata on what is made at Stripe."""


def make_client(api_key: str, http_client: stripe.HTTPClient | None = None) -> stripe.StripeClient:
    """http_client: for tests; else one of our own. Nothing is retried here: the worker looks up first."""
    stripe.enable_telemetry = False  # it sends timings, and writes a file into the home directory
    logging.getLogger("stripe").setLevel(logging.ERROR)  # below that it logs what was posted
    return stripe.StripeClient(
        api_key,
        stripe_version=API_VERSION,
        max_network_retries=0,
        http_client=http_client or stripe.HTTPXClient(timeout=TIMEOUT_S, allow_sync_methods=True),
    )


def outcome_of(error: stripe.StripeError) -> Outcome:
    """What is known of a call that ended in an error.

    Refused before anything took effect: 429, a key that may not (401, 403). Refused for good: what Stripe says
    about the request itself (400, 402, 404). All else may have taken effect: no answer, 409 (the same key is at
    work), 5xx, and a key that was used with other content.
    """
    detail = f"{type(error).__name__}: {error.user_message or ''}"[:DETAIL_LENGTH_MAX]
    if isinstance(error, stripe.RateLimitError):
        return Outcome(State.INTENT, detail=detail, retry_after_s=_retry_after_s(error))
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return Outcome(State.INTENT, detail=f"{detail} (check the key of Stripe in the settings)")
    if isinstance(error, stripe.CardError | stripe.InvalidRequestError):
        return Outcome(State.FAILED, detail=detail)
    return Outcome(State.UNKNOWN, detail=detail, retry_after_s=_retry_after_s(error))


def is_final(error: stripe.StripeError) -> bool:
    """Stripe refused this very request, and will again."""
    return outcome_of(error).state is State.FAILED


def _retry_after_s(error: stripe.StripeError) -> float | None:
    with contextlib.suppress(KeyError, ValueError, TypeError):
        return min(max(float((error.headers or {})["retry-after"]), 0.0), 3600.0)
    return None


def metadata_of(operation: Operation) -> dict[str, str]:
    """What everything that is made for an operation carries."""
    return {OPERATION: operation.name, GENERATION: str(operation.generation)}


def key_of(operation: Operation, step: str) -> Any:
    """The idempotency key of one call of an operation."""
    return {"idempotency_key": f"{operation.key}:{step}"}


def meta(value: Any, name: str) -> str:
    """A field of our metadata; empty where there is none. Stripe's objects are no dicts."""
    metadata = value.metadata.to_dict() if value.metadata else {}
    return str(metadata.get(name, ""))


def every(listed: Any) -> Iterator[Any]:
    """The items of all pages of a list."""
    yield from listed.auto_paging_iter()
