"""The inbox of Stripe's messages: proven to be Stripe's, kept once by id, looked into later.

A message may come twice, late, and in any order. It is taken as a hint that something changed: the worker
fetches the object anew, so it makes no difference what the message said or when.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
import stripe

from billing.cash.payment_errors import MessageRefused
from billing.queries import Row, execute, rows

Connection = psycopg.Connection[Any]
INBOX_TENANT = "~stripe"
"""Stands for the tenant in a transaction on the inbox: whose a message is shows only when it is looked into."""
BODY_SIZE_MAX = 256 * 1024
TOLERANCE = timedelta(minutes=5)
BACK_OFF_FIRST_S = 30.0
ATTEMPTS_MAX = 20


@dataclass(frozen=True)
class Message:
    """What changed, as Stripe calls it."""

    inbox_id: int
    event_type: str
    object_id: str
    attempts: int


def verify(body: bytes, signature: str, secrets: Sequence[str], *, now: datetime) -> tuple[str, str, str]:
    """Event id, type and object id of a message that is Stripe's and of now; raises `MessageRefused`.

    body: the bytes as they came. secrets: one, or two while one is replaced by another.
    The library bounds the past only; a time ahead of our clock is refused too.
    """
    if len(body) > BODY_SIZE_MAX:
        raise MessageRefused("larger than a message of Stripe")
    if not any(_is_signed(body, signature, secret) for secret in secrets if secret):
        raise MessageRefused("not signed by Stripe with our secret")
    sent_at = int(next(part for part in signature.split(",") if part.startswith("t="))[2:])
    if abs(sent_at - now.timestamp()) > TOLERANCE.total_seconds():
        raise MessageRefused("signed too long ago or ahead of our clock")
    try:
        event = json.loads(body)
        values = (event["id"], event["type"], event["data"]["object"]["id"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise MessageRefused("not an event of Stripe") from None
    if not all(isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable() for value in values):
        raise MessageRefused("not an event of Stripe")
    return values


def keep(conn: Connection, event: tuple[str, str, str], *, now: datetime) -> None:
    """Keep a message, once. The transaction is that of `INBOX_TENANT`."""
    event_id, event_type, object_id = event
    values = {"event_id": event_id, "event_type": event_type, "object_id": object_id, "now": now}
    execute(conn, "insert_message", {"tenant": INBOX_TENANT, **values})


def due(conn: Connection, *, now: datetime, limit: int = 100) -> list[Message]:
    """Messages to look into, oldest first."""
    values = {"tenant": INBOX_TENANT, "now": now, "limit": limit}
    return [_message(row) for row in rows(conn, "messages_due", values)]


def finish(conn: Connection, message: Message, state: str, detail: str, *, now: datetime) -> None:
    """state: `done`, `ignored`, or `received` to look again later; parked when that was done too often."""
    if state == "received" and message.attempts + 1 >= ATTEMPTS_MAX:
        state = "parked"
    pause = timedelta(seconds=min(BACK_OFF_FIRST_S * 2.0**message.attempts, 6 * 3600.0))
    values = {
        "tenant": INBOX_TENANT,
        "inbox_id": message.inbox_id,
        "state": state,
        "detail": detail[:300],
        "next_attempt_at": now + pause,
        "now": now,
    }
    execute(conn, "move_message", values)


def counts(conn: Connection) -> dict[str, int]:
    """How many messages there are in each state."""
    found = rows(conn, "message_counts", {"tenant": INBOX_TENANT})
    return {row["state"]: row["message_count"] for row in found}


def _is_signed(body: bytes, signature: str, secret: str) -> bool:
    try:
        return bool(stripe.WebhookSignature.verify_header(body, signature, secret, None))
    except (stripe.SignatureVerificationError, UnicodeDecodeError, ValueError, TypeError):
        return False


def _message(row: Row) -> Message:
    return Message(row["inbox_id"], row["event_type"], row["object_id"], row["attempts"])
