"""Sources: which charges brought the money of a payout, so that its transfers are tied to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg

from billing.queries import Row, rows
from billing.rails import Part

Connection = psycopg.Connection[Any]


def parts_of(
    conn: Connection, tenant: str, payout_statement_id: int, amount_minor: int, currency: str
) -> list[Part]:
    """The payout in parts, summing to it: what payments by Stripe brought of the statements it shares, and the rest.

    A charge gives no more than it has: what other payouts took of it is left out. Empty where no charge brought any.
    """
    values = {"tenant": tenant, "payout_statement_id": payout_statement_id, "currency": currency}
    parts = list(_take(rows(conn, "charges_behind_payout", values), amount_minor))
    rest = amount_minor - sum(part.amount_minor for part in parts)
    return [*parts, Part(rest)] if parts and rest else parts


def _take(found: Iterable[Row], amount_minor: int) -> Iterable[Part]:
    """found: by statement and payment, what became payable of the one, and what the other paid of it and has left."""
    payable: dict[int, int] = {}
    left: dict[int, int] = {}
    taken: dict[int, int] = {}
    for row in found:
        statement_id, payment_id = row["statement_id"], row["payment_id"]
        payable.setdefault(statement_id, row["payable_minor"])
        left.setdefault(payment_id, row["left_minor"])
        part = min(payable[statement_id], left[payment_id], row["paid_minor"], amount_minor)
        if part > 0:
            payable[statement_id] -= part
            left[payment_id] -= part
            amount_minor -= part
            taken[payment_id] = taken.get(payment_id, 0) + part
    return (Part(minor, payment_id) for payment_id, minor in taken.items())
