"""What usage without a statement would come to: rated once an hour and kept, for the metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta

from billing.books.outstanding import accrued_unbilled
from pipeline.database import Connection, Database
from pipeline.limit_gate import tenants

FIGURED_EVERY = timedelta(hours=1)


def figure_every_tenant(database: Database, clock: Callable[[], datetime]) -> None:
    """Rate what no statement has billed, of each tenant whose figures are an hour old; of several workers one does."""
    for tenant in tenants(database):
        with database.transaction(tenant) as conn:
            if _is_ours(conn, tenant, clock()):
                _figure(conn, tenant, clock())


def _is_ours(conn: Connection, tenant: str, now: datetime) -> bool:
    """Whether nobody else has rated, or rates, within the hour."""
    taken = conn.execute(
        """INSERT INTO unbilled_figured (tenant, at) VALUES (%(tenant)s, %(now)s)
           ON CONFLICT (tenant) DO UPDATE SET at = excluded.at WHERE unbilled_figured.at <= %(before)s""",
        {"tenant": tenant, "now": now, "before": now - FIGURED_EVERY},
    )
    return taken.rowcount > 0


def _figure(conn: Connection, tenant: str, now: datetime) -> None:
    sums: defaultdict[tuple[str, bool], int] = defaultdict(int)
    oldest: dict[tuple[str, bool], datetime] = {}
    for one in accrued_unbilled(conn, tenant, now):
        key = one.amount.currency, one.is_over
        sums[key] += one.amount.amount_minor
        if one.is_over:
            oldest[key] = min(oldest.get(key, one.period.end_at), one.period.end_at)
    conn.execute("DELETE FROM unbilled_figure WHERE tenant = %s", (tenant,))
    for key, minor in sums.items():
        conn.execute(
            """INSERT INTO unbilled_figure (tenant, currency, is_over, amount_minor, ended_at)
               VALUES (%s, %s, %s, %s, %s)""",
            (tenant, *key, minor, oldest.get(key)),
        )
