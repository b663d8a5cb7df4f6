"""Numbers without gaps: one series for each issuer and kind of document."""

from __future__ import annotations

from typing import Any

import psycopg

from billing.queries import execute, one_row

Connection = psycopg.Connection[Any]

CREDIT_NOTE, PAYOUT_STATEMENT = "CN", "PO"


def next(conn: Connection, tenant: str, issuer_id: str, series: str) -> int:
    """The next number of an issuer's series, from 1.

    The row stays locked until the transaction ends: others wait, and a rollback gives the number back.
    """
    values = {"tenant": tenant, "issuer_id": issuer_id, "series": series}
    execute(conn, "insert_document_counter", values)
    return int(one_row(conn, "next_document_number", values)["last_number"])


def text(prefix: str, tenant: str, series: str, number: int) -> str:
    """`RM-HOSPITAL-A-CN-000001`. The tenant is part of it: two tenants may know the same issuer."""
    return f"{prefix}-{tenant.upper()}-{series}-{number:06d}"
