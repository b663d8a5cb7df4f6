"""What is wrong with shares and payouts, row by row; part of the check of the books."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from billing.queries import rows

Connection = psycopg.Connection[Any]
CHECKS = (
    "check_shares_sum_to_basis",
    "check_shares_taken_back",
    "check_released_within_accrued",
    "check_shares_booked",
    "check_payouts_moved",
    "check_payout_statements",
    "check_payout_statement_numbers",
)
"""Queries whose rows are problems; see `sql/split_checks.sql`."""


def find_problems(conn: Connection, tenant: str) -> Iterator[str]:
    for name in CHECKS:
        for row in rows(conn, name, {"tenant": tenant}):
            yield row["problem"]
